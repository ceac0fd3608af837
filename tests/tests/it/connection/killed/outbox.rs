//! C19 where processes are killed: their entries go to the table or to their spools, as the table comes and goes. In the end each
//! change that was committed has its one entry, and no entry says of another that it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audit_seaorm::{Audit, AuditConnection, Config, FailurePolicy};
use audit_tests::{TestDb, db_test, name_of};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    TransactionTrait,
};

use super::{DONE, Worker, ended, sessions};
use crate::connection::fire::duration;
use crate::fixtures::keys::shelf::{ActiveModel, Column, Entity, Model};
use crate::fixtures::{changes, create_table, entries};
use crate::random::Random;

const PROCESSES: usize = 3;
const TASKS: u64 = 3;

/// The label of a row that has begun, and that of one that has been changed since.
const NEW: &str = "new";
const CHANGED: &str = "changed";

db_test!(c19_the_outbox_survives_sigkill, async |t| {
    create_table(t, Entity).await;
    let spools: Vec<_> = (0..PROCESSES).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let own = sessions(t).await;
    let done = Arc::new(AtomicU64::new(0));
    let mut seeds = 0_u64..;
    // Who takes a killed one's place has its spool.
    let mut start = |place: usize| {
        let seed = seeds.next().expect("a seed");
        Worker::start(&format!("Outbox={} {seed} {}", spools[place].path().display(), t.url), &done)
    };
    let mut workers: Vec<Worker> = (0..PROCESSES).map(&mut start).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    let mut random = Random(19);
    let (mut kills, mut left, mut hidden, until) = (0, 0, false, Instant::now() + duration(5));
    while Instant::now() < until || left == 0 || kills < 2 {
        assert!(until.elapsed() < Duration::from_secs(60), "nothing is left in a spool");
        if random.below(2) == 0 {
            hidden = hide(t, !hidden).await;
        }
        // As load, not to wait for anything.
        tokio::time::sleep(Duration::from_millis(random.below(150).into())).await;
        let victim = random.below(PROCESSES as u32) as usize;
        workers[victim].kill();
        kills += 1;
        left += usize::from(has_frames(spools[victim].path()));
        workers[victim] = start(victim);
        workers[victim].ready().await;
    }
    drop(workers);
    ended(t, &own).await;
    if hidden {
        hide(t, false).await;
    }
    let mut rest = 0;
    for spool in &spools {
        let last = audit(spool.path()).connect(t.db.clone());
        rest += last.audit().metrics().spooled;
        last.audit().shutdown().await.expect("delivered");
        assert!(!has_frames(spool.path()));
    }
    let count = check(t).await;
    let done = done.load(Ordering::Relaxed);
    println!(
        "{}: {done} operations, {count} rows, {kills} kills, {left} of which left something in a spool, {rest} records at the end",
        name_of(t.backend)
    );
    assert!(kills >= 2 && done > 20, "{kills} kills, {done} operations");
});

fn audit(spool: &Path) -> Audit {
    let mut config = Config::default();
    (config.on_failure, config.spool_dir) = (FailurePolicy::Outbox, Some(spool.to_owned()));
    Audit::builder().config(config).build().expect("an audit")
}

fn has_frames(spool: &Path) -> bool {
    let files = std::fs::read_dir(spool).expect("a folder").map_while(Result::ok);
    files
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "spool"))
        .any(|file| file.metadata().is_ok_and(|file| file.len() > 0))
}

/// Takes the table away, or gives it back; whether it is hidden then. Writers may be in the way.
async fn hide(t: &TestDb, hidden: bool) -> bool {
    let (from, to) = if hidden { ("audit_log", "hidden") } else { ("hidden", "audit_log") };
    for _ in 0..20 {
        if t.execute(&format!("ALTER TABLE {from} RENAME TO {to}")).await.is_ok() {
            return hidden;
        }
    }
    panic!("{from} can't be renamed");
}

/// Each row has one entry of its beginning, and one of its change if it has been changed. Of rows and changes that aren't there, there
/// are none but those that say themselves that nobody knows.
async fn check(t: &TestDb) -> usize {
    let mut told: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut ids = Vec::new();
    for entry in entries(t).await {
        assert_eq!(entry.hash_matches(), Some(true));
        ids.push(entry.id);
        let label = changes(&entry)["label"]["new"].as_str().expect("a label").to_owned();
        assert_eq!(label == NEW, entry.action == "create", "{entry:?}");
        told.entry((entry.resource_id.expect("an id"), label)).or_default().push(entry.status);
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an entry is there twice");
    let rows = Entity::find().all(&t.db).await.expect("the rows");
    let (mut missing, mut twice) = (Vec::new(), Vec::new());
    for Model { room, number, label } in &rows {
        for said in [NEW, CHANGED].into_iter().take(if label == CHANGED { 2 } else { 1 }) {
            let key = (format!("{room}/{number}"), said.to_owned());
            match told.remove(&key).as_deref() {
                None | Some([]) => missing.push(key),
                Some([_]) => {}
                Some(statuses) => twice.push((key, statuses.to_vec())),
            }
        }
    }
    let untrue: Vec<_> =
        told.iter().filter(|(_, statuses)| statuses.iter().any(|status| status != "warning")).collect();
    assert!(
        missing.is_empty() && twice.is_empty() && untrue.is_empty(),
        "missing: {missing:?}, twice: {twice:?}, of nothing: {untrue:?}"
    );
    rows.len()
}

/// Writes, each row once and some a second time, until it is killed.
pub(super) async fn write(db: DatabaseConnection, spool: &Path, seed: u64) {
    let db = audit(spool).connect(db);
    let tasks = (0..TASKS).map(|task| {
        let (db, mut random) = (db.clone(), Random(seed * TASKS + task));
        tokio::spawn(async move {
            for number in 0.. {
                if operation(&db, &format!("{seed}-{task}"), number, &mut random).await.is_ok() {
                    println!("\n{DONE}");
                }
            }
        })
    });
    futures_util::future::join_all(tasks).await;
}

async fn operation(db: &AuditConnection, room: &str, number: i32, random: &mut Random) -> Result<(), DbErr> {
    let row = Model { room: room.to_owned(), number, label: NEW.to_owned() };
    match random.below(5) {
        0 | 1 => insert(db, row).await,
        2 => {
            insert(db, row).await?;
            change(db, room, number).await
        }
        how => {
            let transaction = db.begin().await?;
            insert(&transaction, row).await?;
            if random.below(2) == 0 {
                change(&transaction, room, number).await?;
            }
            if how == 3 { transaction.commit().await } else { transaction.rollback().await }
        }
    }
}

async fn insert<C: ConnectionTrait>(db: &C, row: Model) -> Result<(), DbErr> {
    let row: ActiveModel = sea_orm::ActiveModelTrait::reset_all(row.into_active_model());
    Entity::insert(row).exec_without_returning(db).await.map(|_| ())
}

async fn change<C: ConnectionTrait>(db: &C, room: &str, number: i32) -> Result<(), DbErr> {
    let many = Entity::update_many().col_expr(Column::Label, sea_orm::sea_query::Expr::value(CHANGED));
    many.filter(Column::Room.eq(room)).filter(Column::Number.eq(number)).exec(db).await.map(|_| ())
}
