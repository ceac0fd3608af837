//! I5: what must not be recorded is nowhere in the database.

use std::path::Path;

use audit_seaorm::{AuditContext, Operation, log_failure, scope};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, Set, TransactionTrait as _};
use serde_json::json;

use crate::fixtures::{account, create_table};

const SECRETS: [&str; 7] = [
    "excluded-secret-aaaa",
    "masked-secret-bbbb",
    "sensitive-secret-cccc",
    "4111111111111111",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "url-secret-dddd",
    "json-secret-eeee",
];

/// Does everything that could leave a secret in the audit table.
async fn spill(t: &audit_tests::TestDb) {
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
        let row = row.insert(&t.db).await.unwrap();
        let change = account::ActiveModel {
            id: Set(row.id),
            pin_hash: Set(format!("{excluded}2")),
            iban: Set(format!("{masked}2")),
            api_token: Set(Some(format!("{sensitive}2"))),
            note: Set(Some(format!("{note} again"))),
            ..Default::default()
        };
        let row = change.update(&t.db).await.unwrap();
        sea_orm::ModelTrait::delete(row, &t.db).await.unwrap();
        let operation = Operation::new("transfer", "BankTransfer")
            .name(&note)
            .old_data(json!({"password": in_json, "note": note.clone()}))
            .new_data(json!({"password": format!("{in_json}2"), "note": "x"}))
            .details(&note)
            .with("secret", in_json);
        operation.clone().log(&t.db).await.unwrap();
        log_failure(&t.db, operation, format!("refused: {note}")).await.unwrap();
    })
    .await;
    // The table itself legitimately holds the secrets; it must not be in the way of the search.
    t.execute("DROP TABLE account").await.unwrap();
}

db_test!(i5_secrets_are_nowhere_in_the_sqlite_file, on(sqlite), async |t| {
    spill(t).await;
    // The pages of the dropped table go with it, and the log is folded into the file.
    t.execute("VACUUM").await.unwrap();
    t.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let file = t.file().expect("a file");
    let mut searched = 0;
    for path in [file.clone(), suffixed(&file, "-wal"), suffixed(&file, "-shm")] {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        searched += bytes.len();
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            assert_eq!(found, None, "{secret} in {}", path.display());
        }
        assert!(
            path != file || bytes.windows(10).any(|window| window == b"BankTransf"),
            "the search sees the entries"
        );
    }
    assert!(searched > 4096);
});

fn suffixed(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

db_test!(i5_secrets_are_in_no_audit_column, async |t| {
    spill(t).await;
    let all = crate::fixtures::entries(t).await;
    assert_eq!(all.len(), 5);
    let text = format!("{all:?}");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("***"));
});

db_test!(i5_errors_and_log_lines_carry_no_values, async |t| {
    create_table(t, account::Entity).await;
    crate::fixtures::drop_audit_table(t).await;
    let note = "value-in-error-ffff";
    let row = account::ActiveModel { note: Set(Some(note.into())), ..crate::fixtures::account("Ada", 1) };
    let transaction = t.db.begin().await.unwrap();
    let error = row.insert(&transaction).await.unwrap_err();
    assert!(!error.to_string().contains(note) && !format!("{error:?}").contains(note), "{error:?}");
});
