//! I2 and I3 under fire: many tasks write the same few rows in every way, with rollbacks and savepoints in between; then
//! the entries, replayed in their order, have to give the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use audit_seaorm::{AuditConnection, AuditTransaction};
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
    QueryFilter, TransactionTrait,
};

use super::connect;
use crate::fixtures::keys::shelf::{Column, Entity, Model};
use crate::fixtures::{changes, create_table, entries, keys};

/// How long the fire lasts; `AUDIT_TEST_LONG=1` makes it a minute.
fn duration() -> Duration {
    Duration::from_secs(if std::env::var_os("AUDIT_TEST_LONG").is_some() { 60 } else { 4 })
}

const TASKS: u64 = 16;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

async fn write<C: ConnectionTrait>(db: &C, dice: &mut Dice) -> Result<(), DbErr> {
    let room = ["a", "b", "c", "d", "e"][dice.below(5) as usize].to_owned();
    let number = dice.below(10) as i32;
    let label = format!("label {}", dice.below(1000));
    let shelf = Model { room: room.clone(), number, label: label.clone() };
    let active = shelf.clone().into_active_model().reset_all();
    match dice.below(9) {
        0 => _ = active.insert(db).await?,
        1 => _ = active.update(db).await?,
        2 => _ = shelf.delete(db).await?,
        3 => {
            let many = Entity::update_many().col_expr(Column::Label, Expr::value(label));
            many.filter(Column::Room.eq(room)).exec(db).await?;
        }
        4 => {
            _ = Entity::delete_many()
                .filter(Column::Room.eq(room))
                .filter(Column::Number.gt(number))
                .exec(db)
                .await?
        }
        5 | 6 => {
            let rows = (number..number + 3).map(|number| {
                Model { room: room.clone(), number, label: label.clone() }.into_active_model().reset_all()
            });
            let upsert =
                OnConflict::columns([Column::Room, Column::Number]).update_column(Column::Label).to_owned();
            Entity::insert_many(rows).on_conflict(upsert).exec_without_returning(db).await?;
        }
        7 => {
            let sql = format!("UPDATE shelf SET label = concat(label, '+') WHERE number = {number}");
            db.execute_unprepared(&sql).await?;
        }
        _ => {
            let nothing =
                OnConflict::columns([Column::Room, Column::Number]).do_nothing_on([Column::Room]).to_owned();
            Entity::insert_many([active]).on_conflict(nothing).exec_without_returning(db).await?;
        }
    }
    Ok(())
}

async fn transaction(db: &AuditConnection, dice: &mut Dice) -> Result<(), DbErr> {
    let transaction: AuditTransaction = db.begin().await?;
    for _ in 0..dice.below(3) {
        write(&transaction, dice).await?;
    }
    let nested = transaction.begin().await?;
    write(&nested, dice).await?;
    if dice.below(2) == 0 {
        nested.commit().await?
    } else {
        nested.rollback().await?
    }
    write(&transaction, dice).await?;
    match dice.below(4) {
        0 => transaction.rollback().await,
        1 => {
            drop(transaction);
            Ok(())
        }
        _ => transaction.commit().await,
    }
}

async fn replay(t: &TestDb) -> BTreeMap<String, String> {
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for entry in entries(t).await {
        let id = entry.resource_id.clone().unwrap();
        let label = changes(&entry)["label"].clone();
        let text = |side: &str| label[side].as_str().map(str::to_owned);
        let before = rows.get(&id).cloned();
        match entry.action.as_str() {
            "create" => assert_eq!(before, None, "{entry:#?}"),
            _ => assert_eq!(before, text("old"), "{entry:#?}"),
        }
        match text("new") {
            Some(new) => rows.insert(id, new),
            None => rows.remove(&id),
        };
    }
    rows
}

db_test!(i2_i3_replay_and_chain_hold_under_fire, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    let until = Instant::now() + duration();
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut dice = Dice(seed);
                let mut done = 0;
                while Instant::now() < until {
                    let result = if dice.below(3) == 0 {
                        transaction(&db, &mut dice).await
                    } else {
                        write(&db, &mut dice).await
                    };
                    done += usize::from(result.is_ok());
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    let expected: BTreeMap<String, String> = Entity::find()
        .all(&t.db)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (format!("{}/{}", row.room, row.number), row.label))
        .collect();
    assert_eq!(replay(t).await, expected);
    // Deadlocks are a part of it, and PostgreSQL takes a second to find one.
    let least = 50;
    assert!(done > least, "only {done} operations succeeded");
});
