//! I2 and I3 under fire: many tasks write the same few rows in every way, with rollbacks and savepoints in between; then
//! the entries, replayed in their order, have to give the tables.

use std::time::{Duration, Instant};

use audit_tests::{db_test, name_of};

use super::load::Load;
use crate::fixtures::{books, entries};
use crate::random::Random;
use crate::replay::{Tables, assert_faithful};

/// How long a fire lasts, in seconds; `AUDIT_TEST_LONG=1` makes it a minute.
pub(super) fn duration(seconds: u64) -> Duration {
    Duration::from_secs(if std::env::var_os("AUDIT_TEST_LONG").is_some() { 60 } else { seconds })
}

const TASKS: u64 = 16;

db_test!(i2_i3_replay_and_chain_hold_under_fire, async |t| {
    books::create_tables(t).await;
    let load = Load::Shelves;
    let db = load.connect(t.db.clone());
    let until = Instant::now() + duration(5);
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut random = Random(seed);
                let mut done = 0;
                while Instant::now() < until {
                    done += usize::from(load.operation(&db, &mut random).await.is_ok());
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    let entries = entries(t).await;
    assert_faithful(Tables::new(), &entries, &load.stored(t).await.unwrap());
    println!("{}: {done} operations, {} entries", name_of(t.backend), entries.len());
    // Deadlocks are a part of it, and PostgreSQL takes a second to find one.
    assert!(done > 50, "only {done} operations succeeded");
});
