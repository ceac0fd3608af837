//! I2 and I3 where processes are killed: several write the same rows until SIGKILL ends them at a random moment, and
//! others take their places; then the entries have to give the tables.
//!
//! A worker is this test program again, with an order in its environment: see [`worker`].

mod outbox;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audit_tests::{DbBackend, Settings, TestDb, db_test, name_of};
use existing_app::load::{self, Data, Mode};
use tokio::sync::oneshot;

use super::fire::duration;
use super::load::Load;
use crate::fixtures::{books, entries};
use crate::random::Random;
use crate::replay::{Tables, assert_faithful};

const PROCESSES: u64 = 4;
const TASKS: u64 = 4;

/// `load seed url`, for a worker. A load `Outbox=..` names the folder of its spool.
const ORDER: &str = "AUDIT_TEST_WORKER";

/// What a worker prints after each operation that succeeded.
const DONE: &str = "done";

db_test!(i2_i3_replay_and_chain_survive_sigkill, async |t| {
    books::create_tables(t).await;
    burn(t, Load::Shelves, Tables::new()).await;
});

db_test!(i2_i3_replay_and_chain_of_chinook_survive_sigkill, async |t| {
    let Some(folder) = Settings::get().chinook("i2_i3_replay_and_chain_of_chinook_survive_sigkill") else {
        return;
    };
    load::create_tables(&t.db).await.expect("tables");
    let data = Data::read(folder).expect("the data");
    load::load(&t.db, &data, Mode::Quiet, &|_| ()).await.expect("the load");
    let before = Load::Chinook.stored(t).await.expect("the tables");
    burn(t, Load::Chinook, before).await;
});

/// Lets workers write and kills them, one after the other; checks what they leave behind.
async fn burn(t: &TestDb, load: Load, before: Tables) {
    let own = sessions(t).await;
    let done = Arc::new(AtomicU64::new(0));
    let mut seeds = 0..;
    let mut start = || {
        let seed: u64 = seeds.next().unwrap_or_default();
        Worker::start(&format!("{load:?} {seed} {}", t.url), &done)
    };
    let mut workers: Vec<Worker> = (0..PROCESSES).map(|_| start()).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    let mut random = Random(1);
    let (mut kills, until) = (0, Instant::now() + duration(5));
    // On a slow machine the first kills take longer than that.
    while kills < 2 || Instant::now() < until {
        // As load, not to wait for anything: some are killed in their first operations, some later.
        tokio::time::sleep(Duration::from_millis(random.below(250).into())).await;
        let victim = random.below(PROCESSES as u32) as usize;
        workers[victim].kill();
        kills += 1;
        workers[victim] = start();
        workers[victim].ready().await;
    }
    drop(workers);
    ended(t, &own).await;

    let (entries, done) = (entries(t).await, done.load(Ordering::Relaxed));
    println!("{}: {done} operations, {} entries, {kills} kills", name_of(t.backend), entries.len());
    assert_faithful(before, &entries, &load.stored(t).await.expect("the tables"));
    assert!(kills >= 2 && done > 20 && !entries.is_empty(), "{kills} kills, {done} operations");
}

/// Waits until no sessions but these are left: servers go on with a statement whose client is gone.
async fn ended(t: &TestDb, own: &BTreeSet<i64>) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !sessions(t).await.is_subset(own) {
        assert!(Instant::now() < deadline, "sessions of killed processes don't end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The server's sessions in this database.
async fn sessions(t: &TestDb) -> BTreeSet<i64> {
    let sql = match t.backend {
        DbBackend::Sqlite => return BTreeSet::new(),
        DbBackend::Postgres => {
            "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        }
        _ => {
            let sessions = t.sessions().await.expect("the sessions");
            return sessions.into_iter().map(|(id, _)| id).collect();
        }
    };
    t.column(sql).await.expect("the sessions").into_iter().collect()
}

/// A process that writes. Dropping it kills it.
struct Worker {
    process: Child,
    ready: Option<oneshot::Receiver<()>>,
}

impl Worker {
    fn start(order: &str, done: &Arc<AtomicU64>) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "connection::killed::worker", "--ignored", "--nocapture"])
            .env(ORDER, order)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a worker");
        let (sender, ready) = oneshot::channel();
        let (output, done) = (process.stdout.take().expect("its output"), Arc::clone(done));
        // Ends with the process, which is the other end of the pipe.
        std::thread::spawn(move || {
            let mut first = Some(sender);
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.ends_with(DONE) {
                    done.fetch_add(1, Ordering::Relaxed);
                    if let Some(first) = first.take() {
                        _ = first.send(());
                    }
                }
            }
        });
        Self { process, ready: Some(ready) }
    }

    /// Waits for its first operation.
    async fn ready(&mut self) {
        let Some(ready) = self.ready.take() else { return };
        match tokio::time::timeout(Duration::from_secs(60), ready).await {
            Ok(Ok(())) => {}
            other => panic!("a worker has done nothing: {other:?}, {:?}", self.process.try_wait()),
        }
    }

    fn kill(&mut self) {
        self.process.kill().expect("SIGKILL");
        self.process.wait().expect("its end");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Writes until it is killed, or until whoever started it is gone.
#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [load, seed, url] = order.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{ORDER}") };
    let spool = load.strip_prefix("Outbox=").map(std::path::Path::new);
    let load = if load == "Chinook" { Load::Chinook } else { Load::Shelves };
    let seed: u64 = seed.parse().expect("a seed");
    std::thread::spawn(|| {
        _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut options = audit_tests::options(url);
        options.max_connections(TASKS as u32);
        let db = sea_orm::Database::connect(options).await.expect("the database");
        if let Some(spool) = spool {
            return outbox::write(db, spool, seed).await;
        }
        let db = load.connect(db);
        let tasks = (0..TASKS).map(|task| {
            let (db, mut random) = (db.clone(), Random(seed * TASKS + task));
            tokio::spawn(async move {
                loop {
                    if load.operation(&db, &mut random).await.is_ok() {
                        println!("\n{DONE}");
                    }
                }
            })
        });
        futures_util::future::join_all(tasks).await;
    });
}
