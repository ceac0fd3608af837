//! I7: what a tenant restores tells it nothing of others' rows.

use audit_seaorm::restore::ConflictKind;
use audit_seaorm::{AuditContext, Restore};
use audit_tests::db_test;

use super::{conflicts, newest, refusal, run};
use crate::connection::connect;
use crate::fixtures::{books, keys::shelf, set_up_shelves};

const INSERT: &str = "INSERT INTO shelf (room, number, label) VALUES ('t', 1, 'secret')";
const DELETE: &str = "DELETE FROM shelf WHERE room = 't'";

fn deleted() -> Restore {
    Restore::deleted::<shelf::Entity>(("t".to_owned(), 1))
}

db_test!(i7_a_restore_does_not_tell_whether_another_tenants_row_is_there, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let [acme, globex] = ["acme", "globex"].map(|name| db.with_context(AuditContext::user(1).tenant(name)));
    let never = refusal(&globex, deleted()).await;
    run(&acme, &[INSERT]).await;
    assert_eq!(refusal(&globex, deleted()).await, never, "a row of another's");
    run(&acme, &[DELETE]).await;
    assert_eq!(refusal(&globex, deleted()).await, never, "one that is gone");
});

db_test!(i7_a_conflict_does_not_count_other_tenants_rows, async |t| {
    books::create_tables(t).await;
    let db = connect(t);
    let [acme, globex] = ["acme", "globex"].map(|name| db.with_context(AuditContext::user(1).tenant(name)));
    run(&acme, &["INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'x')"]).await;
    let created = newest(t, "create", "shelf").await;
    let early = Restore::revert_entry(created.id).plan(&acme).await.unwrap();
    run(
        &globex,
        &[
            "INSERT INTO book (id, room, number, title) VALUES (1, 'a', 1, 'one')",
            "INSERT INTO book (id, room, number, title) VALUES (2, 'a', 1, 'two')",
        ],
    )
    .await;
    let plan = Restore::revert_entry(created.id).plan(&acme).await.unwrap();
    let kind = ConflictKind::Referenced { table: "book".into(), rows: None };
    assert_eq!(plan.conflicts()[0].kind, kind);
    assert_eq!(
        conflicts(&plan),
        ["shelf a/1 is referred to by rows of `book` that this restore is not about"]
    );
    let error = early.execute(&acme).await.unwrap_err().to_string();
    assert!(error.contains("is referred to by rows of `book`"), "{error}");
    // Who isn't bound to a tenant gets the number.
    let unbound = db.with_context(AuditContext::user(9));
    let plan = Restore::revert_entry(created.id).plan(&unbound).await.unwrap();
    assert_eq!(plan.conflicts()[0].kind, ConflictKind::Referenced { table: "book".into(), rows: Some(2) });
});
