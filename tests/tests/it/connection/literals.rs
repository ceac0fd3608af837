//! Keys that a statement writes out (MySQL and MariaDB), in each of the ways in which values can be written.

use audit_seaorm::is_audit_error;
use audit_tests::db_test;
use sea_orm::ConnectionTrait;

use super::odd_mysql::{DONE, REFUSED, execute, faithful};
use super::sessions::{audited, single};
use crate::fixtures::{entries, set_up_shelves};

db_test!(c5_keys_that_are_written_out_are_recorded, on(mysql), async |t| {
    const NUMBERS: [&str; 7] = ["-3", "TRUE", "false", "0xAB", "b'101'", "+8", "1e2"];
    const TEXTS: [&str; 14] = [
        "_utf8mb4'in'",
        "_utf8mb4 'in two'",
        "N'nat'",
        "n'it''s'",
        "0x4142",
        "x'5A61'",
        "X'5A62'",
        "b'0101101001000011'",
        "TRUE",
        "-7",
        "DATE '2026-01-01'",
        "TIMESTAMP'2026-01-01 10:00:00'",
        "TIME '10:00:00'",
        "'two' ' parts'",
    ];
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    let texts = TEXTS.iter().map(|text| (*text, "1")).chain([("0xC3B6", "2")]);
    for (room, number) in texts.chain(NUMBERS.iter().map(|number| ("'n'", *number))) {
        let statements = [
            format!("INSERT INTO shelf VALUES ({room}, {number}, 'x')"),
            format!("REPLACE INTO shelf VALUES ({room}, {number}, 'y'), ('other', 2, 'z')"),
            format!(
                "INSERT INTO shelf VALUES ({room}, {number}, 'w'), ({room}, 93, 'v') ON DUPLICATE KEY UPDATE label = VALUES(label)"
            ),
        ];
        faithful(t, &db, &statements.each_ref().map(|sql| (sql.as_str(), DONE))).await;
    }
});

macro_rules! keyed {
    ($name:ident, $table:literal, $kind:ty) => {
        #[allow(unreachable_pub)]
        mod $name {
            use audit_seaorm::{Auditable, audited};
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                #[sea_orm(primary_key, auto_increment = false)]
                pub id: $kind,
                pub label: String,
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            #[audited]
            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

keyed!(dated, "dated_thing", Date);
keyed!(timed, "timed_thing", DateTime);
keyed!(hour, "hour_thing", Time);
keyed!(sealed, "sealed_thing", Vec<u8>);
keyed!(priced, "priced_thing", Decimal);
keyed!(called, "called_thing", String);

db_test!(c5_dates_and_bytes_that_are_written_out_are_recorded, on(mysql), async |t| {
    for (table, kind, keys, refused) in [
        (
            "dated_thing",
            "DATE",
            &["DATE '2026-01-01'", "date'2026-1-2'", "TIMESTAMP '2026-01-03 00:00:00'", "'2026-01-04'"][..],
            &["TIMESTAMP '2026-01-05 10:00:00'", "TIME '10:00:00'", "DATE '2026-01-01' + INTERVAL 1 DAY"][..],
        ),
        (
            "timed_thing",
            "DATETIME",
            &["DATE '2026-01-01'", "TIMESTAMP '2026-01-01 10:00:00'", "timestamp'2026-1-1 9:0:0'"],
            &["TIMESTAMP '2026-01-01 11:00:00.7'", "TIME '10:00:00'"],
        ),
        ("hour_thing", "TIME", &["TIME '10:00:00'", "time'9:8:7'"], &["TIMESTAMP '2026-01-01 10:00:00'"]),
        (
            "sealed_thing",
            "VARBINARY(20)",
            &["0xAB", "x'AC'", "b'1'", "'text'", "_binary'other'"],
            &["unhex('AB')"],
        ),
    ] {
        execute(t, &[&format!("CREATE TABLE {table} (id {kind} PRIMARY KEY, label VARCHAR(20) NOT NULL)")])
            .await;
        let db = audited(&single(t).await);
        for key in keys {
            for (sql, action) in [
                (format!("INSERT INTO {table} VALUES ({key}, 'x')"), "create"),
                (format!("REPLACE INTO {table} VALUES ({key}, 'y')"), "update"),
                (
                    format!("INSERT INTO {table} VALUES ({key}, 'z') ON DUPLICATE KEY UPDATE label = 'z'"),
                    "update",
                ),
            ] {
                let seen = entries(t).await.len();
                db.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
                let made: Vec<_> =
                    entries(t).await.split_off(seen).into_iter().map(|entry| entry.action).collect();
                assert_eq!(made, [action], "{sql}");
            }
        }
        let seen = entries(t).await.len();
        for key in refused {
            let sql = format!("INSERT INTO {table} VALUES ({key}, 'x')");
            let error = db.execute_unprepared(&sql).await.expect_err(&sql);
            assert!(is_audit_error(&error), "{sql}: {error}");
        }
        let count = t.value::<i64>(&format!("SELECT count(*) FROM {table}")).await.unwrap();
        assert_eq!((count, entries(t).await.len()), (keys.len() as i64, seen), "{table}");
    }
});

db_test!(c5_keys_that_are_computed_or_read_otherwise_are_refused, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(
        t,
        &audited(&single(t).await),
        &[
            ("REPLACE INTO shelf VALUES (_utf8mb4'A', 1, 'x')", DONE),
            ("INSERT INTO shelf VALUES ('n', DATE '2026-01-01', 'x')", REFUSED),
            ("INSERT INTO shelf VALUES ('n', 1 + 1, 'x')", REFUSED),
            ("INSERT INTO shelf VALUES ('n', abs(3), 'x')", REFUSED),
            ("INSERT INTO shelf VALUES ('a' || uuid() || 'b', 1, 'x')", REFUSED),
        ],
    )
    .await;
});

// They are named to it in a list.
db_test!(c5_a_limit_names_rows_by_keys_of_every_sort, on(mysql), async |t| {
    for (table, kind, rows) in [
        ("dated_thing", "DATE", "('2026-01-01', 'x'), ('2026-01-02', 'x'), ('1999-12-31', 'x')"),
        (
            "timed_thing",
            "DATETIME(6)",
            "('2026-01-01 10:00:00.000001', 'x'), ('2026-01-01 10:00:00.000002', 'x'), ('2026-01-01 10:00:00', 'x')",
        ),
        ("hour_thing", "TIME(6)", "('10:00:00.5', 'x'), ('10:00:00', 'x'), ('00:00:00', 'x')"),
        ("sealed_thing", "VARBINARY(20)", "('a', 'x'), ('A', 'x'), (x'00FF', 'x')"),
        (
            "priced_thing",
            "DECIMAL(28, 9)",
            "(1234567890123456789.000000001, 'x'), (1234567890123456789.000000002, 'x'), (-0.5, 'x')",
        ),
        (
            "called_thing",
            "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "('a', 'x'), ('A', 'x'), ('05', 'x'), ('5', 'x')",
        ),
    ] {
        let table_of = format!("CREATE TABLE {table} (id {kind} PRIMARY KEY, label VARCHAR(20) NOT NULL)");
        execute(t, &[&table_of, &format!("INSERT INTO {table} VALUES {rows}")]).await;
        let db = audited(&single(t).await);
        let all = t.value::<i64>(&format!("SELECT count(*) FROM {table}")).await.unwrap() as u64;
        for (sql, rows) in [
            (format!("UPDATE {table} SET label = 'y' ORDER BY id LIMIT 1"), 1),
            (format!("UPDATE {table} SET label = 'z' WHERE label = 'x' LIMIT 9"), all - 1),
            (format!("DELETE FROM {table} ORDER BY id DESC LIMIT 1"), 1),
            (format!("DELETE FROM {table} LIMIT 9"), all - 1),
        ] {
            let seen = entries(t).await.len();
            let done = db.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!((done.rows_affected(), (entries(t).await.len() - seen) as u64), (rows, rows), "{sql}");
        }
    }
});
