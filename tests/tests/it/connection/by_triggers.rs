//! PostgreSQL: triggers and rules that do something else with the rows of a statement than what it says.

use audit_seaorm::is_audit_error;
use audit_tests::{TestDb, db_test};
use sea_orm::ConnectionTrait;

use super::hostile::{shelves, told};
use super::sessions::{audited, single};
use crate::fixtures::{entries, set_up_shelves};

/// Shelves whose trigger this is, as `CREATE TRIGGER t .. ON shelf` and the body of its function.
async fn with_trigger(t: &TestDb, when: &str, body: &str) {
    t.execute("DROP TABLE IF EXISTS shelf").await.unwrap();
    set_up_shelves(t).await;
    for sql in [
        format!("CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"),
        format!("CREATE TRIGGER t {when} ON shelf FOR EACH ROW EXECUTE FUNCTION f()"),
    ] {
        t.execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

// A delete was recorded of a row that is there, and nothing of one that was changed instead.
db_test!(c5_what_triggers_do_instead_is_recorded, on(postgres), async |t| {
    const GONE: &str =
        "UPDATE shelf SET label = 'gone' WHERE room = OLD.room AND number = OLD.number; RETURN NULL;";
    const UPSERT: &str = "UPDATE shelf SET label = NEW.label WHERE room = NEW.room AND number = NEW.number; \
                          IF FOUND THEN RETURN NULL; END IF; RETURN NEW;";
    const REPLACE: &str = "DELETE FROM shelf WHERE room = NEW.room AND number = NEW.number; RETURN NEW;";
    const OTHER: &str = "IF NEW.label NOT LIKE '%!' THEN UPDATE shelf SET label = NEW.label || '!' WHERE room = NEW.room \
                         AND number = NEW.number; RETURN NULL; END IF; RETURN NEW;";
    for (when, body, statements) in [
        ("BEFORE DELETE", GONE, &["DELETE FROM shelf WHERE room = 'a'", "DELETE FROM shelf"][..]),
        (
            "BEFORE INSERT",
            UPSERT,
            &[
                "INSERT INTO shelf VALUES ('n', 1, 'new'), ('a', 1, 'up') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
                "INSERT INTO shelf VALUES ('a', 1, 'again'), ('m', 1, 'new')",
                "INSERT INTO shelf VALUES ('a', 1, 'once more') ON CONFLICT DO NOTHING",
            ][..],
        ),
        ("BEFORE INSERT", REPLACE, &["INSERT INTO shelf VALUES ('a', 1, 'replaced'), ('m', 1, 'new')"][..]),
        (
            "BEFORE UPDATE",
            OTHER,
            &["UPDATE shelf SET label = 'x' WHERE room = 'a'", "UPDATE shelf SET label = 'y'"][..],
        ),
        (
            "AFTER DELETE",
            "INSERT INTO shelf VALUES (OLD.room, OLD.number, 'back'); RETURN NULL;",
            &["DELETE FROM shelf WHERE room = 'a' AND number = 1", "DELETE FROM shelf"][..],
        ),
    ] {
        with_trigger(t, when, body).await;
        for sql in statements {
            let (before, seen) = (shelves(t).await, entries(t).await.len());
            let db = audited(&single(t).await);
            db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{when}: {sql}: {error}"));
            let (after, made) = (shelves(t).await, entries(t).await.split_off(seen));
            assert_ne!(after, before, "{when}: {sql}");
            assert_eq!(told(&made, before), Ok(after), "{when}: {sql}");
        }
    }
});

// They failed by the database's own errors about WITH.
db_test!(c17_writes_that_rules_rewrite_are_refused, on(postgres), async |t| {
    for (rule, sql) in [
        (
            "ON DELETE TO shelf DO INSTEAD UPDATE shelf SET label = 'soft' WHERE room = OLD.room",
            "DELETE FROM shelf",
        ),
        ("ON INSERT TO shelf DO INSTEAD NOTHING", "INSERT INTO shelf VALUES ('z', 1, 'x')"),
        ("ON UPDATE TO shelf DO ALSO INSERT INTO noted VALUES (1)", "UPDATE shelf SET label = 'x'"),
    ] {
        t.execute("DROP TABLE IF EXISTS shelf").await.unwrap();
        t.execute("CREATE TABLE IF NOT EXISTS noted (n INT)").await.unwrap();
        set_up_shelves(t).await;
        t.execute(&format!("CREATE RULE r AS {rule}")).await.unwrap();
        let error = audited(&single(t).await).execute_unprepared(sql).await.unwrap_err();
        assert!(
            is_audit_error(&error) && error.to_string().contains("a rule of the table"),
            "{sql}: {error}"
        );
    }
    assert_eq!(entries(t).await, []);
});

// The key was asked for once more with each row of the table, or taken for one that no row can have.
db_test!(c5_upserts_with_keys_that_the_database_gives, on(postgres), async |t| {
    let db = async || audited(&single(t).await);
    for sql in [
        "CREATE SEQUENCE numbers START 100",
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL DEFAULT 'only', number INT NOT NULL DEFAULT nextval('numbers'), \
         label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number), UNIQUE (room))",
        "INSERT INTO shelf VALUES ('only', 1, 'one'), ('b', 2, 'two')",
    ] {
        t.execute(sql).await.unwrap();
    }
    let before = shelves(t).await;
    for sql in [
        "INSERT INTO shelf (label) VALUES ('up') ON CONFLICT (room) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, label) VALUES (DEFAULT, 'again'), ('new', 'c') ON CONFLICT (room) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, label) VALUES ('d', 'd') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
    ] {
        db().await.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(told(&entries(t).await, before.clone()), Ok(shelves(t).await), "{sql}");
    }
    let number = t.value::<i64>("SELECT last_value FROM numbers").await.unwrap();
    let sql = "INSERT INTO shelf (room, number, label) VALUES ('e', nextval('numbers'), 'e') \
               ON CONFLICT (room, number) DO UPDATE SET label = excluded.label";
    let error = db().await.execute_unprepared(sql).await.unwrap_err();
    assert!(is_audit_error(&error) && error.to_string().contains("another one each time"), "{error}");
    assert_eq!(t.value::<i64>("SELECT last_value FROM numbers").await.unwrap(), number);
    let sql = "INSERT INTO shelf VALUES ('random (', 5, 'a text') ON CONFLICT (room) DO UPDATE SET label = excluded.label";
    db().await.execute_unprepared(sql).await.unwrap();
});

// Only words of the trigger's own text were looked at, and with a WITH nothing at all; a row that a trigger keeps out of the part that it
// was to move to is deleted.
db_test!(c5_what_triggers_before_do_is_recorded_or_refused, on(postgres), async |t| {
    const PUT: &str = "CREATE OR REPLACE FUNCTION put(r text, n int, l text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
                       UPDATE shelf SET label = l WHERE room = r AND number = n; RETURN FOUND; END $$";
    const BY_FUNCTION: &str = "IF put(OLD.room, OLD.number, 'gone') THEN RETURN NULL; END IF; RETURN OLD;";
    const SOFT: &str =
        "UPDATE shelf SET label = 'soft' WHERE room = OLD.room AND number = OLD.number; RETURN NULL;";
    const REKEYS: &str = "IF pg_trigger_depth() > 1 THEN RETURN NEW; END IF; \
                          UPDATE shelf SET number = NEW.number WHERE room = OLD.room AND number = OLD.number; RETURN NULL;";
    const DELETES: &str = "DELETE FROM shelf WHERE room = OLD.room AND number = OLD.number; RETURN NULL;";
    t.execute(PUT).await.unwrap();
    for (when, body, sql, recorded) in [
        ("BEFORE DELETE", BY_FUNCTION, "DELETE FROM shelf WHERE room = 'a'", true),
        (
            "BEFORE DELETE",
            SOFT,
            "WITH q AS (SELECT 'a' AS o) DELETE FROM shelf WHERE room IN (SELECT o FROM q)",
            false,
        ),
        ("BEFORE UPDATE", REKEYS, "UPDATE shelf SET number = 77 WHERE room = 'b'", false),
        ("BEFORE UPDATE", DELETES, "UPDATE shelf SET label = 'x' WHERE room = 'b'", false),
    ] {
        with_trigger(t, when, body).await;
        let (before, seen) = (shelves(t).await, entries(t).await.len());
        let done = audited(&single(t).await).execute_unprepared(sql).await;
        let (after, made) = (shelves(t).await, entries(t).await.split_off(seen));
        assert_eq!(told(&made, before.clone()), Ok(after.clone()), "{when}: {sql}: {done:?}");
        match done {
            Ok(_) => assert!(recorded && after != before, "{when}: {sql}"),
            Err(error) => assert!(!recorded && is_audit_error(&error), "{when}: {sql}: {error}"),
        }
    }
});
