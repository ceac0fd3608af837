//! Many connections at once: how many updates of single rows a second.

use std::time::{Duration, Instant};

use audit_seaorm::{Audit, AuditContext};
use audit_tests::TestDb;
use sea_orm::{Database, DbErr};

use crate::connection::{Side, Work};
use crate::entity::{hooked, plain, triggered};
use crate::measure::Pairs;

const CONNECTIONS: i64 = 16;
const ROWS: i64 = 10_000;
/// Updates of each connection in a round.
const EACH: i64 = 100;

/// The tables, the trigger among them, are there already.
pub(crate) async fn run(t: &TestDb, audit: &Audit, rounds: usize) {
    let mut options = t.options();
    options.max_connections(16).min_connections(16);
    let pool = Database::connect(options).await.expect("a pool");
    let context = AuditContext::user(1).named("Ann").tenant("acme");
    let audited = audit.connect(pool.clone()).with_context(context);
    for table in ["plain_account", "hooked_account", "triggered_account"] {
        t.execute(&format!("TRUNCATE {table} RESTART IDENTITY")).await.expect("an empty table");
    }
    let mut none = Vec::new();
    for _ in 0..ROWS / 1_000 {
        plain::run(&pool, Work::InsertMany, 1_000, &mut none).await.expect("rows");
        hooked::run(&audited, Work::InsertMany, 1_000, &mut none).await.expect("rows");
        triggered::run(&pool, Work::InsertMany, 1_000, &mut none).await.expect("rows");
    }
    let (mut with_audit, mut with_trigger) = (Pairs::default(), Pairs::default());
    for round in 0..rounds {
        t.execute("VACUUM ANALYZE plain_account, hooked_account, triggered_account")
            .await
            .expect("clean tables");
        let mut times = [Duration::ZERO; 3];
        for turn in 0..3 {
            let side = [Side::Plain, Side::Audited, Side::Trigger][(round + turn) % 3];
            let start = Instant::now();
            let tasks: Vec<_> = (0..CONNECTIONS)
                .map(|task| {
                    let (pool, audited) = (pool.clone(), audited.clone());
                    let first = (i64::try_from(round).unwrap_or(0) * CONNECTIONS + task) * EACH;
                    // Spread over the table; a prime, so that no row comes twice before all have come.
                    let mut ids: Vec<i64> = (first..first + EACH).map(|n| n * 7_919 % ROWS + 1).collect();
                    tokio::spawn(async move {
                        match side {
                            Side::Plain => plain::run(&pool, Work::Update, 0, &mut ids).await,
                            Side::Audited => hooked::run(&audited, Work::Update, 0, &mut ids).await,
                            Side::Trigger => triggered::run(&pool, Work::Update, 0, &mut ids).await,
                            Side::Hooks => Ok(()),
                        }
                    })
                })
                .collect();
            for task in tasks {
                let done: Result<(), DbErr> = task.await.expect("a task");
                done.expect("the updates");
            }
            times[side as usize] = start.elapsed();
        }
        with_audit.push(times[0], times[1]);
        with_trigger.push(times[0], times[2]);
    }
    let count = u32::try_from(CONNECTIONS * EACH).unwrap_or(u32::MAX);
    let rate = |time: Duration| format!("{:.0}/s", 1.0 / time.as_secs_f64());
    let (base, audited) = with_audit.each(count);
    let (_, triggered) = with_trigger.each(count);
    println!(
        "| throughput of {CONNECTIONS} connections, updates of {ROWS} rows | {}, {} -> {} | {}, {} | - | |",
        with_audit.inverse().ratio(),
        rate(base),
        rate(audited),
        with_trigger.inverse().ratio(),
        rate(triggered),
    );
}
