//! I4 over several tables: streams, cascades, graphs, several statements in a text, rows of a query, numbers of the database. The same
//! results and errors with audit and without, and the same tables in the end.

use std::collections::BTreeMap;

use audit_seaorm::Audit;
use audit_tests::{DbBackend, TestDb, db_test};
use futures_util::TryStreamExt;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityLoaderTrait, EntityTrait, QueryFilter,
    QueryOrder, Set, Statement, StreamTrait, TransactionSession, TransactionTrait,
};

use super::connect;
use super::sessions::ROWS;
use super::transparent::outcome;
use crate::fixtures::keys::shelf;
use crate::fixtures::{account, blog, books, create_table, entries};
use crate::replay::{Tables, assert_faithful, table};

const SEVERAL: &str = "UPDATE shelf SET label = 'several' WHERE room = 'a'; SELECT 1; INSERT INTO shelf (room, number, label) VALUES ('c', 1, 'new')";

/// The tables, in an order in which they can be dropped.
const TABLES: [&str; 8] = ["loan", "book", "shelf", "account", "post_tag", "post", "tag", "author"];

async fn set_up(t: &TestDb) {
    books::create_tables(t).await;
    for sql in ROWS {
        t.execute(sql).await.expect("rows");
    }
    create_table(t, account::Entity).await;
    create_table(t, blog::author::Entity).await;
    create_table(t, blog::tag::Entity).await;
    create_table(t, blog::post::Entity).await;
    create_table(t, blog::post_tag::Entity).await;
}

async fn stored(t: &TestDb) -> Tables {
    let audit = Audit::builder().build().expect("an audit");
    let mut tables = Tables::from([
        table::<shelf::Entity>(t, &audit).await.expect("shelves"),
        table::<books::book::Entity>(t, &audit).await.expect("books"),
        table::<books::loan::Entity>(t, &audit).await.expect("loans"),
        table::<account::Entity>(t, &audit).await.expect("accounts"),
        table::<blog::author::Entity>(t, &audit).await.expect("authors"),
        table::<blog::post::Entity>(t, &audit).await.expect("posts"),
        table::<blog::tag::Entity>(t, &audit).await.expect("tags"),
        table::<blog::post_tag::Entity>(t, &audit).await.expect("tags of posts"),
    ]);
    // No entry has it.
    for row in tables.values_mut().flat_map(BTreeMap::values_mut) {
        row.remove("pin_hash");
    }
    tables
}

/// All that a stream of a text gives, as text; the error where it ends with one.
async fn streamed<C: StreamTrait>(db: &C, backend: DbBackend, sql: &str) -> Result<Vec<String>, DbErr> {
    let rows: Vec<_> = db.stream_raw(Statement::from_string(backend, sql)).await?.try_collect().await?;
    rows.iter().map(|row| row.try_get_by_index::<String>(0)).collect()
}

/// One operation; `None` after the last.
async fn operation<C>(db: &C, number: usize, returning: bool) -> Option<String>
where
    C: ConnectionTrait + StreamTrait + TransactionTrait,
{
    let backend = ConnectionTrait::get_database_backend(db);
    let new = |owner: &str| crate::fixtures::account(owner, 100);
    let columns = "(owner, balance, iban, pin_hash)";
    let text = async |sql: &str| outcome(db.execute_unprepared(sql).await.map(|done| done.rows_affected()));
    let stream = async |sql: &str| outcome(streamed(db, backend, sql).await);
    Some(match number {
        // Numbers of the database.
        0 => outcome(new("Ada").insert(db).await.map(|row| row.id)),
        1 => outcome(account::Entity::insert(new("Bob")).exec(db).await.map(|done| done.last_insert_id)),
        2 => outcome(
            account::Entity::insert_many([new("Cy"), new("Di")])
                .exec(db)
                .await
                .map(|done| done.last_insert_id),
        ),
        3 => match db
            .execute_raw(Statement::from_string(
                backend,
                format!("INSERT INTO account {columns} VALUES ('Ed', 1, 'i', 'p'), ('Flo', 2, 'i', 'p')"),
            ))
            .await
        {
            // PostgreSQL has no such thing.
            Ok(done) if backend != DbBackend::Postgres => {
                format!("{} {}", done.last_insert_id(), done.rows_affected())
            }
            other => outcome(other.map(|done| done.rows_affected())),
        },
        4 => {
            // One that failed may have used up a number.
            _ = account::ActiveModel { owner: Set("x".repeat(400)), ..new("") }.insert(db).await;
            outcome(new("Gus").insert(db).await.map(|row| row.id).map(|id| id > 6))
        }
        // Rows of a query.
        5 => text(&format!("INSERT INTO account {columns} SELECT label, number, room, 'p' FROM shelf")).await,
        6 => text(&format!("INSERT INTO account {columns} SELECT label, NULL, room, 'p' FROM shelf")).await,
        7 => outcome(
            account::Entity::find()
                .order_by_asc(account::Column::Id)
                .all(db)
                .await
                .map(|rows| rows.into_iter().map(|row| (row.owner, row.balance)).collect::<Vec<_>>()),
        ),
        // Streams.
        8 => stream("SELECT label FROM shelf ORDER BY room, number").await,
        9 => stream("SELECT nothing FROM shelf").await,
        10 => outcome(
            async {
                let stream = shelf::Entity::find().order_by_asc(shelf::Column::Label).stream(db).await?;
                stream.try_collect::<Vec<_>>().await
            }
            .await,
        ),
        11 if returning => stream("DELETE FROM loan WHERE reader = 'Bob' RETURNING reader").await,
        12 if returning => {
            stream(
                "INSERT INTO loan (id, book_id, reader) VALUES (3, 2, 'Cy'), (4, 2, 'Di') RETURNING reader",
            )
            .await
        }
        13 if returning => {
            stream(
                "INSERT INTO loan (id, book_id, reader) VALUES (5, 1, 'Ed'), (3, 1, 'Flo') RETURNING reader",
            )
            .await
        }
        11..=13 => "no RETURNING".to_owned(),
        // Several statements in a text. With audit they are sent one by one, and what is affected is said of the last one alone.
        14 => outcome(db.execute_unprepared(SEVERAL).await.map(|_| ())),
        15 => text("-- nothing").await,
        // Cascades.
        16 => text("DELETE FROM shelf WHERE room = 'b'").await,
        17 => text("DELETE FROM book WHERE id = 2").await,
        18 => outcome(shelf::Entity::delete_by_id(("a".to_owned(), 1)).exec(db).await),
        19 => text("INSERT INTO book (id, room, number, title) VALUES (9, 'nowhere', 1, 'x')").await,
        20 => outcome(books::loan::Entity::find().order_by_asc(books::loan::Column::Id).all(db).await),
        // Graphs, saved in a transaction of their own.
        21 => outcome(
            blog::author::ActiveModel { name: Set("Ada".into()), ..Default::default() }
                .insert(db)
                .await
                .map(|row| row.id),
        ),
        22 => outcome(
            blog::post::ActiveModel::builder()
                .set_author_id(1)
                .set_title("First")
                .add_tag(blog::tag::ActiveModel::builder().set_name("rust"))
                .add_tag(blog::tag::ActiveModel::builder().set_name("audit"))
                .save(db)
                .await
                .map(|_| ()),
        ),
        23 => outcome(
            blog::post::ActiveModel::builder()
                .set_author_id(99)
                .set_title("Nobody's")
                .add_tag(blog::tag::ActiveModel::builder().set_name("lost"))
                .save(db)
                .await
                .map(|_| ()),
        ),
        24 => outcome(
            blog::author::Entity::load()
                .filter_by_id(1)
                .with((blog::post::Entity, blog::tag::Entity))
                .one(db)
                .await,
        ),
        25 => outcome(
            blog::tag::Entity::update_many()
                .col_expr(blog::tag::Column::Name, Expr::value("renamed"))
                .filter(blog::tag::Column::Name.eq("rust"))
                .exec(db)
                .await,
        ),
        26 => match blog::post::Entity::load().filter_by_id(1).one(db).await {
            Ok(Some(post)) => outcome(post.delete(db).await.map(|done| done.rows_affected)),
            other => outcome(other.map(|_| ())),
        },
        // All that in a transaction that is rolled back.
        27 => outcome(
            async {
                let transaction = db.begin().await?;
                let id = new("Hal").insert(&transaction).await?.id;
                let graph = blog::post::ActiveModel::builder()
                    .set_author_id(1)
                    .set_title("Undone")
                    .add_tag(blog::tag::ActiveModel::builder().set_name("undone"));
                graph.save(&transaction).await?;
                let gone = transaction.execute_unprepared("DELETE FROM shelf").await?.rows_affected();
                TransactionSession::rollback(transaction).await?;
                Ok((id, gone))
            }
            .await,
        ),
        _ => return None,
    })
}

db_test!(i4_several_tables_come_out_alike, async |t| {
    let returning = t.backend != DbBackend::MySql || t.is_mariadb().await;
    let mut sides = Vec::new();
    for audited in [false, true] {
        set_up(t).await;
        let before = stored(t).await;
        let db = connect(t);
        let mut outcomes = Vec::new();
        for number in 0.. {
            let outcome = if audited {
                operation(&db, number, returning).await
            } else {
                audit_seaorm::suspended(operation(&t.db, number, returning)).await
            };
            let Some(outcome) = outcome else { break };
            outcomes.push(format!("{number}: {outcome}"));
        }
        let now = stored(t).await;
        if audited {
            assert_faithful(before, &entries(t).await, &now);
            let made = entries(t).await.len();
            // Without RETURNING there are fewer operations.
            assert!(made > if returning { 30 } else { 20 }, "{made}");
        } else {
            assert_eq!(entries(t).await, []);
        }
        for name in TABLES {
            t.execute(&format!("DROP TABLE {name}")).await.unwrap();
        }
        sides.push((outcomes, now));
    }
    let (plain, audited) = (&sides[0], &sides[1]);
    assert_eq!(plain.0, audited.0);
    assert_eq!(plain.1, audited.1);
    let (failed, done): (Vec<_>, Vec<_>) =
        plain.0.iter().partition(|outcome| outcome.contains(": Query") || outcome.contains(": Exec"));
    assert!(failed.len() >= 4 && done.len() > 15, "{failed:#?}");
});

// As over SeaORM's own connections, which have them beside the traits.
db_test!(c15_async_closures_run_in_transactions, async |t| {
    set_up(t).await;
    let db = connect(t);
    assert_eq!(db.get_database_backend(), t.backend);
    let sql = |label: &str| format!("UPDATE shelf SET label = '{label}' WHERE room = 'b'");
    let done = db
        .transaction_async(async |transaction| {
            transaction.execute_unprepared(&sql("kept")).await?;
            let nested = transaction
                .transaction_async(async |nested| {
                    assert_eq!(nested.get_database_backend(), t.backend);
                    nested.execute_unprepared(&sql("lost")).await?;
                    Err::<(), DbErr>(DbErr::Custom("no".into()))
                })
                .await;
            nested.unwrap_err();
            Ok::<_, DbErr>(7)
        })
        .await;
    assert_eq!(done.unwrap(), 7);
    let failed = db.transaction_with_config_async(
        async |transaction| {
            transaction.execute_unprepared(&sql("never")).await?;
            Err::<(), DbErr>(DbErr::Custom("no".into()))
        },
        None,
        None,
    );
    failed.await.unwrap_err();
    assert_eq!(t.value::<String>("SELECT label FROM shelf WHERE room = 'b'").await.unwrap(), "kept");
    assert_eq!(entries(t).await.len(), 1);
    db.close_by_ref().await.unwrap();
});
