//! What foreign keys do along with a statement.

use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, ModelTrait, Statement, TransactionTrait};

use super::connect;
use crate::fixtures::{changes, entries, tree};

/// Node 1 with the children 2 and 3, 3 with the child 4; 5 has the boss 4 and 6 the boss 1.
async fn set_up(t: &TestDb) {
    for table in tree::TABLES {
        t.execute(table).await.expect("a table");
    }
    for sql in [
        "INSERT INTO house (id, name) VALUES (1, 'h')",
        "INSERT INTO wing (id, house_id) VALUES (10, 1)",
        "INSERT INTO node (id, parent_id, boss_id, label) VALUES (1, NULL, NULL, 'root')",
        "INSERT INTO node (id, parent_id, boss_id, label) VALUES (2, 1, NULL, 'two')",
        "INSERT INTO node (id, parent_id, boss_id, label) VALUES (3, 1, NULL, 'three')",
        "INSERT INTO node (id, parent_id, boss_id, label) VALUES (4, 3, NULL, 'four')",
        "INSERT INTO node (id, parent_id, boss_id, label) VALUES (5, NULL, 4, 'five')",
        "INSERT INTO node (id, parent_id, boss_id, label, wing_id) VALUES (6, NULL, 1, 'six', 10)",
    ] {
        t.execute(sql).await.expect("the rows");
    }
}

async fn found(t: &TestDb) -> Vec<String> {
    let mut found: Vec<String> = entries(t)
        .await
        .iter()
        .map(|entry| {
            let id = entry.resource_id.as_deref().unwrap_or("-");
            let boss = &changes(entry)["boss_id"];
            match entry.action.as_str() {
                "update" => format!("update {id} boss {}>{}", boss["old"], boss["new"]),
                action => format!("{action} {id}"),
            }
        })
        .collect();
    found.sort();
    found
}

const ALL: [&str; 6] =
    ["delete 1", "delete 2", "delete 3", "delete 4", "update 5 boss 4>null", "update 6 boss 1>null"];

db_test!(c16_cascaded_deletes_and_nulls_are_recorded, async |t| {
    set_up(t).await;
    let db = connect(t);
    let root = tree::Entity::find_by_id(1).one(&db).await.unwrap().unwrap();
    let result = root.delete(&db).await.unwrap();
    assert_eq!(result.rows_affected, 1);
    assert_eq!(found(t).await, ALL);
    let transactions: std::collections::BTreeSet<_> =
        entries(t).await.into_iter().map(|entry| entry.transaction_id).collect();
    assert_eq!(transactions.len(), 1);
});

db_test!(c16_cascades_within_a_transaction_share_its_fate, async |t| {
    set_up(t).await;
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DELETE FROM node WHERE label = 'root'").await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(found(t).await, [""; 0]);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DELETE FROM node WHERE label = 'root'").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(found(t).await, ALL);
});

db_test!(c16_cascades_from_tables_that_are_not_audited_are_recorded, async |t| {
    set_up(t).await;
    let db = connect(t);
    let backend = t.db.get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        "DELETE FROM house h WHERE h.name = $1"
    } else {
        "DELETE FROM house WHERE name = ?"
    };
    let result = db.execute_raw(Statement::from_sql_and_values(backend, sql, ["h".into()])).await.unwrap();
    assert_eq!(result.rows_affected(), 1);
    assert_eq!(found(t).await, ["delete 6"]);
});
