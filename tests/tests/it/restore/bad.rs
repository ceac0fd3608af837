//! What can't be restored, and why.

use audit_seaorm::{Audit, AuditContext, Error, Operation, Restore, scope};
use audit_tests::db_test;
use sea_orm::ConnectionTrait;

use super::{newest, refusal, restore, run};
use crate::connection::connect;
use crate::fixtures::{keys::shelf, music, set_up_shelves};

fn key(room: &str, number: i32) -> (String, i32) {
    (room.to_owned(), number)
}

db_test!(q5_what_cannot_be_restored_is_said, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let error = refusal(&db, Restore::deleted::<shelf::Entity>(key("z", 9))).await;
    assert_eq!(error, "restore: nothing is recorded of shelf z/9 in the tenant `acme`");
    let error = refusal(&db, Restore::as_of::<shelf::Entity>(key("z", 9), chrono::Utc::now())).await;
    assert_eq!(error, "restore: nothing is recorded of shelf z/9 in the tenant `acme`");
    let nobody = uuid::Uuid::from_u128(3);
    let error = refusal(&db, Restore::revert_entry(nobody)).await;
    assert_eq!(error, format!("restore: there is no entry {nobody} about a change of a row"));
    let error = refusal(&db, Restore::transaction("'; DROP TABLE shelf; --")).await;
    assert!(error.contains("no entry about a change of a row belongs to a transaction"), "{error}");
    // Entries that changed no row.
    let context = AuditContext::user(1).tenant("acme");
    scope(context, Operation::new("approve", "shelf").id("b/1").log(&t.db)).await.unwrap();
    let approved = newest(t, "approve", "shelf").await;
    assert!(refusal(&db, Restore::revert_entry(approved.id)).await.contains("there is no entry"));
    // Resources and ids that nothing is known by.
    let error = refusal(&db, Restore::deleted_resource("Ghost", 1)).await;
    assert!(error.contains("no entity is audited as `Ghost`"), "{error}");
    for id in ["b", "b/1/2", "b/x"] {
        let error = refusal(&db, Restore::deleted_resource("shelf", id)).await;
        assert!(error.contains("isn't recorded as it is"), "{id}: {error}");
    }
    let error = Restore::deleted::<music::label::Entity>(1).plan(&db).await.unwrap_err();
    assert!(matches!(error, Error::Registration(_)), "{error}");
    // Gone behind the log's back.
    run(&db, &["UPDATE shelf SET label = 'x' WHERE room = 'b'"]).await;
    t.execute("DELETE FROM shelf WHERE room = 'b'").await.unwrap();
    let error = refusal(&db, Restore::deleted::<shelf::Entity>(key("b", 1))).await;
    assert!(error.contains("isn't there, but no entry says that it was deleted"), "{error}");
});

db_test!(i7_another_tenants_entries_are_not_found, async |t| {
    set_up_shelves(t).await;
    let db = connect(t); // acme's
    run(&db, &["DELETE FROM shelf WHERE room = 'b'"]).await;
    let deletion = newest(t, "delete", "shelf").await;
    let globex = db.with_context(AuditContext::user(9).tenant("globex"));
    let error = refusal(&globex, Restore::deleted::<shelf::Entity>(key("b", 1))).await;
    assert_eq!(error, "restore: nothing is recorded of shelf b/1 in the tenant `globex`");
    assert!(refusal(&globex, Restore::revert_entry(deletion.id)).await.contains("there is no entry"));
    let transaction = deletion.transaction_id.unwrap();
    assert!(refusal(&globex, Restore::transaction(&transaction)).await.contains("no entry about a change"));
    // The task's context counts where the connection has none.
    let bare = Audit::builder().build().unwrap().connect(t.db.clone());
    let error =
        scope(AuditContext::user(9).tenant("globex"), refusal(&bare, Restore::revert_entry(deletion.id)));
    assert!(error.await.contains("there is no entry"));
    restore(&bare, Restore::revert_entry(deletion.id)).await;
});

db_test!(q5_what_the_database_refuses_is_undone_as_a_whole, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(&db, &["DELETE FROM shelf WHERE room = 'a'"]).await;
    let transaction = newest(t, "delete", "shelf").await.transaction_id.unwrap();
    let plan = Restore::transaction(transaction).plan(&db).await.unwrap();
    assert_eq!(plan.steps().len(), 2);
    // The label of the second row that comes back is taken.
    t.execute("CREATE UNIQUE INDEX labels ON shelf (label)").await.unwrap();
    let taken = if plan.steps()[1].id == "a/1" { "one" } else { "two" };
    t.db.execute_unprepared(&format!("INSERT INTO shelf (room, number, label) VALUES ('q', 1, '{taken}')"))
        .await
        .unwrap();
    let before = crate::fixtures::entries(t).await.len();
    let error = plan.execute(&db).await.unwrap_err().to_string();
    assert!(error.starts_with("restore: nothing was restored:"), "{error}");
    assert!(!error.contains(&format!("'{taken}'")) && !error.contains(&format!("({taken})")), "{error}");
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shelf WHERE room = 'a'").await.unwrap(), 0);
    assert_eq!(crate::fixtures::entries(t).await.len(), before);
});
