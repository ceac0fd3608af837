//! What recording reads costs: the same questions by plain SeaORM, over an `AuditConnection` that records no reads, and over one that
//! records them all.

use std::time::{Duration, Instant};

use audit_seaorm::{Audit, AuditConnection, AuditContext, Config};
use audit_tests::{DbBackend, TestDb, name_of};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Schema,
};

use crate::connection::Work;
use crate::entity::hooked;
use crate::measure::Pairs;

/// Rows in the table.
const ROWS: i64 = 1_000;

/// Questions in a round.
const COUNT: u32 = 200;

pub(crate) async fn run(backend: DbBackend, rounds: usize) {
    let t = TestDb::new(backend).await;
    let table = Schema::new(backend).create_table_from_entity(hooked::Entity);
    t.db.execute(&table).await.expect("the table");
    let mut ids = Vec::new();
    audit_seaorm::suspended(hooked::run(&t.db, Work::InsertMany, ROWS, &mut ids)).await.expect("the rows");
    let connect = |log_reads: bool| {
        let mut config = Config::default();
        config.log_reads = log_reads;
        let audit = Audit::builder().config(config).build().expect("an audit");
        audit.connect(t.db.clone()).with_context(AuditContext::user(1).named("Ann").tenant("acme"))
    };
    let (silent, recording) = (connect(false), connect(true));

    println!(
        "| {}: reads, no transaction | reads not recorded / plain | recorded / plain | recorded and written / plain |",
        name_of(backend)
    );
    println!("|---|---|---|---|");
    measure("one row by its key", &t, &silent, &recording, rounds, 1).await;
    measure("50 rows by a condition", &t, &silent, &recording, rounds, 50).await;
    println!();
}

async fn measure(
    name: &str,
    t: &TestDb,
    silent: &AuditConnection,
    recording: &AuditConnection,
    rounds: usize,
    rows: u64,
) {
    let mut pairs = [Pairs::default(), Pairs::default(), Pairs::default()];
    for round in 0..rounds {
        let mut times = [Duration::ZERO; 4];
        for turn in 0..3 {
            let side = (round + turn) % 3;
            let start = Instant::now();
            match side {
                0 => ask(&t.db, rows).await,
                1 => ask(silent, rows).await,
                _ => ask(recording, rows).await,
            }
            .expect("the rows");
            times[side] = start.elapsed();
            if side == 2 {
                recording.audit().flush().await.expect("written");
                times[3] = start.elapsed();
            }
        }
        for (at, pairs) in pairs.iter_mut().enumerate() {
            pairs.push(times[0], times[at + 1]);
        }
    }
    let shown: Vec<String> = pairs
        .iter()
        .map(|pairs| {
            let (base, other) = pairs.each(COUNT);
            format!("{}, {} -> {} µs", pairs.ratio(), base.as_micros(), other.as_micros())
        })
        .collect();
    println!("| {name} | {} |", shown.join(" | "));
}

async fn ask<C: ConnectionTrait>(db: &C, rows: u64) -> Result<(), DbErr> {
    for n in 0..COUNT {
        if rows == 1 {
            hooked::Entity::find_by_id(i64::from(n) % ROWS + 1).one(db).await?;
        } else {
            let some = hooked::Entity::find().filter(hooked::Column::Id.gt(i64::from(n)));
            some.order_by_asc(hooked::Column::Id).limit(rows).all(db).await?;
        }
    }
    Ok(())
}
