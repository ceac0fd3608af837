//! Hostile and unusual statements: each is recorded truly, or refused and then not done.

mod cascades;
mod errors;
mod forms;
mod made_keys;
mod secrets;
mod silent;
mod sqlite;
mod tables;

use std::collections::BTreeMap;

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, AuditConnection, is_audit_error};
use audit_tests::TestDb;
use sea_orm::{ConnectionTrait, Database, DbErr, EntityTrait};

use crate::fixtures::{changes, entries, keys};

#[allow(unreachable_pub)]
mod dated {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "hostile_dated")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub day: Date,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

#[allow(unreachable_pub)]
mod knot {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "hostile_knot")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub a_id: Option<i32>,
        pub b_id: Option<i32>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

/// Labels by room and number.
pub(super) type Shelves = BTreeMap<String, String>;

pub(super) async fn shelves(t: &TestDb) -> Shelves {
    let all = keys::shelf::Entity::find().all(&t.db).await.unwrap();
    all.into_iter().map(|row| (format!("{}/{}", row.room, row.number), row.label)).collect()
}

/// I2, I3: what the entries make of the shelves.
async fn replay(t: &TestDb, table: Shelves, seen: usize) -> Result<Shelves, String> {
    told(&entries(t).await.split_off(seen), table)
}

/// What these entries make of the shelves.
pub(super) fn told(entries: &[audit_log::Model], mut table: Shelves) -> Result<Shelves, String> {
    for entry in entries.iter().filter(|entry| entry.resource_type == "shelf") {
        let (id, change) = (entry.resource_id.clone().unwrap_or_default(), changes(entry));
        let said = format!("{} {id} {change}", entry.action);
        let text = |name: &str, side: &str| change.get(name)?.get(side)?.as_str().map(str::to_owned);
        match entry.action.as_str() {
            "create" => {
                if table.insert(id, text("label", "new").unwrap_or_default()).is_some() {
                    return Err(format!("{said}: it is there already"));
                }
            }
            "delete" => {
                if table.remove(&id) != text("label", "old") {
                    return Err(format!("{said}: there was another"));
                }
            }
            _ => {
                let (room, number) = id.split_once('/').unwrap();
                let room = text("room", "old").unwrap_or(room.to_owned());
                let number = change.get("number").map_or(number.to_owned(), |n| n["old"].to_string());
                let Some(old) = table.remove(&format!("{room}/{number}")) else {
                    return Err(format!("{said}: it wasn't there"));
                };
                if text("label", "old").is_some_and(|label| label != old) {
                    return Err(format!("{said}: it was {old:?}"));
                }
                table.insert(id, text("label", "new").unwrap_or(old));
            }
        }
    }
    Ok(table)
}

/// Runs statements; the entries must tell what became of the table. So many of them are refused, and no more: what can be recorded
/// is to be done.
async fn faithful<C: ConnectionTrait>(t: &TestDb, db: &C, statements: &[&str], refused: usize) {
    let (mut wrong, mut refusals) = (Vec::new(), Vec::new());
    for sql in statements {
        let (before, seen) = (shelves(t).await, entries(t).await.len());
        match db.execute_unprepared(sql).await {
            Err(error) if is_audit_error(&error) => refusals.push(format!("{sql}: {error}")),
            Err(error) => wrong.push(format!("{sql}: {error}")),
            Ok(_) => {}
        }
        let after = shelves(t).await;
        match replay(t, before.clone(), seen).await {
            Ok(table) if table == after => {}
            Ok(table) => {
                wrong.push(format!("{sql}: entries give {table:?}, the table is {after:?}, was {before:?}"))
            }
            Err(error) => wrong.push(format!("{sql}: {error}; the table is {after:?}, was {before:?}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(refusals.len(), refused, "refused:\n{}\n", refusals.join("\n"));
}

async fn run(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn single(t: &TestDb) -> AuditConnection {
    let mut options = t.options();
    options.max_connections(1).min_connections(1);
    Audit::builder().build().unwrap().connect(Database::connect(options).await.unwrap())
}

/// How an error looks to the user.
fn kind<T>(result: Result<T, DbErr>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(error) => format!("{error:?}").split('(').next().unwrap_or_default().to_owned(),
    }
}

/// A table that refers to itself by two foreign keys, one for each way of following.
async fn knots(t: &TestDb, first: &str, second: &str) {
    run(t, &[
        &format!("CREATE TABLE hostile_knot (id INT NOT NULL PRIMARY KEY, a_id INT NULL, b_id INT NULL, CONSTRAINT k1 FOREIGN KEY ({first}) REFERENCES hostile_knot (id) ON DELETE {}, CONSTRAINT k2 FOREIGN KEY ({second}) REFERENCES hostile_knot (id) ON DELETE {})",
            if first == "a_id" { "SET NULL" } else { "CASCADE" }, if second == "a_id" { "SET NULL" } else { "CASCADE" }),
    ]).await;
}
