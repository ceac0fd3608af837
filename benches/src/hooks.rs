//! Saves and deletes through the hooks against the same without audit.

use std::time::{Duration, Instant};

use audit_seaorm::{AuditContext, scope};
use audit_tests::{DbBackend, TestDb, name_of};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, Schema, TransactionTrait,
};

use crate::entity::{hooked, plain};
use crate::measure::Pairs;

/// What is done to each row.
#[derive(Clone, Copy, Debug)]
enum Write {
    Create,
    Update,
    Delete,
}

const WRITES: [Write; 3] = [Write::Create, Write::Update, Write::Delete];

pub(crate) async fn run(backend: DbBackend, rounds: usize) {
    let t = TestDb::new(backend).await;
    create_table(&t, plain::Entity).await;
    create_table(&t, hooked::Entity).await;
    println!("| {}: hooks / plain | create | update | delete |\n|---|---|---|---|", name_of(backend));
    for (name, batch, transactions) in [
        ("one write in a transaction of its own, plain likewise", 1, [true, true]),
        ("one write in a transaction of its own, plain without", 1, [false, true]),
        ("100 writes in one transaction", 100, [true, true]),
        ("one write on the pool, both without transaction", 1, [false, false]),
    ] {
        let operations = 100 / batch;
        let mut cells = Vec::new();
        let mut pairs = [Pairs::default(), Pairs::default(), Pairs::default()];
        for round in 0..rounds {
            // Each round makes its rows, changes them and deletes them, on either side.
            let mut ids: [Vec<i64>; 2] = [Vec::new(), Vec::new()];
            for (write, pairs) in WRITES.into_iter().zip(&mut pairs) {
                let mut times = [Duration::ZERO; 2];
                let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
                for side in order {
                    let start = Instant::now();
                    for operation in 0..operations {
                        let work = step(
                            &t,
                            side == 1,
                            write,
                            operation * batch,
                            batch,
                            &mut ids[side],
                            transactions[side],
                        );
                        scope(AuditContext::user(1).named("Ann").tenant("acme"), work)
                            .await
                            .expect("the writes");
                    }
                    times[side] = start.elapsed();
                }
                pairs.push(times[0], times[1]);
            }
        }
        for pairs in &pairs {
            let (base, audited) = pairs.each(100);
            cells.push(format!("{}, {} -> {} µs", pairs.ratio(), base.as_micros(), audited.as_micros()));
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    println!();
}

async fn step(
    t: &TestDb,
    audited: bool,
    write: Write,
    first: usize,
    count: usize,
    ids: &mut Vec<i64>,
    transaction: bool,
) -> Result<(), DbErr> {
    if transaction {
        let transaction: DatabaseTransaction = t.db.begin().await?;
        writes(&transaction, audited, write, first, count, ids).await?;
        transaction.commit().await
    } else {
        writes(&t.db, audited, write, first, count, ids).await
    }
}

async fn writes<C: ConnectionTrait>(
    db: &C,
    audited: bool,
    write: Write,
    first: usize,
    count: usize,
    ids: &mut Vec<i64>,
) -> Result<(), DbErr> {
    for n in first..first + count {
        let number = i64::try_from(n).unwrap_or(0);
        match (write, audited) {
            (Write::Create, false) => ids.push(plain::row(number).insert(db).await?.id),
            (Write::Create, true) => ids.push(hooked::row(number).insert(db).await?.id),
            (Write::Update, false) => _ = plain::change(ids[n], number).update(db).await?,
            (Write::Update, true) => _ = hooked::change(ids[n], number).update(db).await?,
            (Write::Delete, false) => _ = plain::key(ids[n]).delete(db).await?,
            (Write::Delete, true) => _ = hooked::key(ids[n]).delete(db).await?,
        }
    }
    Ok(())
}

async fn create_table<E: EntityTrait>(t: &TestDb, entity: E) {
    let table = Schema::new(t.db.get_database_backend()).create_table_from_entity(entity);
    t.db.execute(&table).await.expect("the table");
}
