//! What the day's record must say.

use audit_seaorm::entity::{
    audit_export, audit_log, audit_login_attempt, audit_query, audit_transition, audit_violation,
};
use audit_seaorm::{AuditConnection, LogFilter, get_audit_logs, status_of};
use bank::{account, story};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryOrder, Statement};
use serde_json::json;

async fn day() -> (AuditConnection, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let db = bank::open(&format!("sqlite://{}/bank.db?mode=rwc", folder.path().display())).await.unwrap();
    story::tell(&db, folder.path()).await.unwrap();
    (db, folder)
}

async fn entries(db: &AuditConnection, filter: LogFilter) -> Vec<audit_log::Model> {
    let mut all = get_audit_logs(&filter).unwrap().all(db).await.unwrap();
    all.reverse();
    all
}

#[tokio::test]
async fn c9_a_transfer_and_its_entries_are_one() {
    let (db, _folder) = day().await;
    let all = entries(&db, LogFilter::new()).await;
    let told: Vec<_> =
        all.iter().map(|entry| (entry.action.as_str(), entry.resource_type.as_str())).collect();
    assert_eq!(
        told,
        [
            ("create", "BankAccount"),
            ("create", "BankAccount"),
            ("transfer", "BankTransfer"),
            ("update", "BankAccount"),
            ("update", "BankAccount"),
            ("logout", "user"),
            ("download", "audit_export"),
        ],
        "the transfer that failed left none"
    );
    let transfer = &all[2];
    assert_eq!(
        serde_json::Value::from(transfer.changes_json().unwrap()),
        json!({
            "from_account_balance": {"old": "1000.00", "new": "900.00"},
            "to_account_balance": {"old": "500.00", "new": "600.00"},
        })
    );
    assert_eq!(transfer.frameworks.as_deref(), Some(r#"["SOX"]"#));
    assert_eq!((transfer.classification.as_str(), transfer.is_sensitive), ("confidential", true));
    assert_eq!(transfer.resource_name.as_deref(), Some("Transfer from Savings to Giro"));
    assert!(transfer.transaction_id.is_some());
    for update in &all[3..5] {
        assert_eq!(update.transaction_id, transfer.transaction_id);
        assert_eq!(
            (update.classification.as_str(), update.actor_name.as_deref()),
            ("confidential", Some("Ann"))
        );
    }
    let balances = account::Entity::find().order_by_asc(account::Column::Id).all(&db).await.unwrap();
    let balances: Vec<_> = balances.iter().map(|account| format!("{:.2}", account.balance)).collect();
    assert_eq!(balances, ["900.00", "600.00"]);
}

#[tokio::test]
async fn r3_the_failed_transfer_is_a_violation_that_was_handled() {
    let (db, _folder) = day().await;
    let all = audit_violation::Entity::find().all(&db).await.unwrap();
    let [violation] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((violation.violation_type.as_str(), violation.severity.as_str()), ("transfer_failed", "high"));
    assert_eq!(violation.description, "Money transfer failed: insufficient funds in account 2");
    assert_eq!(violation.actor_name.as_deref(), Some("Ann"));
    let details = json!({"from_account_id": 2, "to_account_id": 1, "amount": "9999.00"});
    assert_eq!(violation.details_json().unwrap(), Some(details));
    let steps = audit_transition::Entity::find().order_by_asc(audit_transition::Column::Step);
    let steps: Vec<_> = steps.all(&db).await.unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.status.as_str(), step.actor_name.as_deref())).collect();
    assert_eq!(told, [("investigating", Some("Chris")), ("resolved", Some("Chris"))]);
    assert_eq!(status_of(&db, violation.id).await.unwrap().status, "resolved");
}

#[tokio::test]
async fn c7_who_looked_is_recorded() {
    let (db, _folder) = day().await;
    let reads = audit_query::Entity::find().all(&db).await.unwrap();
    let lists: Vec<_> = reads
        .iter()
        .filter(|read| read.filters.as_deref().is_some_and(|filters| filters.contains("tenant")))
        .map(|read| (read.actor_name.as_deref(), read.resource_type.as_str(), read.record_count))
        .collect();
    assert_eq!(lists.len(), 2, "{reads:?}");
    assert!(lists.contains(&(Some("Ann"), "BankAccount", Some(2))), "{lists:?}");
    assert!(lists.contains(&(Some("Chris"), "BankAccount", Some(2))), "{lists:?}");
}

#[tokio::test]
async fn r2_the_export_is_recorded_with_its_file_and_who_fetched_it() {
    let (db, folder) = day().await;
    let all = audit_export::Entity::find().all(&db).await.unwrap();
    let [export] = all.as_slice() else { panic!("{all:?}") };
    let file = std::fs::read_to_string(folder.path().join("accounts.csv")).unwrap();
    assert_eq!((export.format.as_str(), export.record_count), ("csv", Some(2)));
    assert_eq!(file.lines().nth(1), Some("1,Savings,DE89370400440532013000,900.00"));
    assert_eq!(file.lines().count(), 3);
    assert_eq!(export.file_size, i64::try_from(file.len()).ok());
    assert_eq!(export.filters_json().unwrap(), Some(json!({"tenant": "north branch", "is_active": true})));
    let fetched = LogFilter::new().entity("audit_export").entity_id(export.id).action("download");
    let fetched = entries(&db, fetched).await;
    assert_eq!(fetched.len(), 1);
    assert_eq!(fetched[0].actor_name.as_deref(), Some("Chris"));
}

#[tokio::test]
async fn r4_logins_are_recorded() {
    let (db, _folder) = day().await;
    let logins = audit_login_attempt::Entity::find().order_by_asc(audit_login_attempt::Column::Seq);
    let logins = logins.all(&db).await.unwrap();
    let told: Vec<_> =
        logins.iter().map(|login| (login.status.as_str(), login.ip_address.as_deref())).collect();
    let (stranger, ann) = (Some("203.0.113.9"), Some("192.0.2.7"));
    assert_eq!(told, [("failed", stranger), ("failed", stranger), ("blocked", stranger), ("success", ann)]);
}

#[tokio::test]
async fn i5_no_account_number_is_in_an_audit_table() {
    let (db, _folder) = day().await;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'audit!_%' ESCAPE '!'";
    let tables = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, tables)).await.unwrap();
    assert!(tables.len() >= 7, "{}", tables.len());
    for table in tables {
        let table: String = table.try_get("", "name").unwrap();
        let columns = format!("SELECT name FROM pragma_table_info('{table}')");
        for column in db.query_all_raw(Statement::from_string(DbBackend::Sqlite, columns)).await.unwrap() {
            let column: String = column.try_get("", "name").unwrap();
            for number in ["DE89370400440532013000", "GB29NWBK60161331926819"] {
                let count =
                    format!("SELECT count(*) AS n FROM {table} WHERE instr({column}, '{number}') > 0");
                let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, count)).await.unwrap();
                assert_eq!(row.unwrap().try_get::<i64>("", "n").unwrap(), 0, "{table}.{column}");
            }
        }
    }
}
