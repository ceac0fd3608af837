//! What stands against a restore.

use audit_seaorm::Restore;
use audit_seaorm::restore::ConflictKind;
use audit_tests::db_test;
use sea_orm::EntityTrait;
use serde_json::json;

use super::{conflicts, newest, restore, run, told};
use crate::connection::connect;
use crate::fixtures::{books, entries, keys::shelf, set_up_shelves};

db_test!(q5_later_changes_are_overwritten_by_force_only, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(&db, &["UPDATE shelf SET label = 'first' WHERE room = 'b'"]).await;
    let first = newest(t, "update", "shelf").await;
    run(&db, &["UPDATE shelf SET label = 'second' WHERE room = 'b'"]).await;
    let before = entries(t).await.len();
    let plan = Restore::revert_entry(first.id).plan(&db).await.unwrap();
    assert_eq!(
        plan.conflicts()[0].kind,
        ConflictKind::Changed {
            field: "label".into(),
            expected: Some(json!("first")),
            found: Some(json!("second")),
        }
    );
    let error = plan.execute(&db).await.unwrap_err().to_string();
    assert_eq!(error, "restore: shelf b/1 was changed later in `label`");
    assert_eq!(entries(t).await.len(), before, "nothing is done, and nothing is recorded");
    plan.force().execute(&db).await.unwrap();
    let now = shelf::Entity::find_by_id(("b".to_owned(), 1)).one(&t.db).await.unwrap().unwrap();
    assert_eq!(now.label, "three");
    let summary = newest(t, "revert", "shelf").await;
    assert!(summary.metadata.unwrap().contains("\"forced\":true"));
});

db_test!(q5_a_row_that_changes_after_the_plan_is_not_touched, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(&db, &["UPDATE shelf SET label = 'first' WHERE room = 'b'"]).await;
    let first = newest(t, "update", "shelf").await;
    let plan = Restore::revert_entry(first.id).plan(&db).await.unwrap();
    run(&db, &["UPDATE shelf SET label = 'meanwhile' WHERE room = 'b'"]).await;
    let error = plan.force().execute(&db).await.unwrap_err().to_string();
    assert_eq!(error, "restore: shelf b/1 has changed since the plan was made; make a new one");
    let now = shelf::Entity::find_by_id(("b".to_owned(), 1)).one(&t.db).await.unwrap().unwrap();
    assert_eq!(now.label, "meanwhile");
});

db_test!(q5_rows_that_are_gone_or_back_are_conflicts, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(&db, &["UPDATE shelf SET label = 'first' WHERE room = 'b'"]).await;
    let update = newest(t, "update", "shelf").await;
    run(&db, &["DELETE FROM shelf WHERE room = 'b'"]).await;
    let deletion = newest(t, "delete", "shelf").await;
    let plan = Restore::revert_entry(update.id).plan(&db).await.unwrap();
    assert_eq!(conflicts(&plan), ["shelf b/1 is gone; restore it first"]);
    assert!(plan.force().execute(&db).await.is_err());

    run(&db, &["INSERT INTO shelf (room, number, label) VALUES ('b', 1, 'another')"]).await;
    let plan = Restore::revert_entry(deletion.id).plan(&db).await.unwrap();
    assert_eq!(conflicts(&plan), ["shelf b/1 is there again"]);
    assert!(plan.execute(&db).await.is_err());
    plan.force().execute(&db).await.unwrap();
    let now = shelf::Entity::find_by_id(("b".to_owned(), 1)).one(&t.db).await.unwrap().unwrap();
    assert_eq!(now.label, "first");
});

db_test!(q5_rows_that_others_refer_to_do_not_go, async |t| {
    books::create_tables(t).await;
    let db = connect(t);
    run(&db, &["INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'x')"]).await;
    let created = newest(t, "create", "shelf").await;
    let plan = Restore::revert_entry(created.id).plan(&db).await.unwrap();
    // Deleting the shelf would take books along that this restore isn't about.
    run(&db, &["INSERT INTO book (id, room, number, title) VALUES (1, 'a', 1, 'one')"]).await;
    let error = plan.execute(&db).await.unwrap_err().to_string();
    assert!(error.contains("is referred to by rows of `book`"), "{error}");
    let plan = Restore::revert_entry(created.id).plan(&db).await.unwrap();
    assert_eq!(
        conflicts(&plan),
        ["shelf a/1 is referred to by rows of `book` that this restore is not about"]
    );
    assert!(plan.force().execute(&db).await.is_err());
    assert_eq!(books::book::Entity::find().all(&t.db).await.unwrap().len(), 1);
    run(&db, &["DELETE FROM book"]).await;
    let plan = restore(&db, Restore::revert_entry(created.id)).await;
    assert_eq!(told(&plan), ["delete shelf a/1"]);
});

db_test!(q5_two_restores_at_once_do_it_once, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(&db, &["DELETE FROM shelf WHERE room = 'b'"]).await;
    let description = Restore::deleted::<shelf::Entity>(("b".to_owned(), 1));
    let (one, two) = (description.plan(&db).await.unwrap(), description.plan(&db).await.unwrap());
    let (one, two) = tokio::join!(one.execute(&db), two.execute(&db));
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
    let all = entries(t).await;
    assert_eq!(all.iter().filter(|entry| entry.action == "restore").count(), 1);
    assert_eq!(all.iter().filter(|entry| entry.action == "create").count(), 1);
});
