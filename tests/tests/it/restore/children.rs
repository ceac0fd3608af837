//! What foreign keys did along.

use audit_seaorm::{AuditContext, Restore, scope};
use audit_tests::{TestDb, db_test};
use existing_app::entities::{invoice, invoice_line};
use existing_app::load::{self, Data, Mode};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ModelTrait, QueryFilter, QueryOrder, TransactionTrait,
};

use super::{conflicts, newest, refusal, restore, run, told};
use crate::connection::connect;
use crate::fixtures::{books, keys, tree};

async fn nodes(t: &TestDb) -> Vec<tree::Model> {
    tree::Entity::find().order_by_asc(tree::Column::Id).all(&t.db).await.unwrap()
}

db_test!(q5_a_tree_comes_back_with_all_its_branches, async |t| {
    for table in tree::TABLES {
        t.execute(table).await.unwrap();
    }
    let db = connect(t);
    run(
        &db,
        &[
            // Children have smaller ids than their parents: neither ids nor time tell the order.
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (9, NULL, NULL, 'root')",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (5, 9, NULL, 'a')",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (7, 5, NULL, 'b')",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (3, 7, NULL, 'c')",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (4, NULL, 3, 'bossless')",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (1, NULL, NULL, 'other')",
        ],
    )
    .await;
    let before = nodes(t).await;
    run(&db, &["DELETE FROM node WHERE id = 9"]).await;
    assert_eq!(nodes(t).await.len(), 2);
    // The root alone, at first only as a plan.
    let alone = Restore::deleted::<tree::Entity>(9).plan(&db).await.unwrap();
    assert_eq!(told(&alone), ["insert node 9"]);
    let plan = restore(&db, Restore::deleted::<tree::Entity>(9).with_children()).await;
    assert_eq!(
        told(&plan),
        ["insert node 9", "insert node 5", "insert node 7", "insert node 3", "update node 4"]
    );
    assert_eq!(nodes(t).await, before);
});

db_test!(q5_rows_of_other_tables_come_back_too, async |t| {
    books::create_tables(t).await;
    let db = connect(t);
    run(
        &db,
        &[
            "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'x')",
            "INSERT INTO shelf (room, number, label) VALUES ('a', 2, 'y')",
            "INSERT INTO book (id, room, number, title) VALUES (1, 'a', 1, 'one')",
            "INSERT INTO book (id, room, number, title) VALUES (2, 'a', 1, 'two')",
            "INSERT INTO book (id, room, number, title) VALUES (3, 'a', 2, 'three')",
            "INSERT INTO loan (id, book_id, reader) VALUES (1, 2, 'Ann')",
        ],
    )
    .await;
    // Deleted with something else in one transaction, which stays deleted.
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DELETE FROM book WHERE id = 3").await.unwrap();
    transaction.execute_unprepared("DELETE FROM shelf WHERE number = 1").await.unwrap();
    transaction.commit().await.unwrap();
    let shelf = Restore::deleted::<keys::shelf::Entity>(("a".to_owned(), 1));
    let mut plan = told(&shelf.clone().with_children().plan(&db).await.unwrap());
    assert_eq!((plan.remove(0).as_str(), plan.len()), ("insert shelf a/1", 3));
    // A book alone has no shelf to stand on.
    let book = Restore::deleted::<books::book::Entity>(1).plan(&db).await.unwrap();
    assert_eq!(conflicts(&book), ["book 1 refers to a row of `shelf` that isn't there; restore that first"]);
    assert!(book.force().execute(&db).await.is_err());

    restore(&db, shelf.with_children()).await;
    let stored = books::book::Entity::find().order_by_asc(books::book::Column::Id).all(&t.db).await.unwrap();
    assert_eq!(stored.iter().map(|book| book.id).collect::<Vec<_>>(), [1, 2]);
    let loan = books::loan::Entity::find_by_id(1).one(&t.db).await.unwrap().unwrap();
    assert_eq!(loan.book_id, Some(2));
    restore(&db, Restore::deleted::<books::book::Entity>(3)).await;
});

db_test!(q5_an_order_of_the_store_comes_back_with_its_lines, async |t| {
    let audit = existing_app::audit().unwrap();
    load::create_tables(&t.db).await.unwrap();
    audit.within(load::load(&t.db, &Data::tiny().unwrap(), Mode::Recorded, &|_| ())).await.unwrap();
    let db = audit.connect(t.db.clone()).with_context(AuditContext::user(1).tenant("chinook"));
    let line = invoice_line::Entity::find().one(&t.db).await.unwrap().expect("a line");
    let order = invoice::Entity::find_by_id(line.invoice_id).one(&t.db).await.unwrap().unwrap();
    let lines = async || {
        let of_order = invoice_line::Column::InvoiceId.eq(order.invoice_id);
        let lines = invoice_line::Entity::find().filter(of_order);
        lines.order_by_asc(invoice_line::Column::InvoiceLineId).all(&t.db).await.unwrap()
    };
    let before = lines().await;
    assert!(!before.is_empty());
    // Without cascade: the lines first.
    let transaction = db.begin().await.unwrap();
    for line in before.clone() {
        line.delete(&transaction).await.unwrap();
    }
    order.clone().delete(&transaction).await.unwrap();
    let id = transaction.transaction_id().to_owned();
    transaction.commit().await.unwrap();
    let foreign = scope(AuditContext::user(2).tenant("other"), async {
        let db = audit.connect(t.db.clone());
        refusal(&db, Restore::transaction(&id)).await
    });
    assert!(foreign.await.contains("no entry about a change of a row belongs to a transaction"));
    let plan = restore(&db, Restore::transaction(&id)).await;
    assert_eq!(told(&plan)[0], format!("insert invoice {}", order.invoice_id));
    assert_eq!(plan.steps().len(), before.len() + 1);
    assert_eq!(lines().await, before);
    assert_eq!(invoice::Entity::find_by_id(order.invoice_id).one(&t.db).await.unwrap(), Some(order));
    let summary = newest(t, "revert", "transaction").await;
    assert_eq!(summary.resource_id.as_deref(), Some(id.as_str()));
    assert!(summary.metadata.unwrap().contains(&format!("\"reverted_transaction\":\"{id}\"")));
});

db_test!(q5_rows_that_refer_to_each_other_come_back, async |t| {
    for table in tree::TABLES {
        t.execute(table).await.unwrap();
    }
    let db = connect(t);
    run(
        &db,
        &[
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (1, NULL, NULL, 'one')",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (2, 1, 1, 'two')",
            "UPDATE node SET boss_id = 2 WHERE id = 1",
            "INSERT INTO node (id, parent_id, boss_id, label) VALUES (3, NULL, 3, 'its own boss')",
        ],
    )
    .await;
    let before = nodes(t).await;
    let transaction = db.begin().await.unwrap();
    for sql in ["DELETE FROM node WHERE id = 3", "DELETE FROM node WHERE id = 1"] {
        transaction.execute_unprepared(sql).await.unwrap();
    }
    let id = transaction.transaction_id().to_owned();
    transaction.commit().await.unwrap();
    assert_eq!(nodes(t).await, []);
    let plan = restore(&db, Restore::transaction(id)).await;
    // One of them has to come without its boss first.
    assert!(told(&plan).last().is_some_and(|last| last.starts_with("update node")), "{plan}");
    assert_eq!(nodes(t).await, before);
});

db_test!(q5_many_rows_come_back_without_delay, async |t| {
    books::create_tables(t).await;
    let db = connect(t);
    run(&db, &["INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'x')"]).await;
    let books = (1..=2000).map(|id| books::book::ActiveModel {
        id: sea_orm::Set(id),
        room: sea_orm::Set("a".into()),
        number: sea_orm::Set(1),
        title: sea_orm::Set(format!("book {id}")),
    });
    books::book::Entity::insert_many(books).exec_without_returning(&db).await.unwrap();
    run(&db, &["DELETE FROM shelf"]).await;
    let shelf = Restore::deleted::<keys::shelf::Entity>(("a".to_owned(), 1)).with_children();
    let plan = restore(&db, shelf).await;
    assert_eq!((plan.steps().len(), told(&plan)[0].as_str()), (2001, "insert shelf a/1"));
    assert_eq!(t.value::<i64>("SELECT count(*) FROM book").await.unwrap(), 2000);
});
