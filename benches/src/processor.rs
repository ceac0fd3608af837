//! Processor time, as Linux counts it: it says what work costs where the machine's moods decide how long it takes.

use std::fs;
use std::time::Duration;

/// Processor time of this program and of the database's server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Processor {
    pub(crate) program: Duration,
    pub(crate) server: Duration,
}

impl Processor {
    /// What both have used since they began. Zero where the system doesn't tell, or the server is on another machine.
    pub(crate) fn now(server: &str) -> Self {
        let mut used = Self { program: of_process("self"), server: Duration::ZERO };
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(process) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            else {
                continue;
            };
            if fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|comm| comm.trim() == server) {
                used.server += of_process(process);
            }
        }
        used
    }

    /// What was used between an earlier moment and this one.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            program: self.program.saturating_sub(earlier.program),
            server: self.server.saturating_sub(earlier.server),
        }
    }
}

fn of_process(process: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Medians of what was used for one operation, on each side, by rounds of so many operations.
#[derive(Debug, Default)]
pub(crate) struct Used(Vec<Processor>);

impl Used {
    pub(crate) fn push(&mut self, used: Processor) {
        self.0.push(used);
    }

    /// `program + server`, in microseconds.
    pub(crate) fn each(&self, count: u32) -> String {
        let median = |of: fn(&Processor) -> Duration| {
            let mut times: Vec<Duration> = self.0.iter().map(of).collect();
            times.sort();
            times.get(times.len() / 2).copied().unwrap_or_default() / count
        };
        format!("{} + {}", median(|used| used.program).as_micros(), median(|used| used.server).as_micros())
    }
}
