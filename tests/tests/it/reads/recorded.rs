//! What is recorded of a read.

use audit_seaorm::{Config, Operations, testing};
use audit_tests::{DbBackend, db_test};
use futures_util::TryStreamExt;
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, SelectExt,
    Statement, StreamTrait, TransactionTrait,
};
use serde_json::json;

use super::{connect, filters, only_query, queries, ward};
use crate::fixtures::{account, create_table, patient, quiet_account};

db_test!(c7_a_select_is_recorded, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let condition = patient::Column::Born.gt(1960).and(patient::Column::WardNo.eq(3));
    let found = patient::Entity::find().filter(condition).all(&db).await?;
    assert_eq!(found.len(), 1);

    let query = only_query(t, &db).await;
    assert_eq!(query.query_type, "select");
    assert_eq!(query.resource_type, "Patient");
    assert_eq!(query.module.as_deref(), Some("ward"));
    assert_eq!(query.frameworks.as_deref(), Some(r#"["HIPAA"]"#));
    assert_eq!(query.fields.as_deref(), Some(r#"["id","name","born","ward","phone","diagnosis"]"#));
    assert_eq!(
        filters(&query),
        json!({"and": [{"field": "born", "op": ">", "value": 1960}, {"field": "ward", "op": "=", "value": 3}]})
    );
    assert_eq!(query.record_count, Some(1));
    assert!(query.duration_us > 0);
    assert_eq!(query.status, "success");
    assert_eq!(query.actor_id.as_deref(), Some("7"));
    assert_eq!(query.actor_name.as_deref(), Some("Ann"));
    assert_eq!(query.tenant.as_deref(), Some("acme"));
    assert_eq!(query.request_id.as_deref(), Some("r-1"));
    assert_eq!(query.ip_address.as_deref(), Some("192.0.2.7"));
    assert_eq!(query.transaction_id, None);
    assert_eq!(query.hash_matches(), Some(true));
    Ok(())
});

db_test!(c7_the_type_says_what_was_asked, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let find = || patient::Entity::find().filter(patient::Column::Born.lt(1990));
    assert_eq!(find().count(&db).await?, 2);
    assert!(find().exists(&db).await?);
    assert!(!patient::Entity::find_by_id(9).exists(&db).await?);
    let oldest: Option<Option<i32>> = patient::Entity::find()
        .select_only()
        .column_as(patient::Column::Born.min(), "m")
        .into_tuple()
        .one(&db)
        .await?;
    assert_eq!(oldest, Some(Some(1950)));
    let per_ward: Vec<(Option<i32>, i64)> = patient::Entity::find()
        .select_only()
        .column(patient::Column::WardNo)
        .column_as(patient::Column::Id.count(), "n")
        .group_by(patient::Column::WardNo)
        .into_tuple()
        .all(&db)
        .await?;
    assert_eq!(per_ward.len(), 2);
    assert!(patient::Entity::find_by_id(2).one(&db).await?.is_some());
    let page = patient::Entity::find().paginate(&db, 2).fetch_page(0).await?;
    assert_eq!(page.len(), 2);

    let said: Vec<_> = queries(t, &db).await;
    let said: Vec<_> =
        said.iter().map(|q| (q.query_type.as_str(), q.record_count, q.fields.as_deref())).collect();
    let all = Some(r#"["id","name","born","ward","phone","diagnosis"]"#);
    assert_eq!(
        said,
        [
            ("count", Some(2), None),
            ("exists", Some(1), None),
            ("exists", Some(0), None),
            ("aggregate", Some(1), Some(r#"["born"]"#)),
            ("aggregate", Some(2), Some(r#"["id","ward"]"#)),
            ("select", Some(1), all),
            ("select", Some(2), all),
        ]
    );
    Ok(())
});

db_test!(i5_no_secret_gets_into_the_record_of_a_read, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let find = patient::Entity::find;
    find().filter(patient::Column::Phone.eq("555-secret-1")).all(&db).await?;
    find().filter(patient::Column::Diagnosis.is_in(["secret-flu", "secret-gout"])).all(&db).await?;
    find()
        .filter(Expr::expr(Func::lower(Expr::col(patient::Column::Phone))).eq("555-secret-1"))
        .all(&db)
        .await?;
    find().filter(patient::Column::Name.like("%4111 1111 1111 1111%")).all(&db).await?;
    let raw =
        "SELECT name FROM patient WHERE diagnosis LIKE 'secret-%' OR phone = CONCAT('555-secret', '-1')";
    let raw = if t.backend == DbBackend::Sqlite {
        raw.replace("CONCAT('555-secret', '-1')", "'555-secret' || '-1'")
    } else {
        raw.into()
    };
    db.query_all_raw(Statement::from_string(t.backend, raw)).await?;

    let all = queries(t, &db).await;
    let shown: Vec<_> = all.iter().map(filters).collect();
    assert_eq!(shown[0], json!({"field": "phone", "op": "=", "value": "***"}));
    assert_eq!(shown[1], json!({"field": "diagnosis", "op": "in", "value": ["***", "***"]}));
    assert_eq!(shown[2]["values"], json!(["***"]));
    assert!(!all[3].filters.as_deref().unwrap_or_default().contains("4111"), "{}", shown[3]);
    assert_eq!(shown[4]["or"][0], json!({"field": "diagnosis", "op": "like", "value": "***"}));
    assert_eq!(all.len(), 5);
    for query in all {
        assert!(!format!("{query:?}").contains("secret"), "{query:#?}");
    }
    Ok(())
});

// A condition's column may be another query's, a name that the query gives, or deep in an expression.
db_test!(i5_a_value_is_hidden_where_it_is_not_certain_what_it_is_compared_with, async |t| -> Result<
    (),
    DbErr,
> {
    let db = ward(t, Config::default()).await;
    t.execute("CREATE TABLE other (id int, x varchar(20))").await?;
    t.execute("CREATE VIEW listed AS SELECT id AS i, phone AS p FROM patient").await?;
    t.execute("CREATE TABLE listed_too (id int)").await?;
    for sql in [
        "SELECT * FROM (SELECT phone AS p FROM patient) AS s WHERE s.p = 'hush'".to_owned(),
        "SELECT * FROM (SELECT phone AS name FROM patient) AS s WHERE name = 'hush'".to_owned(),
        "WITH q AS (SELECT diagnosis AS d FROM patient) SELECT * FROM q WHERE d = 'hush'".to_owned(),
        "SELECT name FROM patient WHERE LOWER(name) = (SELECT MAX(p.name) FROM patient p WHERE p.phone = 'hush')".to_owned(),
        "SELECT name FROM patient WHERE (phone, id) = ('hush', 1)".to_owned(),
        "SELECT phone AS p FROM patient GROUP BY phone HAVING MAX(phone) = 'hush'".to_owned(),
        "SELECT phone AS p FROM patient GROUP BY phone HAVING phone = 'hush'".to_owned(),
        "SELECT name FROM patient WHERE CASE WHEN phone = 'hush' THEN 1 ELSE 0 END = 1".to_owned(),
        "SELECT name FROM patient WHERE 'hush' IN (phone, name)".to_owned(),
        "SELECT name FROM patient WHERE 'hush' = phone".to_owned(),
        "SELECT 'hush' AS said, name FROM patient".to_owned(),
        "SELECT a.name FROM patient a JOIN patient b ON b.phone = 'hush' AND a.id = b.id".to_owned(),
        "SELECT name FROM patient WHERE EXISTS (SELECT 1 FROM patient p WHERE p.diagnosis = 'hush')".to_owned(),
        "SELECT id FROM other o WHERE EXISTS (SELECT 1 FROM patient p WHERE p.phone = 'hush')".to_owned(),
        "SELECT a.id FROM patient a JOIN other b ON a.phone = b.x AND b.x = 'hush'".to_owned(),
        "SELECT i FROM listed WHERE p = 'hush'".to_owned(),
        "SELECT * FROM (WITH patient AS (SELECT 1 AS id) SELECT id FROM patient) s, patient p WHERE p.phone = 'hush'".to_owned(),
        "UPDATE patient SET born = born WHERE phone = 'hush' AND id IN (SELECT id FROM listed_too)".to_owned(),
        t.pick(
            r#"SELECT id FROM patient WHERE phone = "hush" OR phone IN ("hush", 'b')"#,
            "SELECT id FROM patient AS p(a, b, c, d, e, f) WHERE e = 'hush' OR p::text LIKE '%hush%'",
            "SELECT phone AS p FROM patient GROUP BY phone HAVING p = 'hush'",
        ).replace("SELECT id FROM patient AS", "SELECT a FROM patient AS"),
    ] {
        db.query_all_raw(Statement::from_string(t.backend, sql.as_str())).await?;
        let all = queries(t, &db).await;
        assert!(!all.is_empty() && !format!("{all:?}").contains("hush"), "{sql}: {:?}", all.last());
    }
    Ok(())
});

db_test!(c7_conditions_of_any_form_are_shown, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let b = t.backend;
    let mut expected = Vec::new();
    for (condition, shown) in [
        ("born = 1", json!({"field": "born", "op": "=", "value": 1})),
        ("1990 > born", json!({"field": "born", "op": "<", "value": 1990})),
        ("born <> -1.5", json!({"field": "born", "op": "<>", "value": "-1.5"})),
        ("name IS NOT NULL", json!({"field": "name", "op": "is not null"})),
        ("born NOT BETWEEN 1 AND 2", json!({"field": "born", "op": "not between", "value": [1, 2]})),
        ("name NOT LIKE 'B%'", json!({"field": "name", "op": "not like", "value": "B%"})),
        ("born IN (1, 2)", json!({"field": "born", "op": "in", "value": [1, 2]})),
        (
            "NOT (born = 1 OR born = 2 OR born = 3)",
            json!({"not": {"or": [
            {"field": "born", "op": "=", "value": 1}, {"field": "born", "op": "=", "value": 2},
            {"field": "born", "op": "=", "value": 3}]}}),
        ),
        ("born = id", json!({"field": "born", "op": "=", "other": "id"})),
        ("born + 1 > 7", json!({"expression": "born + ? > ?", "values": [1, 7]})),
        (
            "id IN (SELECT p.id FROM patient AS p WHERE p.born = 4)",
            json!({"field": "id", "op": "in", "query": {"field": "born", "op": "=", "value": 4}}),
        ),
        ("name = 'it''s'", json!({"field": "name", "op": "=", "value": "it's"})),
    ] {
        db.query_all_raw(Statement::from_string(b, format!("SELECT born FROM patient WHERE {condition}")))
            .await?;
        expected.push(shown);
    }
    let mark = |n| if b == DbBackend::Postgres { format!("${n}") } else { "?".into() };
    let sql = format!("SELECT born FROM patient p WHERE p.name = {} AND born >= {}", mark(1), mark(2));
    db.query_all_raw(Statement::from_sql_and_values(b, sql, ["Bob".into(), 1.into()])).await?;
    expected.push(json!({"and": [{"field": "name", "op": "=", "value": "Bob"}, {"field": "born", "op": ">=", "value": 1}]}));
    let all = queries(t, &db).await;
    assert_eq!(all.iter().map(filters).collect::<Vec<_>>(), expected);
    assert!(
        all.iter().all(
            |query| query.fields.as_deref() == Some(r#"["born"]"#) || filters(query)["query"].is_object()
        )
    );
    Ok(())
});

db_test!(c7_reads_are_found_wherever_they_are, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    create_table(t, account::Entity).await;
    t.execute("CREATE VIEW ward_list AS SELECT id, name FROM patient").await?;
    t.execute("CREATE TABLE copied (name varchar(20))").await?;
    let b = t.backend;
    for (sql, fields, count) in [
        ("SELECT * FROM (SELECT name FROM patient WHERE born > 1960) AS s", r#"["name"]"#, Some(2)),
        ("WITH p AS (SELECT name FROM patient) SELECT * FROM p", r#"["name"]"#, Some(3)),
        ("SELECT name FROM patient UNION ALL SELECT name FROM patient", r#"["name"]"#, Some(6)),
        ("SELECT a.id, p.name FROM account a JOIN patient p ON p.id = a.id", r#"["name"]"#, Some(0)),
        (
            "SELECT p.* FROM patient p LEFT JOIN account a ON a.id = p.id",
            r#"["id","name","born","ward","phone","diagnosis"]"#,
            Some(3),
        ),
        ("SELECT (SELECT MAX(born) FROM patient) AS m", r#"["born"]"#, Some(1)),
        ("SELECT name FROM ward_list", r#"["name"]"#, Some(3)),
        ("SELECT 1 AS one FROM account WHERE id IN (SELECT born FROM patient)", "", Some(0)),
    ] {
        db.query_all_raw(Statement::from_string(b, sql)).await?;
        let query = queries(t, &db).await.pop().expect(sql);
        assert_eq!(query.fields.as_deref().unwrap_or_default(), fields, "{sql}");
        assert_eq!(query.record_count, count, "{sql}");
    }
    // Within a write, how much was read isn't known.
    db.execute_unprepared("INSERT INTO copied SELECT name FROM patient WHERE born > 1960").await?;
    db.execute_unprepared("DELETE FROM copied WHERE name IN (SELECT name FROM patient)").await?;
    let all = queries(t, &db).await;
    assert_eq!(all.len(), 10);
    assert_eq!(all[8].record_count, None);
    assert_eq!(all[8].fields.as_deref(), Some(r#"["name"]"#));
    assert_eq!(filters(&all[8]), json!({"field": "born", "op": ">", "value": 1960}));
    assert!(all.iter().all(|query| query.resource_type == "Patient"), "nothing of the accounts");
    Ok(())
});

db_test!(c7_only_what_is_marked_is_recorded, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    create_table(t, account::Entity).await;
    quiet_account(&t.db, "Ann", 100).await;
    account::Entity::find().all(&db).await?;
    db.query_all_raw(Statement::from_string(t.backend, "SELECT 1")).await?;
    // Reading by way of a write isn't one: who may write a row gets it back.
    db.execute_unprepared("UPDATE patient SET born = 1951 WHERE name = 'Bob'").await?;
    audit_seaorm::suspended(patient::Entity::find().all(&db)).await?;
    assert_eq!(queries(t, &db).await, []);

    let mut all = Config::default();
    all.log_reads = true;
    let all = connect(t, all);
    account::Entity::find().all(&all).await?;
    assert_eq!(only_query(t, &all).await.resource_type, "Account");

    let mut skipping = Config::default();
    skipping.skip_actions = vec!["read".into()];
    let skipping = connect(t, skipping);
    patient::Entity::find().all(&skipping).await?;
    assert_eq!(queries(t, &skipping).await.len(), 1);
    Ok(())
});

db_test!(c7_streams_are_counted_as_they_are_consumed, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let rows: Vec<_> = patient::Entity::find().stream(&db).await?.try_collect().await?;
    assert_eq!(rows.len(), 3);
    let mut dropped = patient::Entity::find().stream(&db).await?;
    dropped.try_next().await?.expect("a row");
    drop(dropped);
    let transaction = db.begin().await?;
    let counted: Vec<_> = patient::Entity::find().stream(&transaction).await?.try_collect().await?;
    assert_eq!(counted.len(), 3);
    transaction.rollback().await?;

    let all = queries(t, &db).await;
    let said: Vec<_> = all.iter().map(|query| (query.status.as_str(), query.record_count)).collect();
    assert_eq!(said, [("success", Some(3)), ("warning", Some(1)), ("success", Some(3))]);
    Ok(())
});

db_test!(c7_what_was_read_stays_read_though_the_transaction_is_rolled_back, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let transaction = db.begin().await?;
    let id = transaction.transaction_id().to_owned();
    patient::Entity::find().all(&transaction).await?;
    transaction.rollback().await?;
    assert_eq!(only_query(t, &db).await.transaction_id, Some(id));
    Ok(())
});

db_test!(c7_a_failed_read_is_recorded, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let sql = "SELECT nothing_of_the_kind FROM patient";
    db.query_all_raw(Statement::from_string(t.backend, sql)).await.expect_err("no such column");
    let query = only_query(t, &db).await;
    assert_eq!((query.status.as_str(), query.record_count), ("failed", None));
    Ok(())
});

db_test!(c7_without_an_actor_nothing_is_read, async |t| -> Result<(), DbErr> {
    let mut config = Config::default();
    config.require_actor = true;
    ward(t, config.clone()).await;
    let nobody =
        audit_seaorm::Audit::builder().config(config).build().expect("an audit").connect(t.db.clone());
    let error = patient::Entity::find().all(&nobody).await.expect_err("nobody").to_string();
    assert!(error.contains("read of Patient refused"), "{error}");
    Ok(())
});

db_test!(c7_reads_that_only_the_database_understands, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    // Syntax that the parser doesn't know.
    let mysql = if t.is_mariadb().await {
        "SELECT name FROM patient PROCEDURE ANALYSE(10, 2000)"
    } else {
        "SELECT JSON_VALUE('{}', '$.a' RETURNING SIGNED) AS a FROM patient"
    };
    let sql = t.pick(
        "SELECT name FROM patient NOT INDEXED WHERE born ISNULL",
        "SELECT name FROM ONLY (patient) WHERE born OPERATOR(pg_catalog.=) 1 FOR KEY SHARE SKIP LOCKED",
        mysql,
    );
    db.query_all_raw(Statement::from_string(t.backend, sql)).await?;
    assert_eq!(only_query(t, &db).await.resource_type, "Patient");
    Ok(())
});

db_test!(c7_tests_can_keep_reads_in_memory, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let (found, captured) = testing::capture(patient::Entity::find().all(&db)).await;
    assert_eq!(found?.len(), 3);
    assert_eq!(captured.queries().len(), 1);
    assert_eq!(captured.queries()[0].what.record_count, Some(3));
    let (dropped, captured) = testing::capture(async {
        let mut rows = db.stream(&Query::select().column("name").from("patient").to_owned()).await?;
        rows.try_next().await
    })
    .await;
    assert!(dropped?.is_some());
    assert_eq!(captured.queries()[0].what.record_count, Some(1));
    assert_eq!(queries(t, &db).await, []);
    Ok(())
});

db_test!(c7_a_registration_can_say_so_too, on(sqlite), async |t| -> Result<(), DbErr> {
    ward(t, Config::default()).await;
    create_table(t, account::Entity).await;
    let options = audit_seaorm::EntityOptions {
        operations: Some(Operations { read: true, ..Operations::WRITES }),
        ..Default::default()
    };
    let audit =
        audit_seaorm::Audit::builder().register::<account::Entity>(options).build().expect("an audit");
    let db = audit.connect(t.db.clone());
    account::Entity::find().all(&db).await?;
    assert_eq!(only_query(t, &db).await.resource_type, "Account");
    Ok(())
});

// What isn't parsed as a query reads all the same.
db_test!(c7_copies_and_only_are_recorded, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let mut texts = vec!["CREATE TABLE copied AS SELECT * FROM patient"];
    if t.backend == DbBackend::Postgres {
        texts.extend([
            "SELECT * FROM ONLY patient",
            "TABLE ONLY patient",
            "SELECT * INTO copied_too FROM patient",
        ]);
    }
    for (at, sql) in texts.into_iter().enumerate() {
        db.execute_unprepared(sql).await?;
        assert_eq!(queries(t, &db).await.len(), at + 1, "{sql}");
    }
    Ok(())
});

// These left no record.
db_test!(c7_reads_in_odd_places_are_recorded, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy.sqlite");
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    t.execute("CREATE VIEW known AS SELECT id, name FROM patient").await?;
    if t.backend == DbBackend::Postgres {
        t.execute("CREATE MATERIALIZED VIEW kept AS SELECT id, name FROM patient").await?;
    }
    let statements: Vec<&str> = t.pick(
        vec!["SELECT (1, 'Bob') IN known", "SELECT 1 IN (SELECT id FROM known)", &vacuum],
        vec!["REFRESH MATERIALIZED VIEW kept", "REFRESH MATERIALIZED VIEW kept WITH NO DATA"],
        vec![
            "SHOW TABLES WHERE (SELECT count(*) FROM patient) > 0",
            "SHOW COLUMNS FROM ward_none WHERE Field IN (SELECT name FROM known)",
        ],
    );
    if t.backend == DbBackend::MySql {
        t.execute("CREATE TABLE ward_none (id INT)").await?;
    }
    for sql in statements {
        let before = queries(t, &db).await.len();
        db.execute_unprepared(sql).await?;
        let fresh = queries(t, &db).await.split_off(before);
        let read: Vec<_> = fresh.iter().map(|query| (&*query.resource_type, &*query.status)).collect();
        assert_eq!(read, [("Patient", "success")], "{sql}");
    }
    // What only looks like it reads nothing of a patient.
    let harmless: &[&str] =
        t.pick(&["VACUUM", "SELECT 1 IN (1, 2)"], &["SHOW search_path"], &["SHOW TABLES"]);
    let before = queries(t, &db).await.len();
    for sql in harmless {
        db.execute_unprepared(sql).await?;
    }
    assert_eq!(queries(t, &db).await.len(), before);
    Ok(())
});
