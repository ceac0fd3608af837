//! Records on the local disk, for as long as the database doesn't take them.
//!
//! A directory of numbered files, to which frames (see [`frame`](super::frame)) are only ever added; a file goes when
//! nothing in it is outstanding any more, and never before an older one. What was delivered isn't marked: whoever
//! delivers again after a crash finds by the records' ids what is there already.
//!
//! Everything here blocks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit_core::{Entry, Record, SpoolSync};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::frame::{Frame, Unreadable};

/// A file that is longer gets no more frames.
const SEGMENT: u64 = 16 << 20;

/// Records that the database will never take, with the reason, one JSON object a line.
const REJECTED: &str = "rejected.jsonl";

/// Durable records that wait to be delivered.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    sync: SpoolSync,
    limit: u64,
    state: Mutex<State>,
    /// Held for as long as the process uses the directory.
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    /// All files by number.
    segments: BTreeMap<u64, Segment>,
    active: Option<Active>,
    /// What is to be delivered, in order.
    due: VecDeque<Place>,
    /// What waits for its transaction.
    prepared: HashMap<Uuid, Place>,
    next: u64,
    synced: Option<Instant>,
    /// Whether something was written since.
    dirty: bool,
}

#[derive(Debug)]
struct Segment {
    bytes: u64,
    /// Frames that are neither delivered nor cancelled.
    open: usize,
}

/// The file that frames are added to.
#[derive(Debug)]
struct Active {
    number: u64,
    file: File,
}

/// Where a frame with records is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u64,
    offset: u64,
    length: usize,
    records: usize,
    since: DateTime<Utc>,
    /// Nobody knows whether its transaction was committed: the process ended in between.
    doubtful: bool,
}

/// Records taken out for delivery; they stay in the spool until they are [`done`](Spool::done).
#[derive(Debug, Default)]
pub(super) struct Taken {
    places: usize,
    pub(super) records: Vec<Record>,
    /// Of these nobody knows whether their transaction was committed.
    pub(super) doubtful: Vec<Uuid>,
}

/// What is in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) due: usize,
    pub(super) prepared: usize,
    pub(super) bytes: u64,
    pub(super) oldest: Option<DateTime<Utc>>,
}

impl Spool {
    /// Opens the spool in this directory, which is made if it isn't there, and finds out what is outstanding.
    ///
    /// What a crash cut off in the middle was never acknowledged, and goes. Anything else that can't be read is kept beside as
    /// `*.damaged`.
    ///
    /// # Errors
    /// If another process has it open, or the directory can't be used.
    pub(super) fn open(dir: &Path, sync: SpoolSync, limit: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let lock = private().create(true).truncate(false).write(true).open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "another process, or another audit of this one, uses this spool; give each a directory of its own",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut state = State::default();
        for number in numbers(dir)? {
            state.load(dir, number)?;
            state.next = number + 1;
        }
        for (ticket, place) in std::mem::take(&mut state.prepared) {
            tracing::warn!(%ticket, "a change was spooled, and the process ended before its transaction did");
            state.due.push_back(Place { doubtful: true, ..place });
        }
        state.due.make_contiguous().sort_by_key(|place| (place.segment, place.offset));
        state.release(dir);
        Ok(Self { dir: dir.to_owned(), sync, limit, state: Mutex::new(state), _lock: lock })
    }

    /// Adds records, all or none.
    ///
    /// # Errors
    /// If they can't be made durable, or the spool is full.
    pub(super) fn append(&self, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut sizes = Vec::with_capacity(records.len());
        for record in records {
            let start = bytes.len();
            Frame::Record(record.clone()).write(&mut bytes)?;
            sizes.push((bytes.len() - start, record.timestamp()));
        }
        let mut state = self.lock();
        let (segment, mut offset) = self.add(&mut state, &bytes)?;
        for (length, since) in sizes {
            state.opened(segment);
            state.due.push_back(Place { segment, offset, length, records: 1, since, doubtful: false });
            offset += length as u64;
        }
        Ok(())
    }

    /// Adds the entries of a transaction that has not been committed yet. They wait for [`confirm`](Self::confirm).
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn prepare(&self, ticket: Uuid, entries: Vec<Entry>) -> io::Result<()> {
        let Some(since) = entries.first().map(|entry| entry.timestamp) else { return Ok(()) };
        let records = entries.len();
        let mut bytes = Vec::new();
        Frame::Prepared(ticket, entries).write(&mut bytes)?;
        let mut state = self.lock();
        let (segment, offset) = self.add(&mut state, &bytes)?;
        state.opened(segment);
        let length = bytes.len();
        state.prepared.insert(ticket, Place { segment, offset, length, records, since, doubtful: false });
        Ok(())
    }

    /// The transaction of these entries was committed: they are to be delivered.
    ///
    /// If that can't be made durable, they are delivered all the same, unless the process ends before: then they are in
    /// doubt.
    pub(super) fn confirm(&self, ticket: Uuid) {
        let mut state = self.lock();
        let Some(place) = state.prepared.remove(&ticket) else { return };
        state.due.push_back(place);
        self.settle(&mut state, &Frame::Confirmed(ticket));
    }

    /// Nobody knows whether the transaction of these entries was committed: they are to be delivered as such.
    pub(super) fn doubt(&self, ticket: Uuid) {
        let mut state = self.lock();
        if let Some(place) = state.prepared.remove(&ticket) {
            // On the disk nothing need be said: without an end they are in doubt.
            state.due.push_back(Place { doubtful: true, ..place });
        }
    }

    /// The transaction of these entries was rolled back: they are to be forgotten.
    pub(super) fn cancel(&self, ticket: Uuid) {
        let mut state = self.lock();
        let Some(place) = state.prepared.remove(&ticket) else { return };
        self.settle(&mut state, &Frame::Cancelled(ticket));
        state.closed(place.segment);
        state.release(&self.dir);
    }

    fn settle(&self, state: &mut State, frame: &Frame) {
        let mut bytes = Vec::new();
        let added = frame.write(&mut bytes).and_then(|()| self.add(state, &bytes));
        if let Err(error) = added {
            tracing::error!(%error, "the end of a transaction couldn't be noted in the spool");
        }
    }

    /// The oldest records, up to about this many.
    ///
    /// # Errors
    /// If they can't be read.
    pub(super) fn take(&self, limit: usize) -> io::Result<Taken> {
        let state = self.lock();
        let mut taken = Taken::default();
        let mut open: Option<(u64, File)> = None;
        for place in &state.due {
            if taken.places > 0 && taken.records.len() + place.records > limit {
                break;
            }
            let file = match &mut open {
                Some((number, file)) if *number == place.segment => file,
                other => &mut other.insert((place.segment, File::open(path(&self.dir, place.segment))?)).1,
            };
            file.seek(SeekFrom::Start(place.offset))?;
            let mut bytes = vec![0; place.length];
            file.read_exact(&mut bytes)?;
            let before = taken.records.len();
            match Frame::read(&bytes) {
                Ok((Frame::Record(record), _)) => taken.records.push(record),
                Ok((Frame::Prepared(_, entries), _)) => {
                    taken.records.extend(entries.into_iter().map(Record::from));
                }
                Ok((Frame::Confirmed(_) | Frame::Cancelled(_), _)) => {}
                // It was whole when it was written, or found at the start.
                Err(_) => keep_damaged(&path(&self.dir, place.segment), &bytes)?,
            }
            if place.doubtful {
                taken.doubtful.extend(taken.records.iter().skip(before).map(Record::id));
            }
            taken.places += 1;
        }
        Ok(taken)
    }

    /// These have been delivered.
    pub(super) fn done(&self, taken: &Taken) {
        let mut state = self.lock();
        for _ in 0..taken.places {
            if let Some(place) = state.due.pop_front() {
                state.closed(place.segment);
            }
        }
        state.release(&self.dir);
    }

    /// Puts aside a record that the database will never take.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn reject(&self, record: &Record, reason: &str) -> io::Result<()> {
        let mut line = serde_json::to_vec(&serde_json::json!({ "reason": reason, "record": record }))?;
        line.push(b'\n');
        let _state = self.lock();
        let mut file = private().create(true).append(true).open(self.dir.join(REJECTED))?;
        file.write_all(&line)?;
        file.sync_data()
    }

    /// What is in it.
    pub(super) fn contents(&self) -> Contents {
        let state = self.lock();
        Contents {
            due: state.due.iter().map(|place| place.records).sum(),
            prepared: state.prepared.values().map(|place| place.records).sum(),
            bytes: state.segments.values().map(|segment| segment.bytes).sum(),
            oldest: state.due.iter().map(|place| place.since).min(),
        }
    }

    /// Forces onto the disk what [`SpoolSync::Second`] left for later; whether there was something.
    ///
    /// # Errors
    /// If that isn't possible.
    pub(super) fn sync_rest(&self) -> io::Result<bool> {
        let mut state = self.lock();
        if self.sync != SpoolSync::Second || !state.dirty {
            return Ok(false);
        }
        if let Some(active) = &state.active {
            active.file.sync_data()?;
        }
        state.dirty = false;
        state.synced = Some(Instant::now());
        Ok(true)
    }

    /// Whether something is to be delivered.
    pub(super) fn has_due(&self) -> bool {
        !self.lock().due.is_empty()
    }

    /// Adds frames to the active file, all or none, and makes them durable. Returns where they begin.
    fn add(&self, state: &mut State, frames: &[u8]) -> io::Result<(u64, u64)> {
        let used: u64 = state.segments.values().map(|segment| segment.bytes).sum();
        if used + frames.len() as u64 > self.limit {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the spool is full; see `spool_limit_bytes`",
            ));
        }
        let long = |active: &Active| state.segments.get(&active.number).is_none_or(|s| s.bytes >= SEGMENT);
        if state.active.as_ref().is_some_and(long)
            && let Some(active) = state.active.take()
        {
            active.file.sync_data()?;
        }
        let mut active = match state.active.take() {
            Some(active) => active,
            None => self.begin(state)?,
        };
        let (number, offset) =
            (active.number, state.segments.get(&active.number).map_or(0, |segment| segment.bytes));
        let due = match self.sync {
            SpoolSync::Always => true,
            SpoolSync::Second => state.synced.is_none_or(|synced| synced.elapsed() >= Duration::from_secs(1)),
            _ => false,
        };
        let written =
            active.file.write_all(frames).and_then(|()| if due { active.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // Nobody is told that they are there, so they mustn't be. If they can't be taken back, nothing may follow
            // them: the next frames go to another file.
            if active.file.set_len(offset).is_ok() && active.file.seek(SeekFrom::Start(offset)).is_ok() {
                state.active = Some(active);
            }
            return Err(error);
        }
        state.dirty = !due;
        if due {
            state.synced = Some(Instant::now());
        }
        state.active = Some(active);
        if let Some(segment) = state.segments.get_mut(&number) {
            segment.bytes += frames.len() as u64;
        }
        Ok((number, offset))
    }

    fn begin(&self, state: &mut State) -> io::Result<Active> {
        let number = state.next;
        state.next += 1;
        let file = private().create_new(true).write(true).open(path(&self.dir, number))?;
        // A file whose name isn't durable isn't durable.
        sync_dir(&self.dir)?;
        state.segments.insert(number, Segment { bytes: 0, open: 0 });
        Ok(Active { number, file })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads what a file holds.
    fn load(&mut self, dir: &Path, number: u64) -> io::Result<()> {
        let path = path(dir, number);
        let bytes = std::fs::read(&path)?;
        self.segments.insert(number, Segment { bytes: bytes.len() as u64, open: 0 });
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (frame, length) = match Frame::read(rest) {
                Ok(read) => read,
                Err(unreadable) => {
                    self.cut(&path, number, at, rest, unreadable)?;
                    break;
                }
            };
            let place = |records: usize, since| Place {
                segment: number,
                offset: at as u64,
                length,
                records,
                since,
                doubtful: false,
            };
            match frame {
                Frame::Record(record) => {
                    self.opened(number);
                    self.due.push_back(place(1, record.timestamp()));
                }
                Frame::Prepared(ticket, entries) => {
                    let since = entries.first().map_or_else(Utc::now, |entry| entry.timestamp);
                    self.opened(number);
                    self.prepared.insert(ticket, place(entries.len(), since));
                }
                Frame::Confirmed(ticket) => self.due.extend(self.prepared.remove(&ticket)),
                Frame::Cancelled(ticket) => {
                    if let Some(place) = self.prepared.remove(&ticket) {
                        self.closed(place.segment);
                    }
                }
            }
            at += length;
        }
        Ok(())
    }

    /// Cuts off what can't be read. What was being written as the process ended is no loss; anything else is kept.
    fn cut(
        &mut self,
        path: &Path,
        number: u64,
        at: usize,
        rest: &[u8],
        unreadable: Unreadable,
    ) -> io::Result<()> {
        let bytes = rest.len();
        // A machine that failed may have left zeros in place of what was never acknowledged.
        if unreadable == Unreadable::Cut || rest.iter().all(|byte| *byte == 0) {
            tracing::warn!(bytes, "the end of a spool file was cut off as the process ended");
        } else {
            keep_damaged(path, rest)?;
        }
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(at as u64)?;
        file.sync_data()?;
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.bytes = at as u64;
        }
        Ok(())
    }

    fn opened(&mut self, number: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.open += 1;
        }
    }

    fn closed(&mut self, number: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.open = segment.open.saturating_sub(1);
        }
    }

    /// Removes files in which nothing is outstanding, oldest first: the end of a transaction stands after its entries,
    /// and must not go before them.
    fn release(&mut self, dir: &Path) {
        while let Some((&number, segment)) = self.segments.first_key_value() {
            if segment.open > 0 {
                return;
            }
            if self.active.as_ref().is_some_and(|active| active.number == number) {
                self.active = None;
            }
            if let Err(error) = std::fs::remove_file(path(dir, number)) {
                // It is read again at the next start, and what it holds is found to be there.
                tracing::warn!(%error, "a spool file that is done with can't be removed");
            }
            self.segments.remove(&number);
        }
    }
}

/// Keeps what can't be read beside the file that it is from.
fn keep_damaged(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("damaged");
    let mut file = private().create(true).append(true).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    tracing::error!(bytes = bytes.len(), file = %aside.display(), "a spool file is damaged; what can't be read is kept aside");
    Ok(())
}

/// Only the user who runs the program has a business with what is recorded.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    // Elsewhere a directory can't be opened, nor need it be.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.spool"))
}

/// The numbers of the files in a directory, in order.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".spool")).map(str::parse::<u64>);
        numbers.extend(number.and_then(Result::ok));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
