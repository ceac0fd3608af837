//! What SeaORM writes, what people write, and what is meant to deceive.

use std::ops::Range;

use proptest::prelude::*;
use sea_orm::DatabaseBackend::{MySql, Postgres, Sqlite};
use sea_orm::StatementBuilder;
use sea_orm::sea_query::{CommonTableExpression, Expr, ExprTrait, LockType, OnConflict, Query, WithClause};

use super::*;

const ALL: [DbBackend; 3] = [Postgres, MySql, Sqlite];

fn one(sql: &str, backend: DbBackend) -> Parsed {
    let script = read(sql, backend);
    assert_eq!(script.statements.len(), 1, "{sql}");
    script.statements.into_iter().next().unwrap()
}

fn what(sql: &str, backend: DbBackend) -> What {
    one(sql, backend).what
}

/// Indexes of the placeholders within a range of the text, in order of position.
fn values_of(parsed: &Parsed, range: &Range<usize>) -> Vec<usize> {
    let inside = |param: &&Param| range.start <= param.range.start && param.range.end <= range.end;
    parsed.params.iter().filter(inside).map(|param| param.index).collect()
}

fn insert(sql: &str, backend: DbBackend) -> Insert {
    match what(sql, backend) {
        What::Insert(insert) => *insert,
        other => panic!("{sql}: {other:?}"),
    }
}

fn update(sql: &str, backend: DbBackend) -> Update {
    match what(sql, backend) {
        What::Update(update) => *update,
        other => panic!("{sql}: {other:?}"),
    }
}

fn delete(sql: &str, backend: DbBackend) -> Delete {
    match what(sql, backend) {
        What::Delete(delete) => *delete,
        other => panic!("{sql}: {other:?}"),
    }
}

fn table(name: &str) -> TableName {
    match name.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: name.to_owned() },
    }
}

fn tables(names: &[&str]) -> Vec<TableName> {
    names.iter().map(|name| table(name)).collect()
}

fn texts<'a>(sql: &'a str, ranges: &[Range<usize>]) -> Vec<&'a str> {
    ranges.iter().map(|range| &sql[range.clone()]).collect()
}

fn text<'a>(sql: &'a str, range: &Option<Range<usize>>) -> Option<&'a str> {
    range.clone().map(|range| &sql[range])
}

fn outputs(returning: &Option<Returning>) -> Vec<Output> {
    returning.iter().flat_map(|returning| &returning.items).map(|item| item.output.clone()).collect()
}

fn named(name: &str) -> Output {
    Output::Named(name.to_owned())
}

/// The same statement as SeaORM writes it for each database.
fn built(statement: &impl StatementBuilder) -> [(DbBackend, String); 3] {
    ALL.map(|backend| (backend, backend.build(statement).sql))
}

#[test]
fn inserts_as_seaorm_writes_them() {
    let mut statement = Query::insert();
    statement
        .into_table(("s", "tea"))
        .columns(["id", "Name"])
        .values_panic([1.into(), Expr::cust("CAST('x' AS char)")])
        .values_panic([2.into(), "b".into()]);
    for (backend, sql) in built(&statement) {
        let insert = insert(&sql, backend);
        assert_eq!(insert.target.name, table("s.tea"), "{sql}");
        assert_eq!(insert.columns, Some(vec!["id".to_owned(), "Name".to_owned()]));
        let Source::Values(rows) = &insert.source else { panic!("{sql}") };
        assert_eq!(rows.len(), 2);
        assert_eq!(texts(&sql, &rows[0])[1], "CAST('x' AS char)");
        assert_eq!(insert.conflict, Conflict::None);
        assert_eq!(&sql[insert.body.clone()], sql);
        let parsed = one(&sql, backend);
        assert_eq!(values_of(&parsed, &rows[1][1]), [2], "{sql}");
        assert_eq!(parsed.reads, []);
    }
}

#[test]
fn upserts_as_seaorm_writes_them() {
    let mut statement = Query::insert();
    statement.into_table("tea").columns(["id", "a"]).values_panic([1.into(), 2.into()]).on_conflict(
        OnConflict::column("id").update_column("a").value("b", Expr::col(("tea", "b")).add(1)).to_owned(),
    );
    for (backend, sql) in built(&statement) {
        let insert = insert(&sql, backend);
        let Conflict::Update { target, columns, assigned, condition, clause } = &insert.conflict else {
            panic!("{sql}")
        };
        assert_eq!(columns.join(","), if backend == MySql { "" } else { "id" });
        assert_eq!(target.is_some(), backend != MySql);
        assert_eq!(assigned.iter().map(|set| set.column.as_str()).collect::<Vec<_>>(), ["a", "b"], "{sql}");
        assert_eq!(*condition, None);
        assert!(sql[clause.clone()].starts_with("ON "), "{sql}");
        assert!(sql.ends_with(&sql[clause.clone()]));
    }
    let mut statement = Query::insert();
    statement
        .into_table("tea")
        .columns(["id"])
        .values_panic([1.into()])
        .on_conflict(OnConflict::column("id").do_nothing_on(["id"]).to_owned());
    for (backend, sql) in built(&statement) {
        let conflict = insert(&sql, backend).conflict;
        // SeaORM makes it `ON DUPLICATE KEY UPDATE id = id` on MySQL.
        match backend {
            MySql => assert!(matches!(conflict, Conflict::Update { .. }), "{sql}"),
            _ => assert_eq!(conflict, Conflict::Nothing, "{sql}"),
        }
    }
}

#[test]
fn rows_of_defaults() {
    let mut statement = Query::insert();
    statement.into_table("tea").or_default_values();
    for (backend, sql) in built(&statement) {
        assert_eq!(insert(&sql, backend).source, Source::Default, "{sql}");
    }
    assert_eq!(insert("INSERT INTO tea () VALUES ()", MySql).source, Source::Default);
    assert_eq!(insert("INSERT tea VALUES ()", MySql).source, Source::Default);
    assert_eq!(insert("INSERT INTO tea VALUES (), ()", MySql).source, Source::Values(vec![vec![], vec![]]));
}

#[test]
fn queries_as_sources() {
    let mut statement = Query::insert();
    let select = Query::select().column("id").from("leaf").and_where(Expr::col("a").eq(3)).to_owned();
    statement.into_table("tea").columns(["id"]).select_from(select).unwrap();
    for (backend, sql) in built(&statement) {
        let insert = insert(&sql, backend);
        let Source::Query(query) = &insert.source else { panic!("{sql}") };
        assert!(sql[query.clone()].starts_with("SELECT"), "{sql}");
        assert_eq!(one(&sql, backend).reads, tables(&["leaf"]));
        assert_eq!(values_of(&one(&sql, backend), query), [0]);
    }
    let sql = "INSERT INTO t WITH x AS (SELECT * FROM y) SELECT * FROM x";
    for backend in ALL {
        let Source::Query(query) = insert(sql, backend).source else { panic!() };
        assert_eq!(&sql[query], "WITH x AS (SELECT * FROM y) SELECT * FROM x");
        assert_eq!(one(sql, backend).reads, tables(&["y"]));
    }
    let sql = "INSERT INTO t (a) (SELECT 1)";
    let Source::Query(query) = insert(sql, Postgres).source else { panic!() };
    assert_eq!(&sql[query], "(SELECT 1)");
    let sql = "INSERT INTO t SELECT 1 ON CONFLICT DO NOTHING";
    assert_eq!(insert(sql, Postgres).conflict, Conflict::Nothing);
    assert_eq!(insert(sql, Postgres).source, Source::Query(14..22));
    let sql = "INSERT INTO t SELECT a FROM u WHERE true ON CONFLICT (a) DO UPDATE SET a = (SELECT b FROM v) RETURNING (SELECT 1 FROM w)";
    for backend in [Postgres, Sqlite] {
        let Source::Query(query) = insert(sql, backend).source else { panic!() };
        assert_eq!(&sql[query], "SELECT a FROM u WHERE true");
        assert_eq!(one(sql, backend).reads, tables(&["u", "v", "w"]));
    }
    let Source::Query(query) = insert("INSERT INTO t VALUES (1) UNION SELECT 2", Postgres).source else {
        panic!()
    };
    assert_eq!(query, 14..39);
}

#[test]
fn inserts_as_people_write_them() {
    let sql = "WITH RECURSIVE x(n) AS (SELECT 1), y AS (SELECT * FROM z) INSERT INTO S.\"T\" AS q (A, \"B\") \
               OVERRIDING SYSTEM VALUE VALUES ($2, ARRAY [$1,$3]), (DEFAULT, f(a, b)) \
               ON CONFLICT (lower(a), b) WHERE b > $4 DO UPDATE SET (a, b) = (SELECT 1, 2), C = excluded.c + 1 \
               WHERE q.a IS DISTINCT FROM $5 RETURNING *, q.*, id, \"T\".\"B\" AS x, CAST(\"tea\" AS \"text\") AS \"tea\"";
    let insert_ = insert(sql, Postgres);
    let with = insert_.with.as_ref().unwrap();
    assert!(with.recursive);
    assert_eq!(&sql[with.text.clone()], "x(n) AS (SELECT 1), y AS (SELECT * FROM z)");
    assert_eq!(with.names, ["x", "y"]);
    assert!(sql[insert_.body.clone()].starts_with("INSERT INTO S."));
    assert_eq!(insert_.target.name, table("s.T"));
    assert_eq!(&sql[insert_.target.text.clone()], "S.\"T\"");
    assert_eq!(text(sql, &insert_.target.alias), Some("q"));
    assert_eq!(insert_.columns.as_deref(), Some(&["a".to_owned(), "B".to_owned()][..]));
    let Source::Values(rows) = &insert_.source else { panic!() };
    assert_eq!(texts(sql, &rows[0]), ["$2", "ARRAY [$1,$3]"]);
    assert_eq!(texts(sql, &rows[1]), ["DEFAULT", "f(a, b)"]);
    let parsed = one(sql, Postgres);
    assert_eq!(values_of(&parsed, &rows[0][1]), [0, 2]);
    assert_eq!(parsed.reads, tables(&["z"]));
    assert_eq!(parsed.functions, ["f"]);
    let Conflict::Update { target, columns, assigned, condition, .. } = &insert_.conflict else { panic!() };
    assert_eq!(text(sql, target), Some("(lower(a), b) WHERE b > $4"));
    assert!(columns.is_empty());
    let assigned: Vec<_> = assigned.iter().map(|set| (set.column.as_str(), text(sql, &set.value))).collect();
    assert_eq!(assigned, [("a", None), ("b", None), ("c", Some("excluded.c + 1"))]);
    assert_eq!(text(sql, condition), Some("q.a IS DISTINCT FROM $5"));
    let expected = [Output::All, Output::AllOf("q".into()), named("id"), named("x"), named("tea")];
    assert_eq!(outputs(&insert_.returning), expected);
    let returning = insert_.returning.unwrap();
    assert_eq!(&sql[returning.items[4].text.clone()], "CAST(\"tea\" AS \"text\")");
    assert!(sql[returning.clause].starts_with("RETURNING *"));

    let sql = "INSERT HIGH_PRIORITY IGNORE INTO t SET a = 1, b = ? AS new(x, y) ON DUPLICATE KEY UPDATE a = new.x, b = VALUES(b)";
    let insert_ = insert(sql, MySql);
    let Source::Values(rows) = &insert_.source else { panic!() };
    assert_eq!(texts(sql, &rows[0]), ["1", "?"]);
    assert_eq!(insert_.columns.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert_eq!(text(sql, &insert_.row_alias), Some("new(x, y)"));
    assert!(matches!(insert_.conflict, Conflict::Update { .. }));

    assert_eq!(insert("REPLACE INTO t VALUES (1)", MySql).conflict, Conflict::Replace);
    assert_eq!(insert("REPLACE INTO t VALUES (1)", Sqlite).conflict, Conflict::Replace);
    assert_eq!(insert("INSERT OR REPLACE INTO t VALUES (1)", Sqlite).conflict, Conflict::Replace);
    assert_eq!(insert("insert or ignore into t values (1)", Sqlite).conflict, Conflict::Nothing);
    assert_eq!(insert("INSERT OR ABORT INTO t VALUES (1)", Sqlite).conflict, Conflict::Abort);
    assert_eq!(insert("INSERT IGNORE t VALUES (1)", MySql).conflict, Conflict::Nothing);
    assert_eq!(
        insert("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", Postgres).conflict,
        Conflict::Nothing
    );
    let sql = "INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING RETURNING 1";
    assert_eq!(insert(sql, Postgres).conflict, Conflict::Nothing);
    let insert_ = insert("INSERT INTO t (a) VALUE (1) RETURNING id, a + 1", MySql);
    assert_eq!(outputs(&insert_.returning), [named("id"), Output::Unknown]);
}

#[test]
fn updates_as_seaorm_writes_them() {
    let mut statement = Query::update();
    statement
        .table("tea")
        .value("a", 1)
        .value("b", Expr::val("x").cast_as("kind"))
        .and_where(Expr::col("id").eq(7))
        .and_where(Expr::col("c").in_subquery(Query::select().column("c").from("cup").to_owned()));
    for (backend, sql) in built(&statement) {
        let update = update(&sql, backend);
        assert_eq!(update.target.name, table("tea"));
        let columns: Vec<_> = update.assigned.iter().map(|set| set.column.as_str()).collect();
        assert_eq!(columns, ["a", "b"]);
        assert!(sql[update.set.clone()].ends_with("AS kind)"), "{sql}");
        assert!(text(&sql, &update.condition).unwrap().contains("IN (SELECT"), "{sql}");
        let parsed = one(&sql, backend);
        assert_eq!(values_of(&parsed, &update.set), [0, 1]);
        assert_eq!(values_of(&parsed, update.condition.as_ref().unwrap()), [2]);
        assert_eq!(parsed.reads, tables(&["cup"]));
    }
    let sql = "UPDATE \"public\".\"tea\" SET \"a\" = CAST($1 AS \"tea\") WHERE \"tea\".\"id\" = $2 RETURNING \"id\", CAST(\"k\" AS \"text\")";
    let update = update(sql, Postgres);
    assert_eq!(&sql[update.target.text.clone()], "\"public\".\"tea\"");
    assert_eq!(text(sql, &update.assigned[0].value), Some("CAST($1 AS \"tea\")"));
    assert_eq!(text(sql, &update.condition), Some("\"tea\".\"id\" = $2"));
    assert_eq!(outputs(&update.returning), [named("id"), named("k")]);
}

#[test]
fn updates_as_people_write_them() {
    let sql = "/* a */ with x as (select 1) update only Tea t set a = case when b is not distinct from c then 1 else 2 end, \
               (b, c) = row(1, (select n from x)), d = t.d || $1 from x, cup as y where t.id = y.id and a is distinct from 3 ;";
    let parsed = one(sql, Postgres);
    let What::Update(update_) = &parsed.what else { panic!("{parsed:?}") };
    assert_eq!(update_.target.name, table("tea"));
    assert!(update_.target.only);
    assert_eq!(text(sql, &update_.target.alias), Some("t"));
    assert_eq!(text(sql, &update_.from), Some("x, cup as y"));
    assert_eq!(text(sql, &update_.condition), Some("t.id = y.id and a is distinct from 3"));
    assert_eq!(parsed.reads, tables(&["cup"]));
    assert_eq!(update_.assigned.len(), 4);
    assert_eq!(text(sql, &update_.assigned[3].value), Some("t.d || $1"));
    assert!(sql[parsed.range.clone()].starts_with("with"));
    assert!(sql[parsed.range].ends_with("from 3"));

    let sql = "UPDATE LOW_PRIORITY IGNORE `t` AS a SET a.x = 1, y = -1 WHERE z = 2 ORDER BY id DESC LIMIT 3";
    let update_ = update(sql, MySql);
    assert_eq!(update_.or, Conflict::Nothing);
    assert_eq!(text(sql, &update_.tail), Some("ORDER BY id DESC LIMIT 3"));
    assert_eq!(update_.assigned[0].column, "x");
    assert_eq!(text(sql, &update_.assigned[1].value), Some("-1"));

    let sql =
        "UPDATE OR REPLACE [t] SET a=-1 FROM (SELECT 1 AS n) AS s RETURNING a, rowid ORDER BY a LIMIT 1";
    let update_ = update(sql, Sqlite);
    assert_eq!(update_.or, Conflict::Replace);
    assert_eq!(text(sql, &update_.assigned[0].value), Some("-1"));
    assert_eq!(text(sql, &update_.from), Some("(SELECT 1 AS n) AS s"));
    assert_eq!(text(sql, &update_.tail), Some("ORDER BY a LIMIT 1"));
    assert_eq!(outputs(&update_.returning), [named("a"), named("rowid")]);
}

#[test]
fn deletes() {
    let mut statement = Query::delete();
    statement.from_table("tea").and_where(Expr::col("id").is_in([1, 2]));
    for (backend, sql) in built(&statement) {
        let delete = delete(&sql, backend);
        assert_eq!(delete.target.name, table("tea"));
        assert!(text(&sql, &delete.condition).unwrap().ends_with(")"));
        assert_eq!(values_of(&one(&sql, backend), delete.condition.as_ref().unwrap()), [0, 1]);
    }
    let sql = "DELETE FROM ONLY a.b.\"T\"\"x\" t USING u JOIN v USING (id) WHERE t.id = u.id RETURNING t.*, lower(t.n)";
    let delete_ = delete(sql, Postgres);
    assert_eq!(delete_.target.name, table("b.T\"x"));
    assert!(delete_.target.only);
    assert_eq!(text(sql, &delete_.using), Some("u JOIN v USING (id)"));
    assert_eq!(outputs(&delete_.returning), [Output::AllOf("t".into()), named("lower")]);
    assert_eq!(one(sql, Postgres).reads, tables(&["u", "v"]));
    let sql = "DELETE QUICK FROM t WHERE a = 1 ORDER BY b LIMIT 2 RETURNING a";
    let delete_ = delete(sql, MySql);
    assert_eq!(text(sql, &delete_.condition), Some("a = 1"));
    assert_eq!(text(sql, &delete_.tail), Some("ORDER BY b LIMIT 2"));
    assert_eq!(outputs(&delete_.returning), [named("a")]);
    let delete_ = delete("delete from t", Sqlite);
    assert_eq!((delete_.condition, delete_.tail, delete_.returning), (None, None, None));
}

#[test]
fn c5_joins_of_mysql_are_taken_apart() {
    let sql = "UPDATE a.t AS `x` LEFT JOIN u ON u.id = x.id AND u.n = ? JOIN (SELECT 1 AS id) v USING (id) SET x.a = u.a, `x`.b = ? WHERE u.c = ?";
    let update_ = update(sql, MySql);
    assert_eq!(update_.target.name, table("a.t"));
    assert_eq!(
        text(sql, &update_.join),
        Some("LEFT JOIN u ON u.id = x.id AND u.n = ? JOIN (SELECT 1 AS id) v USING (id)")
    );
    assert_eq!(text(sql, &Some(update_.set.clone())), Some("x.a = u.a, `x`.b = ?"));
    assert_eq!(text(sql, &update_.condition), Some("u.c = ?"));
    let columns: Vec<_> = update_.assigned.iter().map(|a| a.column.as_str()).collect();
    assert_eq!(columns, ["a", "b"]);
    let parsed = one(sql, MySql);
    assert_eq!(parsed.reads, tables(&["u"]));
    let indexes: Vec<_> = parsed.params.iter().map(|param| param.index).collect();
    assert_eq!(indexes, [0, 1, 2]);

    let sql = "DELETE x FROM t AS x JOIN u ON u.id = x.id WHERE u.c = ?";
    let delete_ = delete(sql, MySql);
    assert_eq!((&delete_.target.name, text(sql, &delete_.target.alias)), (&table("t"), Some("x")));
    assert_eq!(text(sql, &delete_.join), Some("JOIN u ON u.id = x.id"));
    assert_eq!(text(sql, &delete_.condition), Some("u.c = ?"));
    let sql = "DELETE t FROM t JOIN u ON u.id = t.id";
    assert_eq!(text(sql, &delete(sql, MySql).join), Some("JOIN u ON u.id = t.id"));
    assert_eq!(one(sql, MySql).reads, tables(&["u"]));

    // Where more than the first table may change, or rows of it that the join doesn't show.
    for sql in [
        "UPDATE t JOIN u ON u.id = t.id SET a = 1",
        "UPDATE t JOIN u ON u.id = t.id SET t.a = 1, u.b = 2",
        "UPDATE t AS x JOIN u ON u.id = x.id SET t.a = 1",
        "UPDATE t JOIN u ON u.id = t.id SET d.t.a = 1",
        "UPDATE t JOIN d.t ON d.t.id = t.id SET t.a = 1",
        "UPDATE t JOIN u AS T ON T.id = t.id SET t.a = 1",
        "UPDATE t RIGHT JOIN u ON u.id = t.id SET t.a = 1",
        "UPDATE t LEFT JOIN u ON u.id = t.id RIGHT JOIN v ON v.id = t.id SET t.a = 1",
        "UPDATE t NATURAL JOIN u SET t.a = 1",
        "UPDATE t JOIN (u JOIN v ON v.id = u.id) ON u.id = t.id SET t.a = 1",
        "UPDATE t, u SET t.a = 1 WHERE u.id = t.id",
        "UPDATE t JOIN u ON u.id = t.id, v SET t.a = 1",
        "DELETE t, u FROM t JOIN u ON u.id = t.id",
        "DELETE u FROM t JOIN u ON u.id = t.id",
        "DELETE t FROM t AS x JOIN u ON u.id = x.id",
        "DELETE t.* FROM t JOIN u ON u.id = t.id",
        "DELETE FROM t USING t JOIN u ON u.id = t.id",
        "DELETE t FROM t JOIN u ON u.id = t.id LIMIT 1",
        "DELETE t FROM t JOIN u ON u.id = t.id, v WHERE v.id = 1",
    ] {
        assert!(matches!(what(sql, MySql), What::Other { .. } | What::Unreadable { .. }), "{sql}");
    }
    // Nobody else has such joins.
    for backend in [Postgres, Sqlite] {
        let sql = "UPDATE t JOIN u ON u.id = t.id SET t.a = 1";
        assert!(matches!(what(sql, backend), What::Unreadable { .. }), "{backend:?}");
    }
}

#[test]
fn reads() {
    let lock = Query::select().column("id").from("tea").lock(LockType::NoKeyUpdate).to_owned();
    for (backend, sql) in built(&lock) {
        assert_eq!(what(&sql, backend), What::Read, "{sql}");
        assert_eq!(one(&sql, backend).reads, tables(&["tea"]));
    }
    let with = Query::select().column("id").from("x").to_owned().with(
        WithClause::new()
            .cte(
                CommonTableExpression::from_select(Query::select().column("id").from("tea").to_owned())
                    .table_name("x")
                    .to_owned(),
            )
            .to_owned(),
    );
    for (backend, sql) in built(&with) {
        assert_eq!(one(&sql, backend).reads, tables(&["tea"]), "{sql}");
        assert_eq!(what(&sql, backend), What::Read);
    }
    for backend in ALL {
        for sql in [
            "SELECT 1",
            "select count(*) from a.t as x left join u on u.id = x.id where exists (select 1 from v)",
            "(SELECT 1 FROM a) UNION ALL (SELECT 2 FROM b)",
            "SELECT replace(a, 'x', 'y') FROM t WHERE b = 'DELETE FROM victim'",
            "SELECT t.update FROM t",
            "EXPLAIN SELECT 1",
            "EXPLAIN DELETE FROM victim",
        ] {
            assert_eq!(what(sql, backend), What::Read, "{backend:?} {sql}");
        }
        let parsed = one(
            "SELECT Count(*), a.F(b) FROM t, u JOIN v ON g(1) = 2 WHERE x IN (SELECT h() FROM w)",
            backend,
        );
        assert_eq!(parsed.reads, tables(&["t", "u", "v", "w"]));
        let mut functions = parsed.functions;
        functions.sort();
        assert_eq!(functions, ["a.f", "count", "g", "h"]);
    }
    for sql in [
        "SHOW search_path",
        "TABLE t",
        "VALUES (1), (2)",
        "EXPLAIN (ANALYZE, BUFFERS) SELECT 1",
        "SELECT 1 FROM t FOR KEY SHARE OF t, u SKIP LOCKED",
    ] {
        assert_eq!(what(sql, Postgres), What::Read, "{sql}");
    }
    for sql in
        ["SHOW TABLES", "DESC t", "SELECT 1 FROM t LOCK IN SHARE MODE", "SELECT a, @x FROM t LIMIT 1, 2"]
    {
        assert_eq!(what(sql, MySql), What::Read, "{sql}");
    }
    // The first `victim` is the table, the second isn't.
    let sql = "WITH a AS (SELECT * FROM victim), victim AS (SELECT 1) SELECT * FROM victim, a";
    assert_eq!(one(sql, Postgres).reads, tables(&["victim"]));
    let sql = "WITH RECURSIVE a AS (SELECT 1 UNION SELECT n FROM a) SELECT * FROM a";
    assert_eq!(one(sql, Postgres).reads, []);
    let sql = "WITH a AS (SELECT 1) SELECT * FROM a WHERE x IN (WITH b AS (SELECT 2) SELECT * FROM b, a) OR y IN (SELECT 1 FROM b)";
    assert_eq!(one(sql, Postgres).reads, tables(&["b"]));
    assert_eq!(one("TABLE Victim", Postgres).reads, tables(&["victim"]));
    // The parser forgets the quotes there.
    assert_eq!(one("SELECT 1 UNION TABLE Victim", Postgres).reads, tables(&["victim", "Victim"]));
}

/// What the parser doesn't know is still a read without the words for writes.
#[test]
fn reads_that_the_parser_does_not_know() {
    for (sql, backend, read, called) in [
        ("SELECT a FROM t WHERE b IN u", Sqlite, &["t"][..], &[][..]),
        ("SELECT f(a) FROM t INDEXED BY i, s.u", Sqlite, &["t", "s.u"], &["f"]),
        ("SELECT x FROM t FOR UPDATE WAIT 5", MySql, &["t"], &[]),
    ] {
        let parsed = one(sql, backend);
        assert_eq!(parsed.what, What::Read, "{sql}");
        assert!(tables(read).iter().all(|table| parsed.reads.contains(table)), "{sql}: {:?}", parsed.reads);
        assert!(called.iter().all(|name| parsed.functions.iter().any(|found| found == name)), "{sql}");
    }
    assert!(matches!(what("SELECT a FROM t INDEXED BY i FOR delete", Sqlite), What::Unreadable { .. }));
}

#[test]
fn other_statements() {
    let settings = |names: &[&str]| What::Setting(names.iter().map(|name| (*name).to_owned()).collect());
    for (sql, backend, expected) in [
        ("BEGIN", Postgres, What::Transaction),
        ("BEGIN IMMEDIATE", Sqlite, What::Transaction),
        ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", Postgres, What::Transaction),
        ("SAVEPOINT \"savepoint_1\"", Postgres, What::Transaction),
        ("ROLLBACK TO savepoint_1", MySql, What::Transaction),
        ("RELEASE SAVEPOINT savepoint_1", Sqlite, What::Transaction),
        ("SET LOCAL audit.actor = 'x'", Postgres, settings(&["audit.actor"])),
        ("SET standard_conforming_strings TO off", Postgres, settings(&["standard_conforming_strings"])),
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", Postgres, settings(&["transaction"])),
        ("SET schema 'x'", Postgres, settings(&["search_path"])),
        ("RESET ALL", Postgres, settings(&["all"])),
        (
            "SET @a = 1, SESSION sql_mode = 'ANSI_QUOTES', @@global.x := f(1), NAMES utf8mb4",
            MySql,
            settings(&["@a", "sql_mode", "x", "names"]),
        ),
        ("PRAGMA foreign_keys = ON", Sqlite, settings(&["foreign_keys"])),
        ("PRAGMA main.table_info(\"x\")", Sqlite, settings(&["table_info"])),
        ("USE other", MySql, settings(&["use"])),
        ("TRUNCATE a, s.B RESTART IDENTITY", Postgres, What::Truncate(tables(&["a", "s.b"]))),
        ("TRUNCATE TABLE a", MySql, What::Truncate(tables(&["a"]))),
        ("CREATE TABLE IF NOT EXISTS \"A\" (id int)", Postgres, What::Define(tables(&["A"]))),
        ("DROP TABLE IF EXISTS a, b CASCADE", Postgres, What::Define(tables(&["a", "b"]))),
        ("ALTER TABLE ONLY a.b RENAME TO c", Postgres, What::Define(tables(&["a.b", "c"]))),
        ("RENAME TABLE a TO b, c TO d", MySql, What::Define(tables(&["a", "b", "c", "d"]))),
        ("CREATE UNIQUE INDEX i ON a (b)", Sqlite, What::Define(tables(&["a"]))),
        ("SELECT * INTO TEMP TABLE x FROM y", Postgres, What::Define(tables(&["x"]))),
        ("VACUUM FULL a", Postgres, What::Upkeep),
        ("LISTEN x", Postgres, What::Upkeep),
        ("LOCK TABLE a, ONLY b IN SHARE UPDATE EXCLUSIVE MODE NOWAIT", Postgres, What::Upkeep),
        ("GRANT SELECT, UPDATE (x) ON a, s.b TO c", Postgres, What::Define(tables(&["a", "s.b", "c"]))),
        ("REVOKE INSERT, DELETE ON a FROM c", MySql, What::Define(tables(&["a", "c"]))),
        ("GRANT SELECT (b), UPDATE ON a TO 'u'@'%' REQUIRE SSL", MySql, What::Define(tables(&["a"]))),
        (
            "GRANT ALL PRIVILEGES ON b.* TO 'u'@'10.0.0.%' IDENTIFIED BY 'p'",
            MySql,
            What::Define(tables(&["b"])),
        ),
        ("REVOKE ALL PRIVILEGES, GRANT OPTION FROM `u`@`h`", MySql, What::Define(tables(&["GRANT", "u"]))),
        ("SELECT 1 INTO @x", MySql, What::Read),
        ("SELECT a, b INTO @x, @y FROM c WHERE d = 'INTO' FOR UPDATE", MySql, What::Read),
        ("ANALYZE FORMAT=JSON SELECT a FROM b", MySql, What::Read),
        ("ANALYZE TABLE a", MySql, What::Upkeep),
    ] {
        assert_eq!(what(sql, backend), expected, "{sql}");
    }
    for sql in ["", "  ", ";;", "-- a\n", "/* a */ ; -- b"] {
        for backend in ALL {
            assert_eq!(read(sql, backend).statements, [], "{sql}");
        }
    }
}

#[test]
fn several_statements() {
    let sql = " BEGIN; UPDATE a SET b = ? ;\n-- ; x\nDELETE FROM c WHERE d = ? AND e = ';'; COMMIT ; ";
    for backend in [MySql, Sqlite] {
        let script = read(sql, backend);
        assert_eq!(script.statements.len(), 4);
        assert_eq!(&sql[script.statements[1].range.clone()], "UPDATE a SET b = ?");
        assert_eq!(script.statements[1].params[0].index, 0);
        assert_eq!(script.statements[2].params[0].index, 1);
    }
    assert_eq!(
        one("SELECT ?3, $1, ?", Sqlite).params.iter().map(|param| param.index).collect::<Vec<_>>(),
        [2, 0, 0]
    );
    let sql = "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN 1 THEN 2 END; SELECT 1; END; DELETE FROM d";
    let script = read(sql, Sqlite);
    assert_eq!(script.statements.len(), 2);
    assert!(matches!(script.statements[0].what, What::Define(_)));
    assert!(matches!(script.statements[1].what, What::Delete(_)));
    assert!(matches!(what("SELECT 1; FROBNICATE", Postgres), What::Unreadable { .. }));
}

#[test]
fn c17_it_says_where_a_text_is_not_known() {
    for (sql, place) in [
        ("DELETE FROM a WHERE b = 1 this is no SQL", "near line 1, column 27 "),
        ("UPDATE a SET b = ", "at its end "),
        ("UPDATE a SET b = 'ü\n';\n  DELETE FROM ü WHERE b IN 1 2", "near line 3, column 28 "),
        ("FROBNICATE a", "near line 1, column 12 "),
    ] {
        for backend in ALL {
            let What::Unreadable { reason, .. } = what(sql, backend) else { panic!("{sql}") };
            assert!(reason.starts_with(place), "{sql}: {reason}");
        }
    }
}

#[test]
fn what_is_not_followed() {
    for (sql, backend, written) in [
        ("WITH d AS (DELETE FROM victim RETURNING *) SELECT * FROM d", Postgres, "victim"),
        ("WITH d AS (DELETE FROM victim RETURNING *) INSERT INTO x SELECT * FROM d", Postgres, "victim"),
        ("WITH d AS (SELECT 1), e AS MATERIALIZED (UPDATE ONLY_X SET a = 1) SELECT 1", Postgres, "only_x"),
        ("EXPLAIN ANALYZE DELETE FROM victim", Postgres, "victim"),
        ("EXPLAIN (\"analyze\") UPDATE victim SET a = 1", Postgres, "victim"),
        ("EXPLAIN (VERBOSE, ANALYSE) INSERT INTO victim VALUES (1)", Postgres, "victim"),
        ("COPY victim FROM STDIN", Postgres, "victim"),
        ("MERGE INTO victim USING x ON true WHEN MATCHED THEN DELETE", Postgres, "victim"),
        ("TRUNCATE victim CASCADE", Postgres, "victim"),
        ("DELETE FROM victim WHERE CURRENT OF c", Postgres, ""),
        ("CALL p()", Postgres, ""),
        ("DO $$ BEGIN DELETE FROM victim; END $$", Postgres, ""),
        ("EXECUTE q", Postgres, ""),
        ("CREATE TABLE x AS WITH y AS (DELETE FROM victim RETURNING *) SELECT * FROM y", Postgres, "victim"),
        ("UPDATE x, victim SET x.a = 1, victim.a = 2 WHERE 1", MySql, "victim"),
        ("UPDATE x JOIN victim ON 1 SET victim.a = 2", MySql, "victim"),
        ("DELETE victim FROM x JOIN victim", MySql, "victim"),
        ("DELETE FROM victim.* USING victim JOIN x", MySql, "victim"),
        ("LOAD DATA INFILE 'x' INTO TABLE victim", MySql, "victim"),
        ("SELECT 1 INTO OUTFILE '/x'", MySql, ""),
        ("SET STATEMENT max_statement_time = 1 FOR DELETE FROM victim", MySql, "victim"),
        ("ANALYZE FORMAT=JSON DELETE FROM victim", MySql, "victim"),
        ("EXPLAIN ANALYZE DELETE FROM victim", MySql, "victim"),
        ("DO f(1)", MySql, ""),
    ] {
        match what(sql, backend) {
            What::Other { tables, words, .. } => {
                assert!(written.is_empty() || tables.contains(&table(written)), "{sql}: {tables:?}");
                assert!(written.is_empty() || words.may_mean(written), "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// Whether a caller would take it for something that doesn't concern `victim`.
fn harmless(sql: &str, backend: DbBackend) -> bool {
    let is_victim = |table: &TableName| table.name.eq_ignore_ascii_case("victim");
    let script = read(sql, backend);
    script.statements.iter().all(|parsed| match &parsed.what {
        What::Read | What::Transaction | What::Setting(_) | What::Upkeep => true,
        What::Insert(insert) => !is_victim(&insert.target.name),
        What::Update(update) => !is_victim(&update.target.name),
        What::Delete(delete) => !is_victim(&delete.target.name),
        What::Truncate(tables) | What::Define(tables) => !tables.iter().any(is_victim),
        What::Other { tables, words, .. } => !tables.iter().any(is_victim) && !words.may_mean("victim"),
        What::Unreadable { words, .. } => !words.may_mean("victim"),
    })
}

#[test]
fn nothing_hides_a_write() {
    for (sql, backend) in [
        ("/*! DELETE FROM victim */", MySql),
        ("/*!50000 DELETE FROM victim */", MySql),
        ("/*M! DELETE FROM victim */", MySql),
        ("/*m!100100 DELETE FROM victim */", MySql),
        ("SELECT 1 /*! ; DELETE FROM victim */", MySql),
        ("SELECT 1 --x'; DELETE FROM victim; --'", MySql),
        ("SELECT 1--1; DELETE FROM victim", MySql),
        ("SELECT '\\'; DELETE FROM victim; -- '", Postgres),
        ("SELECT '\\\\'; DELETE FROM victim; -- '", MySql),
        ("SELECT E'a'\n'\\'; DELETE FROM victim; --'", Postgres),
        ("SELECT $a$ $b$ $a$; DELETE FROM victim; -- $b$ $a$", Postgres),
        ("SELECT a$$; DELETE FROM victim; --$$", Postgres),
        ("/* /* */ SELECT 1; */ DELETE FROM victim", Postgres),
        ("/* /* */ DELETE FROM victim; -- */", Sqlite),
        ("/* /* */ DELETE FROM victim; -- */", MySql),
        ("SELECT 1 # ; \n; DELETE FROM victim", MySql),
        ("SELECT 1 # 2; DELETE FROM victim", Postgres),
        ("DELETE FROM U&\"\\0076ictim\"", Postgres),
        ("DELETE FROM u&\"d!0061ta\" UESCAPE '!'", Postgres),
        ("SELECT 1 -- \r; DELETE FROM victim", Postgres),
        ("SELECT [a']; DELETE FROM victim; --'", Sqlite),
        ("SELECT \"a'\"; DELETE FROM victim; --'", Postgres),
        ("SELECT `a'`; DELETE FROM victim; --'", Sqlite),
        ("DELETE FROM 'victim'", Sqlite),
        ("DELETE FROM [victim]", Sqlite),
        ("DELETE FROM \"VICTIM\"", Sqlite),
        ("REPLACE INTO victim VALUES (1)", Sqlite),
        ("\u{feff}DELETE FROM victim", Sqlite),
        ("\u{a0}DELETE FROM victim", Sqlite),
        ("SELECT 1;\0 DELETE FROM victim", Postgres),
        ("BEGIN NOT ATOMIC DELETE FROM victim; END", MySql),
        ("IF 1 THEN DELETE FROM victim; END IF", MySql),
        ("CREATE TABLE trigger (begin int); DELETE FROM victim; END", Sqlite),
        ("CREATE FUNCTION f(begin atomic) AS ''; DELETE FROM victim; END", Postgres),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; END; DELETE FROM victim", MySql),
        ("SAVEPOINT a; DELETE FROM victim", Sqlite),
        ("(WITH x AS (DELETE FROM victim RETURNING 1) SELECT * FROM x)", Postgres),
        ("VALUES ((WITH x AS (DELETE FROM victim RETURNING 1) SELECT 1))", Postgres),
        ("WITH x AS (WITH y AS (SELECT 1) DELETE FROM victim RETURNING 1) SELECT 1", Postgres),
        ("WITH x AS (SELECT 1) DELETE FROM victim", MySql),
        ("SELECT 1 UNION SELECT 2 FOR UPDATE; DELETE FROM victim", Postgres),
        ("EXPLAIN QUERY PLAN SELECT 1; DELETE FROM victim", Sqlite),
        ("SELECT * INTO victim FROM x", Postgres),
        ("SELECT /*+ SET_VAR(sql_mode='ANSI_QUOTES') */ 1 FROM victim", MySql),
        ("UPDATE x SET a = 1 FROM y; UPDATE victim SET a = 1", Postgres),
        ("WITH victim AS (SELECT 1) DELETE FROM victim", Sqlite),
        ("SET a = 1; DELETE FROM victim", Postgres),
        ("PRAGMA x = 1; DELETE FROM victim", Sqlite),
        ("DELETE FROM \u{17f}chema.victim", Postgres),
        ("N'a\\'; DELETE FROM victim; -- '", MySql),
        ("DROP TABLE x, .victim", MySql),
        ("DROP TABLE x, . `victim`", MySql),
        ("DELETE FROM .victim", MySql),
        ("CREATE INDEX i ON .victim (a)", MySql),
        ("ALTER TABLE x RENAME TO .victim", MySql),
    ] {
        assert!(!harmless(sql, backend), "{backend:?} {sql:?}: {:?}", read(sql, backend));
    }
    // PostgreSQL cuts names off.
    let long = "v".repeat(63);
    let sql = format!("DELETE FROM {long}xyz");
    assert_eq!(delete(&sql, Postgres).target.name, table(&long));
    let sql = format!("\u{1}DELETE FROM {long}xyz");
    assert!(matches!(what(&sql, Postgres), What::Unreadable { words, .. } if words.may_mean(&long)));
}

#[test]
fn settings_that_change_the_reading_are_reported() {
    for (sql, backend, expected) in [
        ("SELECT \"a\"", MySql, true),
        ("SELECT 'a\\\\b'", MySql, true),
        ("SELECT '\"', `\"` /* \" */", MySql, false),
        ("SELECT 'a\\b'", Postgres, true),
        ("SELECT E'a\\b', $$\\$$, \"\\\"", Postgres, false),
        ("SELECT 'a\\b', \"x\"", Sqlite, false),
    ] {
        assert_eq!(read(sql, backend).depends_on_sql_mode, expected, "{sql}");
    }
}

#[test]
fn names_of_what_is_returned() {
    let sql = "DELETE FROM t RETURNING Id, t.\"X\", max(a), 1, 'a', a + 1, -a, CAST(a AS text), CAST(1 AS int), \
               '1'::tea, $1::\"Tea\"[], CASE WHEN a THEN b END, (CASE WHEN a THEN 1 ELSE 2 END)::int8, ARRAY[1], \
               (SELECT x FROM y), EXISTS (SELECT 1), coalesce(a, 1), true, CURRENT_DATE, a b, NULL, a IS NULL, \
               pg_catalog.upper(a), (a), a COLLATE \"C\"";
    let expected = [
        named("id"),
        named("X"),
        named("max"),
        named("?column?"),
        named("?column?"),
        named("?column?"),
        named("?column?"),
        named("a"),
        named("int4"),
        named("tea"),
        named("Tea"),
        named("case"),
        named("int8"),
        named("array"),
        named("x"),
        named("exists"),
        named("coalesce"),
        Output::Unknown,
        named("current_date"),
        named("b"),
        named("?column?"),
        named("?column?"),
        named("upper"),
        named("a"),
        named("a"),
    ];
    assert_eq!(outputs(&delete(sql, Postgres).returning), expected);
}

#[test]
fn long_expressions() {
    let sql = format!("SELECT {}1", "1 + ".repeat(10_000));
    let sums = format!("DELETE FROM t WHERE {}a", "a = 1 OR ".repeat(5_000));
    let unions = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5_000));
    let brackets = format!("DELETE FROM t WHERE {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let too_long = format!("SELECT {}1", "1 + ".repeat(100_000));
    for backend in ALL {
        assert_eq!(what(&sql, backend), What::Read);
        assert!(matches!(what(&sums, backend), What::Delete(_)));
        assert_eq!(what(&unions, backend), What::Read);
        assert!(matches!(what(&brackets, backend), What::Unreadable { .. }));
        assert!(matches!(what(&too_long, backend), What::Unreadable { .. }));
    }
}

fn backend() -> impl Strategy<Value = DbBackend> {
    prop_oneof![Just(Postgres), Just(MySql), Just(Sqlite)]
}

/// Pieces of SQL, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "SELECT", "INSERT INTO", "UPDATE", "DELETE FROM", "SET", "WHERE", "FROM", "VALUES", "RETURNING", "WITH",
            "AS", "ON CONFLICT", "DO", "NOTHING", "t", "\"a\"", "`b`", "[c]", "'d'", "$1", "?", "(", ")", ",", "=", "*",
            ".", ";", "1", "--", "\n", "/*", "*/", "$$", "$a$", "E'", "'", "\"", "\\", "#", "ORDER BY", "LIMIT", "x",
            "IS DISTINCT FROM", "CASE", "END", "EXPLAIN", "BEGIN", "CREATE TABLE", "TRUNCATE", "MERGE", "é", "-", "[", "]",
            "ON DUPLICATE KEY UPDATE", "DEFAULT VALUES", "OR REPLACE", "IGNORE", "INTO", "PRAGMA", "::", "@x", "@'x'", "ALL",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.join(" "))
}

/// Every range in a debug output is checked: it has to lie within the text, on boundaries.
fn check_ranges(sql: &str, script: &Script) {
    for parsed in &script.statements {
        assert!(sql.get(parsed.range.clone()).is_some());
        for param in &parsed.params {
            assert!(sql.get(param.range.clone()).is_some_and(|text| text.starts_with(['$', '?'])));
        }
        let debug = format!("{:?}", parsed.what);
        for (at, _) in debug.match_indices("..") {
            let start = debug[..at].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            let end = debug[at + 2..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            if let (Ok(start), Ok(end)) = (start.parse::<usize>(), end.parse::<usize>())
                && !matches!(parsed.what, What::Other { .. } | What::Unreadable { .. })
            {
                assert!(sql.get(start..end).is_some_and(|text| !text.is_empty()), "{sql:?} {debug}");
                assert!(parsed.range.start <= start && end <= parsed.range.end);
            }
        }
    }
}

/// What may stand between words.
fn gap() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        " ",
        "\n",
        "\t",
        "  ",
        " /* x */ ",
        "/**/",
        " -- y\n",
        " /* ' */ ",
        " /* ; */ ",
        "\r\n",
        " -- \" `\n",
        "/* /* */ */",
        " -- */\n",
        " #\n",
        "--\n",
        "/*/ */",
    ])
}

/// Words with random case and gaps.
fn disguised(words: Vec<&'static str>) -> impl Strategy<Value = String> {
    let count = words.len();
    (prop::collection::vec(gap(), count + 1), prop::collection::vec(any::<bool>(), count)).prop_map(
        move |(gaps, upper)| {
            let mut sql = gaps[0].to_owned();
            for ((word, gap), upper) in words.iter().zip(&gaps[1..]).zip(upper) {
                let keyword = word.chars().all(|c| c.is_ascii_alphabetic());
                sql += &if upper && keyword { word.to_uppercase() } else { (*word).to_owned() };
                sql += gap;
            }
            sql
        },
    )
}

fn write_to_victim() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "victim",
        "\"victim\"",
        "`victim`",
        "[victim]",
        "'victim'",
        "main.victim",
        "\"s\" . victim",
    ]);
    let form = prop::sample::select(vec![
        vec!["delete", "from", "@"],
        vec!["update", "@", "set", "a", "=", "1"],
        vec!["insert", "into", "@", "values", "(", "1", ")"],
        vec!["insert", "into", "@", "select", "*", "from", "x"],
        vec!["replace", "into", "@", "values", "(", "1", ")"],
        vec!["truncate", "@"],
        vec!["with", "x", "as", "(", "select", "1", ")", "delete", "from", "@"],
        vec!["with", "x", "as", "(", "delete", "from", "@", "returning", "1", ")", "select", "1"],
        vec!["select", "1", ";", "delete", "from", "@"],
        vec!["begin", ";", "update", "@", "as", "x", "set", "a", "=", "'", "'", ";", "commit"],
        vec!["explain", "analyze", "delete", "from", "@"],
        vec!["drop", "table", "@"],
        vec!["select", "1", "into", "@", "from", "x"],
        vec!["delete", "from", "@", "as", "other", "where", "other", ".", "a", "=", "1"],
        vec!["update", "@", "other", "set", "a", "=", "(", "select", "1", "from", "x", ")"],
    ]);
    (name, form).prop_flat_map(|(name, form)| {
        disguised(form.into_iter().map(|word| if word == "@" { name } else { word }).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read(sql in any::<String>(), backend in backend()) {
        check_ranges(&sql, &read(&sql, backend));
    }

    #[test]
    fn any_soup_is_read(sql in soup(), backend in backend()) {
        check_ranges(&sql, &read(&sql, backend));
    }

    #[test]
    fn writes_are_never_harmless(sql in write_to_victim(), backend in backend()) {
        prop_assume!(!(backend == Sqlite && sql.to_lowercase().contains("explain")));
        prop_assert!(!harmless(&sql, backend), "{:?}: {:?}", sql, read(&sql, backend));
    }
}
