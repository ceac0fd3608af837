//! I5: what must not be recorded is nowhere in the database.

use std::path::Path;

use audit_seaorm::{Audit, AuditConnection, AuditContext, Operation, log_failure, scope};
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, Database, DbErr, EntityTrait, IdenStatic, Set, TransactionTrait,
};
use serde_json::json;

use crate::fixtures::{account, create_table, entries};

const SECRETS: [&str; 7] = [
    "excluded-secret-aaaa",
    "masked-secret-bbbb",
    "sensitive-secret-cccc",
    "4111111111111111",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "url-secret-dddd",
    "json-secret-eeee",
];

/// A connection that takes its context from the task.
fn connect(t: &TestDb) -> AuditConnection {
    Audit::builder().build().expect("an audit").connect(t.db.clone())
}

/// Does everything that could leave a secret in the audit table, by hooks or over the connection.
async fn spill<C: ConnectionTrait>(t: &TestDb, db: &C) {
    create_table(t, account::Entity).await;
    let [excluded, masked, sensitive, card, jwt, url, in_json] = SECRETS;
    let note = format!("paid by {card} with {jwt} at postgres://app:{url}@db/prod");
    let context = AuditContext::user(1)
        .reason(format!("card {card}"))
        .user_agent(format!("agent Bearer {jwt}"))
        .request_data(
            json!({"form": {"Password": in_json, "items": [{"apiKey": in_json}, {"x": note.clone()}]}}),
        )
        .with("session", json!({"refresh_token": in_json}));
    scope(context, async {
        let row = account::ActiveModel {
            pin_hash: Set(excluded.into()),
            iban: Set(masked.into()),
            api_token: Set(Some(sensitive.into())),
            note: Set(Some(note.clone())),
            ..crate::fixtures::account("Ada", 1)
        };
        let row = row.insert(db).await.unwrap();
        let change = account::ActiveModel {
            id: Set(row.id),
            pin_hash: Set(format!("{excluded}2")),
            iban: Set(format!("{masked}2")),
            api_token: Set(Some(format!("{sensitive}2"))),
            note: Set(Some(format!("{note} again"))),
            ..Default::default()
        };
        let row = change.update(db).await.unwrap();
        sea_orm::ModelTrait::delete(row, db).await.unwrap();
        let operation = Operation::new("transfer", "BankTransfer")
            .name(&note)
            .old_data(json!({"password": in_json, "note": note.clone()}))
            .new_data(json!({"password": format!("{in_json}2"), "note": "x"}))
            .details(&note)
            .with("secret", in_json);
        operation.clone().log(db).await.unwrap();
        log_failure(&t.db, operation, format!("refused: {note}")).await.unwrap();
    })
    .await;
    // The table itself legitimately holds the secrets; it must not be in the way of the search.
    t.execute("DROP TABLE account").await.unwrap();
}

/// What only the connection sees: bulk and raw writes, as values and as literals, upserts, and what fails or is rolled back.
async fn spill_in_bulk(t: &TestDb, db: &AuditConnection) -> Result<(), DbErr> {
    create_table(t, account::Entity).await;
    let [excluded, masked, sensitive, card, ..] = SECRETS;
    let row = |n: i64| account::ActiveModel {
        id: Set(n),
        pin_hash: Set(excluded.into()),
        iban: Set(masked.into()),
        api_token: Set(Some(sensitive.into())),
        note: Set(Some(format!("paid by {card}"))),
        ..crate::fixtures::account("Ada", 1)
    };
    account::Entity::insert_many((1..20).map(row)).exec(db).await?;
    for (column, text) in [
        (account::Column::PinHash, excluded),
        (account::Column::Iban, masked),
        (account::Column::ApiToken, sensitive),
        (account::Column::Note, card),
    ] {
        let changed = Expr::value(format!("{text} again"));
        account::Entity::update_many().col_expr(column, changed).exec(db).await?;
        let name = column.as_str();
        db.execute_unprepared(&format!("UPDATE account SET {name} = '{text} anew' WHERE id < 10")).await?;
    }
    let columns = [account::Column::PinHash, account::Column::Iban, account::Column::Note];
    let upsert = OnConflict::column(account::Column::Id).update_columns(columns).to_owned();
    account::Entity::insert_many([row(1), row(30)]).on_conflict(upsert).exec(db).await?;
    let transaction = db.begin().await?;
    account::Entity::update_many()
        .col_expr(account::Column::Note, Expr::value(card))
        .exec(&transaction)
        .await?;
    transaction.rollback().await?;
    account::Entity::insert(row(2)).exec(db).await.unwrap_err();
    db.execute_unprepared("DELETE FROM account").await?;
    t.execute("DROP TABLE account").await?;
    Ok(())
}

/// That none of the secrets is in the database's files, and that the search sees the entries.
async fn assert_nothing_in_files(t: &TestDb) {
    // The pages of the dropped table go with it, and the log is folded into the file.
    t.execute("VACUUM").await.unwrap();
    t.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let file = t.file().expect("a file");
    let mut searched = 0;
    for path in [file.clone(), suffixed(&file, "-wal"), suffixed(&file, "-shm")] {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        searched += bytes.len();
        for secret in SECRETS {
            assert!(!contains(&bytes, secret), "{secret} in {}", path.display());
        }
        assert!(path != file || contains(&bytes, "BankTransf"), "the search sees the entries");
    }
    assert!(searched > 4096);
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

db_test!(i5_secrets_are_nowhere_in_the_sqlite_file, on(sqlite), async |t| {
    spill(t, &t.db).await;
    assert_nothing_in_files(t).await;
});

db_test!(i5_secrets_are_nowhere_in_the_file_over_the_connection, on(sqlite), async |t| {
    spill(t, &connect(t)).await;
    spill_in_bulk(t, &connect(t)).await.unwrap();
    assert_eq!(entries(t).await.len(), 5 + ENTRIES_IN_BULK);
    assert_nothing_in_files(t).await;
});

/// Rows 1 to 19 and 30 begin and end; three columns of 19 rows, and again of nine, are seen to change (that of `pin_hash` isn't
/// recorded); the upsert changes a row.
const ENTRIES_IN_BULK: usize = 20 + 3 * (19 + 9) + 1 + 20;

#[cfg(target_os = "linux")]
mod temporary {
    //! SQLite's images of changed rows are in a TEMP table, with what isn't recorded in them.

    use super::*;

    /// What is in the temporary files that SQLite has open in this process. They have no name any more.
    fn contents() -> Vec<u8> {
        let mut all = Vec::new();
        for descriptor in std::fs::read_dir("/proc/self/fd").expect("/proc").flatten() {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            if target.to_string_lossy().contains("etilqs_") {
                all.extend(std::fs::read(descriptor.path()).unwrap_or_default());
            }
        }
        all
    }

    /// Changes this many rows over a connection with this `temp_store`, and tells whether the secret is in a temporary file
    /// while the transaction is open.
    async fn spills(t: &TestDb, rows: i64, temp_store: &'static str, secret: &str) -> bool {
        let mut options = t.options();
        options
            .max_connections(1)
            .map_sqlx_sqlite_opts(move |options| options.pragma("temp_store", temp_store));
        let plain = Database::connect(options).await.unwrap();
        let db = Audit::builder().build().unwrap().connect(plain);
        t.execute("DELETE FROM account").await.unwrap();
        let hash = format!("{secret}{}", "x".repeat(2000));
        let row = |n: i64| account::ActiveModel {
            id: Set(n),
            pin_hash: Set(hash.clone()),
            ..crate::fixtures::account("Ada", 1)
        };
        let all: Vec<_> = (1..=rows).map(row).collect();
        for some in all.chunks(500) {
            account::Entity::insert_many(some.to_vec()).exec(&t.db).await.unwrap();
        }
        let transaction = db.begin().await.unwrap();
        transaction.execute_unprepared("UPDATE account SET db_limit = db_limit + 1").await.unwrap();
        let found = contains(&contents(), secret);
        transaction.commit().await.unwrap();
        found
    }

    db_test!(i5_images_of_rows_stay_in_memory, on(sqlite), async |t| {
        create_table(t, account::Entity).await;
        // What fits SQLite's cache isn't written to a file.
        assert!(!spills(t, 5, "default", "temp-secret-few").await);
        assert!(!spills(t, 3_000, "memory", "temp-secret-memory").await);
        assert!(spills(t, 3_000, "file", "temp-secret-file").await, "the search would see them");
        assert_eq!(entries(t).await.len(), 6_005);
    });
}

fn suffixed(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// That none of the secrets is in a column of these entries.
async fn assert_nothing_in_columns(t: &TestDb, count: usize) {
    let all = entries(t).await;
    assert_eq!(all.len(), count);
    let text = format!("{all:?}");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("***"));
}

db_test!(i5_secrets_are_in_no_audit_column, async |t| {
    spill(t, &t.db).await;
    assert_nothing_in_columns(t, 5).await;
});

db_test!(i5_secrets_are_in_no_audit_column_over_the_connection, async |t| {
    spill(t, &connect(t)).await;
    spill_in_bulk(t, &connect(t)).await.unwrap();
    assert_nothing_in_columns(t, 5 + ENTRIES_IN_BULK).await;
});
