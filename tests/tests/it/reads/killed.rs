//! C14 where the process is killed: what it was told is safe has to be in the table in the end, once.
//!
//! The worker is this test program again, with an order in its environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use audit_seaorm::{Audit, Config, SpoolSync};
use audit_tests::{TestDb, db_test};
use sea_orm::{Database, EntityTrait};

use super::{connect, filters, hide, stored, ward};
use crate::fixtures::patient;

/// `first spool url`
const ORDER: &str = "AUDIT_TEST_READER";

/// Patients with these ids aren't there; each number is asked for once.
const FIRST: i32 = 1000;

db_test!(c14_the_spool_survives_sigkill, async |t| {
    let dir = tempfile::tempdir().expect("a directory");
    ward(t, Config::default()).await;
    let mut safe = Vec::new();
    for round in 0..6 {
        // The table comes and goes, so that some is spooled, some delivered, some delivered of what was spooled.
        let hidden = round % 3 != 2;
        if hidden {
            hide(t, true).await;
        }
        let first = FIRST * (round + 1);
        let told = killed_after(t, first, dir.path(), 7 * round as usize % 11 + 3);
        safe.extend(told);
        if hidden {
            hide(t, false).await;
        }
    }
    let last = connect(t, spooled(dir.path(), SpoolSync::Always));
    last.audit().shutdown().await.expect("delivered");

    let mut written: BTreeMap<i64, usize> = BTreeMap::new();
    for query in stored(t).await {
        *written.entry(filters(&query)["value"].as_i64().expect("an id")).or_default() += 1;
        assert_eq!(query.hash_matches(), Some(true));
    }
    let missing: Vec<_> = safe.iter().filter(|number| !written.contains_key(number)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    let twice: Vec<_> = written.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
    assert!(safe.len() >= 18, "{safe:?}");
});

fn spooled(dir: &Path, sync: SpoolSync) -> Config {
    let mut config = Config::default();
    config.spool_sync = sync;
    (config.spool_dir, config.batch_wait_ms, config.queue_limit) = (Some(dir.to_owned()), 1, 3);
    config
}

/// Lets a worker read and kills it when it has said so many times that a record is safe. Returns all that it said.
fn killed_after(t: &TestDb, first: i32, dir: &Path, count: usize) -> Vec<i64> {
    let mut worker = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "reads::killed::worker", "--ignored", "--nocapture"])
        .env(ORDER, format!("{first} {} {}", dir.display(), t.url))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a worker");
    let mut told = Vec::new();
    for line in BufReader::new(worker.stdout.take().expect("its output")).lines().map_while(Result::ok) {
        told.extend(line.rsplit_once("safe ").and_then(|(_, number)| number.parse::<i64>().ok()));
        if told.len() == count {
            worker.kill().expect("SIGKILL");
        }
    }
    worker.wait().expect("its end");
    assert!(told.len() >= count, "the worker ended by itself: {told:?}");
    told
}

#[test]
#[ignore = "not a test: the reader that the test above kills"]
fn worker() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let mut order = order.splitn(3, ' ');
    let mut next = || order.next().expect("an order").to_owned();
    let (first, dir, url): (i32, String, String) = (next().parse().expect("a number"), next(), next());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        // Whether each record is synced, or those of a second together: what ends is the process, not the machine.
        let sync = if first / FIRST % 2 == 0 { SpoolSync::Always } else { SpoolSync::Second };
        let audit = Audit::builder().config(spooled(Path::new(&dir), sync)).build().expect("an audit");
        let db = audit.connect(Database::connect(url).await.expect("the database"));
        for number in first..first + FIRST {
            patient::Entity::find_by_id(number).one(&db).await.expect("read");
            // Some are safe one by one, some together.
            if number % 3 == 0 {
                db.audit().flush().await.expect("written or spooled");
                (first..=number).rev().take(3).for_each(|number| println!("safe {number}"));
            }
        }
    });
}
