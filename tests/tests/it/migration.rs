//! K2: the audit table, and that the database lets nobody change it.

use audit_migration::{Migrator, MigratorTrait};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::entity::prelude::*;
use sea_orm::{Database, DbErr, QueryOrder, SqlErr, Statement, TransactionTrait};
use sea_orm_migration::prelude as m;

// ---------------------------------------------------------------------------------------------------------------------
// Plain SQL: the table must do without any entity.

const REQUIRED: &str =
    "timestamp, actor_type, action, resource_type, status, severity, classification, is_sensitive";
const REQUIRED_VALUES: &str =
    "'2026-01-02 03:04:05.123456', 'user', 'create', 'BankAccount', 'success', 'low', 'internal', false";

/// `n` as an id of 16 bytes, in the backend's notation.
fn id(t: &TestDb, n: u8) -> String {
    let hex = format!("{n:032x}");
    t.pick(format!("x'{hex}'"), format!("'{hex}'::uuid"), format!("x'{hex}'"))
}

/// `<verb> audit_log (...) VALUES (entry n)`.
fn put(t: &TestDb, verb: &str, n: u8, reason: &str) -> String {
    format!("{verb} audit_log (id, {REQUIRED}, reason) VALUES ({}, {REQUIRED_VALUES}, '{reason}')", id(t, n))
}

/// Entries 1 and 2.
async fn fill(t: &TestDb) -> Result<(), DbErr> {
    t.execute(&put(t, "INSERT INTO", 1, "first")).await?;
    t.execute(&put(t, "INSERT INTO", 2, "second")).await?;
    Ok(())
}

async fn reasons(t: &TestDb) -> Result<Vec<String>, DbErr> {
    t.column("SELECT reason FROM audit_log ORDER BY id").await
}

/// Refused with that message, on a connection and in a transaction, and entries 1 and 2 are as they were.
async fn assert_refused(t: &TestDb, sql: &str, message: &str) -> Result<(), DbErr> {
    let error = t.execute(sql).await.expect_err(sql).to_string();
    assert!(error.contains(message), "{sql}\nsays {error}\nnot  {message}");

    let transaction = t.db.begin().await?;
    let error = transaction.execute_unprepared(sql).await.expect_err(sql).to_string();
    assert!(error.contains(message), "{sql}\nsays {error}\nnot  {message}");
    transaction.commit().await?;

    assert_eq!(reasons(t).await?, ["first", "second"], "{sql}");
    Ok(())
}

/// Everything the database's catalogue knows of our own and other objects, by kind and name.
async fn catalogue(t: &TestDb) -> Result<Vec<String>, DbErr> {
    t.column(t.pick(
        "SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1",
        "SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
         UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1",
        "SELECT CAST(o AS CHAR) FROM (
             SELECT CONCAT('table ', table_name) AS o FROM information_schema.tables WHERE table_schema = DATABASE()
             UNION ALL SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()
             UNION ALL SELECT CONCAT('constraint ', constraint_name) FROM information_schema.table_constraints
                 WHERE table_schema = DATABASE() AND constraint_type <> 'PRIMARY KEY'
         ) AS objects ORDER BY 1",
    ))
    .await
}

// ---------------------------------------------------------------------------------------------------------------------
// Up and down

db_test!(k2_up_down_up, raw, async |t| -> Result<(), DbErr> {
    Migrator::install(&t.db).await?;
    let before = catalogue(t).await?;

    Migrator::up(&t.db, None).await?;
    let up = catalogue(t).await?;
    assert!(up.len() > before.len());
    fill(t).await?;

    // Again: nothing to do.
    Migrator::up(&t.db, None).await?;
    assert_eq!(reasons(t).await?, ["first", "second"]);

    Migrator::down(&t.db, None).await?;
    assert_eq!(catalogue(t).await?, before, "down removes all that up made");

    Migrator::up(&t.db, None).await?;
    assert_eq!(catalogue(t).await?, up);
    assert!(reasons(t).await?.is_empty());
    fill(t).await?;
    assert_refused(t, "DELETE FROM audit_log", "DELETE refused").await?;

    Migrator::refresh(&t.db).await?;
    assert_eq!(catalogue(t).await?, up);
    Ok(())
});

/// A migrator as an application has it.
struct Bank;

impl MigratorTrait for Bank {
    fn migrations() -> Vec<Box<dyn m::MigrationTrait>> {
        vec![Box::new(BankAccount)]
    }
}

/// The same, with the audit tables among its own.
struct BankWithAudit;

impl MigratorTrait for BankWithAudit {
    fn migrations() -> Vec<Box<dyn m::MigrationTrait>> {
        let mut all = audit_migration::migrations();
        all.push(Box::new(BankAccount));
        all
    }
}

struct BankAccount;

impl m::MigrationName for BankAccount {
    fn name(&self) -> &str {
        "m20260201_000001_bank_account"
    }
}

#[m::async_trait::async_trait]
impl m::MigrationTrait for BankAccount {
    async fn up(&self, manager: &m::SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE TABLE bank_account (id int PRIMARY KEY)";
        manager.get_connection().execute_unprepared(sql).await.map(|_| ())
    }

    async fn down(&self, manager: &m::SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE bank_account").await.map(|_| ())
    }
}

db_test!(k2_beside_a_users_own_migrator, raw, async |t| -> Result<(), DbErr> {
    Bank::up(&t.db, None).await?;
    Migrator::up(&t.db, None).await?;
    fill(t).await?;

    // Neither knows of the other's migrations.
    assert!(Bank::get_pending_migrations(&t.db).await?.is_empty());
    assert!(Migrator::get_pending_migrations(&t.db).await?.is_empty());
    let applied: i64 = t.value("SELECT count(*) FROM audit_migrations").await?;
    assert_eq!(usize::try_from(applied).ok(), Some(Migrator::migrations().len()));

    Bank::down(&t.db, None).await?;
    assert_eq!(reasons(t).await?, ["first", "second"]);
    Bank::up(&t.db, None).await?;

    Migrator::down(&t.db, None).await?;
    assert!(t.execute("SELECT * FROM audit_log").await.is_err());
    t.execute("INSERT INTO bank_account VALUES (1)").await?;
    Ok(())
});

db_test!(k2_inside_a_users_own_migrator, raw, async |t| -> Result<(), DbErr> {
    BankWithAudit::up(&t.db, None).await?;
    fill(t).await?;
    assert_refused(t, "DELETE FROM audit_log", "DELETE refused").await?;

    // The user's own `fresh` drops every table, and does not know of our functions.
    BankWithAudit::fresh(&t.db).await?;
    assert!(reasons(t).await?.is_empty());
    fill(t).await?;
    assert_refused(t, "DELETE FROM audit_log", "DELETE refused").await?;

    BankWithAudit::down(&t.db, None).await?;
    assert!(t.execute("SELECT * FROM audit_log").await.is_err());
    Ok(())
});

db_test!(k2_fresh_is_refused, raw, async |t| -> Result<(), DbErr> {
    Bank::up(&t.db, None).await?;
    Migrator::up(&t.db, None).await?;
    fill(t).await?;
    let before = catalogue(t).await?;

    let error = Migrator::fresh(&t.db).await.expect_err("it would drop bank_account").to_string();
    assert!(error.contains("would drop every table"), "{error}");
    assert_eq!(catalogue(t).await?, before);
    assert_eq!(reasons(t).await?, ["first", "second"]);
    Ok(())
});

// MySQL commits at each DDL statement: there is nothing to roll back.
db_test!(k2_migrates_inside_a_transaction_of_the_caller, raw, on(sqlite, postgres), async |t| -> Result<
    (),
    DbErr,
> {
    let before = catalogue(t).await?;
    let transaction = t.db.begin().await?;
    Migrator::up(&transaction, None).await?;
    transaction.rollback().await?;
    assert_eq!(catalogue(t).await?, before);

    let transaction = t.db.begin().await?;
    Migrator::up(&transaction, None).await?;
    transaction.commit().await?;
    fill(t).await
});

db_test!(k2_a_failed_up_leaves_nothing, raw, async |t| -> Result<(), DbErr> {
    // Each stands in the way of the guards, after the table has been made.
    let (obstacle, away) = t.pick(
        ("CREATE TABLE audit_log_replace_guard (id int)", "DROP TABLE audit_log_replace_guard"),
        (
            "CREATE FUNCTION audit_log_refuse_change() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION audit_log_refuse_change",
        ),
        (
            "CREATE TABLE other (id int);
             CREATE TRIGGER audit_log_refuse_delete BEFORE DELETE ON other FOR EACH ROW SET @x = 1",
            "DROP TABLE other",
        ),
    );
    Migrator::install(&t.db).await?;
    t.execute(obstacle).await?;
    let before = catalogue(t).await?;
    Migrator::up(&t.db, None).await.expect_err("the obstacle");
    assert_eq!(catalogue(t).await?, before);

    t.execute(away).await?;
    Migrator::up(&t.db, None).await?;
    fill(t).await?;
    assert_refused(t, "DELETE FROM audit_log", "DELETE refused").await
});

db_test!(k2_a_table_of_somebody_else_is_left_alone, raw, async |t| -> Result<(), DbErr> {
    Migrator::install(&t.db).await?;
    for name in ["audit_log", t.pick("audit_log_replace_guard", "audit_log", "audit_log_truncate_guard")] {
        t.execute(&format!("CREATE TABLE {name} (theirs int)")).await?;
        let before = catalogue(t).await?;
        Migrator::up(&t.db, None).await.expect_err("the table exists");
        assert_eq!(catalogue(t).await?, before);
        t.execute(&format!("DROP TABLE {name}")).await?;
    }
    Ok(())
});

db_test!(k2_in_a_schema_of_its_own, raw, on(postgres), async |t| -> Result<(), DbErr> {
    t.execute("CREATE SCHEMA \"Trail\"; CREATE TABLE public.audit_log (theirs int)").await?;
    let mut options = t.options();
    options.set_schema_search_path("\"Trail\",public");
    let db = Database::connect(options).await?;

    Migrator::up(&db, None).await?;
    t.execute(&put(t, "INSERT INTO \"Trail\".", 1, "first").replace(". audit_log", ".audit_log")).await?;
    // From a connection that looks elsewhere.
    let error = t.execute("DELETE FROM \"Trail\".audit_log").await.expect_err("refused").to_string();
    assert!(error.contains("audit_log is append-only: DELETE refused"), "{error}");
    let schema =
        "SELECT pronamespace::regnamespace::text FROM pg_proc WHERE proname = 'audit_log_refuse_change'";
    assert_eq!(t.value::<String>(schema).await?, "\"Trail\"");

    Migrator::down(&db, None).await?;
    t.execute("INSERT INTO public.audit_log (theirs) VALUES (1)").await?;
    // Once ours is gone, a stray down must not take theirs.
    db.execute_unprepared("INSERT INTO audit_migrations VALUES ('m20260101_000001_audit_log', 0)").await?;
    Migrator::down(&db, None).await.expect_err("nothing of ours");
    assert_eq!(t.value::<i64>("SELECT count(*) FROM public.audit_log").await?, 1);
    Ok(())
});

// ---------------------------------------------------------------------------------------------------------------------
// Columns and indexes

const COLUMNS: [&str; 32] = [
    "seq",
    "id",
    "timestamp",
    "tenant",
    "actor_id",
    "actor_type",
    "actor_name",
    "actor_email",
    "action",
    "module",
    "resource_type",
    "resource_id",
    "resource_name",
    "status",
    "severity",
    "changes",
    "changed_fields",
    "old_data",
    "new_data",
    "frameworks",
    "classification",
    "is_sensitive",
    "integrity_hash",
    "ip_address",
    "user_agent",
    "session_id",
    "request_id",
    "request_data",
    "details",
    "reason",
    "metadata",
    "transaction_id",
];

db_test!(k2_columns_are_the_published_ones, async |t| -> Result<(), DbErr> {
    let information =
        "SELECT CAST(column_name AS char(64)) FROM information_schema.columns WHERE table_name = 'audit_log'
         AND table_schema = {schema} ORDER BY ordinal_position";
    let sql = t.pick(
        "SELECT name FROM pragma_table_info('audit_log') ORDER BY cid".to_owned(),
        information.replace("char(64)", "text").replace("{schema}", "current_schema()"),
        information.replace("{schema}", "DATABASE()"),
    );
    assert_eq!(t.column::<String>(&sql).await?, COLUMNS);
    Ok(())
});

db_test!(k2_required_columns_are_required_and_the_others_not, async |t| -> Result<(), DbErr> {
    let names: Vec<_> = REQUIRED.split(", ").collect();
    let values: Vec<_> = REQUIRED_VALUES.split(", ").collect();
    assert_eq!(names.len(), values.len());
    for (n, name) in (0..).zip(&names) {
        let mut with_null = values.clone();
        with_null[usize::from(n)] = "NULL";
        let sql =
            format!("INSERT INTO audit_log (id, {REQUIRED}) VALUES ({}, {})", id(t, n), with_null.join(", "));
        assert!(t.execute(&sql).await.is_err(), "{name} is NOT NULL");
    }
    t.execute(&format!("INSERT INTO audit_log (id, {REQUIRED}) VALUES ({}, {REQUIRED_VALUES})", id(t, 1)))
        .await?;
    for name in COLUMNS.iter().filter(|name| !["seq", "id"].contains(*name) && !names.contains(name)) {
        let nulls = t.value::<i64>(&format!("SELECT count(*) FROM audit_log WHERE {name} IS NULL")).await?;
        assert_eq!(nulls, 1, "{name} has no default");
    }
    Ok(())
});

db_test!(k2_indexes_are_three, async |t| -> Result<(), DbErr> {
    let indexes: Vec<String> = t
        .column(t.pick(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = 'audit_log' ORDER BY 1",
            "SELECT indexname::text FROM pg_indexes WHERE tablename = 'audit_log' AND indexname NOT IN ('audit_log_pkey', 'audit_log_id_key') ORDER BY 1",
            "SELECT DISTINCT CAST(index_name AS char(64)) FROM information_schema.statistics
             WHERE table_schema = DATABASE() AND table_name = 'audit_log' AND index_name NOT IN ('PRIMARY', 'id') ORDER BY 1",
        ))
        .await?;
    assert_eq!(indexes, ["idx_audit_log_actor", "idx_audit_log_resource", "idx_audit_log_tenant"]);

    let partial: Vec<String> = t
        .column(t.pick(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'audit_log' AND sql LIKE '% IS NOT NULL' ORDER BY 1",
            "SELECT indexname::text FROM pg_indexes WHERE tablename = 'audit_log' AND indexdef LIKE '% IS NOT NULL)' ORDER BY 1",
            "SELECT 'idx_audit_log_actor' UNION SELECT 'idx_audit_log_tenant'", // it has no partial ones
        ))
        .await?;
    assert_eq!(partial, ["idx_audit_log_actor", "idx_audit_log_tenant"]);
    Ok(())
});

db_test!(k2_questions_use_the_indexes, on(sqlite), async |t| -> Result<(), DbErr> {
    for (question, index) in [
        ("resource_type = 'BankAccount' AND resource_id = '1'", "idx_audit_log_resource"),
        ("actor_id = '42'", "idx_audit_log_actor"),
        ("tenant = 'acme'", "idx_audit_log_tenant"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT id FROM audit_log WHERE {question} ORDER BY seq");
        let rows = t.db.query_all_raw(Statement::from_string(t.backend, sql)).await?;
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail")).collect::<Result<_, _>>()?;
        assert_eq!(plan.len(), 1, "no sort: {plan:?}");
        assert!(plan[0].contains(index), "{plan:?}");
    }
    Ok(())
});

db_test!(k2_text_is_compared_exactly, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let same = "SELECT count(*) FROM audit_log WHERE action = 'CREATE' OR resource_type = 'bankaccount'";
    assert_eq!(t.value::<i64>(same).await?, 0);
    Ok(())
});

/// The columns whose types differ from backend to backend, as an entity reads and writes them.
mod entry {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_log")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) id: Uuid,
        pub(super) timestamp: ChronoDateTimeUtc,
        pub(super) tenant: Option<String>,
        pub(super) actor_type: String,
        pub(super) action: String,
        pub(super) resource_type: String,
        pub(super) resource_id: Option<String>,
        pub(super) status: String,
        pub(super) severity: String,
        pub(super) classification: String,
        pub(super) is_sensitive: bool,
        pub(super) changes: Option<String>,
        pub(super) integrity_hash: Option<Vec<u8>>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

db_test!(k2_values_come_back_exactly, async |t| -> Result<(), DbErr> {
    let text = |s: &str| Some(s.to_owned());
    // A DateTimeUtc travels to MariaDB as its type TIMESTAMP, which ends there.
    let moments = [
        "1970-01-01T00:00:00.000001Z",
        "2026-01-02T03:04:05.123456Z",
        "2026-07-01T00:00:00Z",
        "2038-01-19T03:14:07.999999Z",
    ];
    for (n, moment) in (1_u128..).zip(moments) {
        let entry = entry::Model {
            id: Uuid::from_u128(u128::MAX - n),
            timestamp: moment.parse().expect("a moment"),
            tenant: text("Ann's 🦀 \\ \" tenant "),
            actor_type: "user".to_owned(),
            action: "create".to_owned(),
            resource_type: "é".repeat(255),
            resource_id: text(&"x".repeat(1024)),
            status: "success".to_owned(),
            severity: "low".to_owned(),
            classification: "internal".to_owned(),
            is_sensitive: n % 2 == 0,
            // More than MySQL's `text` holds; and JSON that a json type would rewrite.
            changes: text(&format!("{{ \"b\": 1.0, \"a\": {{}},  \"b\": \"{}\" }}", "long ".repeat(20_000))),
            integrity_hash: (n != 1).then(|| (0..32).map(|i| i * 8).collect()),
        };
        let active: entry::ActiveModel = entry.clone().into();
        entry::Entity::insert(active).exec_without_returning(&t.db).await?;
        let back = entry::Entity::find_by_id(entry.id).one(&t.db).await?.expect("the entry");
        assert!(back == entry, "{moment}: {:?}", entry::Model { changes: None, ..back });
    }
    // The column has no such end.
    let zone = t.pick("+00:00", "+00:00", "");
    let late = put(t, "INSERT INTO", 1, "late")
        .replace("2026-01-02 03:04:05.123456", &format!("2525-01-01 12:00:00.000001{zone}"));
    t.execute(&late).await?;
    let back = entry::Entity::find_by_id(Uuid::from_u128(1)).one(&t.db).await?.expect("the entry");
    assert_eq!(back.timestamp, "2525-01-01T12:00:00.000001Z".parse::<ChronoDateTimeUtc>().expect("a moment"));
    // SQLite's are text, and sort as moments do.
    let sorted = entry::Entity::find().order_by_asc(entry::Column::Timestamp).all(&t.db).await?;
    let sorted: Vec<_> = sorted.into_iter().map(|e| e.timestamp).collect();
    assert!(sorted.is_sorted(), "{sorted:?}");
    Ok(())
});

// ---------------------------------------------------------------------------------------------------------------------
// Append-only

db_test!(k2_plain_inserts_work, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let row = |n| format!("({}, {REQUIRED_VALUES})", id(t, n));
    let sql = format!("INSERT INTO audit_log (id, {REQUIRED}) VALUES {}, {}, {}", row(3), row(4), row(5));
    assert_eq!(t.execute(&sql).await?.rows_affected(), 3);

    let sql = format!(
        "INSERT INTO audit_log (id, {REQUIRED}) SELECT {}, {REQUIRED} FROM audit_log WHERE reason = 'first'",
        id(t, 6)
    );
    assert_eq!(t.execute(&sql).await?.rows_affected(), 1);
    assert_eq!(t.value::<i64>("SELECT count(*) FROM audit_log").await?, 6);
    Ok(())
});

db_test!(k2_a_duplicate_id_is_a_unique_violation, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let error = t.execute(&put(t, "INSERT INTO", 1, "again")).await.expect_err("a duplicate");
    assert!(matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))), "{error}");
    assert!(!error.to_string().contains("guard"), "{error}");

    let skip = t.pick("INSERT OR IGNORE INTO", "INSERT INTO", "INSERT IGNORE INTO");
    let otherwise = t.pick("", " ON CONFLICT DO NOTHING", "");
    let skipped = t.execute(&(put(t, skip, 1, "again") + otherwise)).await?;
    assert_eq!(skipped.rows_affected(), 0);
    let added = t.execute(&(put(t, skip, 3, "third") + otherwise)).await?;
    assert_eq!(added.rows_affected(), 1);
    if t.backend == DbBackend::Sqlite {
        t.execute(&(put(t, "INSERT INTO", 1, "again") + " ON CONFLICT (id) DO NOTHING")).await?;
        for verb in ["INSERT OR ABORT INTO", "INSERT OR FAIL INTO", "INSERT OR ROLLBACK INTO"] {
            let error = t.execute(&put(t, verb, 1, "again")).await.expect_err("a duplicate");
            assert!(matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))), "{verb}: {error}");
        }
    }
    assert_eq!(reasons(t).await?, ["first", "second", "third"]);
    Ok(())
});

db_test!(k2_update_is_refused, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let message = "audit_log is append-only: UPDATE refused";
    assert_refused(t, "UPDATE audit_log SET reason = 'x'", message).await?;
    assert_refused(t, &format!("UPDATE audit_log SET reason = reason WHERE id = {}", id(t, 1)), message)
        .await?;
    let other = t.pick(
        format!("UPDATE OR REPLACE audit_log SET id = {} WHERE id = {}", id(t, 1), id(t, 2)),
        "WITH w AS (UPDATE audit_log SET reason = 'x' RETURNING id) SELECT * FROM w".to_owned(),
        "UPDATE IGNORE audit_log SET reason = 'x'".to_owned(),
    );
    assert_refused(t, &other, message).await?;
    if t.backend == DbBackend::Sqlite {
        let sql = format!("UPDATE OR IGNORE audit_log SET id = {} WHERE id = {}", id(t, 1), id(t, 2));
        assert_refused(t, &sql, message).await?;
    }
    Ok(())
});

db_test!(k2_delete_is_refused, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let message = "audit_log is append-only: DELETE refused";
    assert_refused(t, "DELETE FROM audit_log", message).await?;
    assert_refused(t, &format!("DELETE FROM audit_log WHERE id = {}", id(t, 1)), message).await?;
    let other = t.pick(
        "DELETE FROM audit_log WHERE rowid = 1",
        "WITH w AS (DELETE FROM audit_log RETURNING id) SELECT * FROM w",
        "DELETE IGNORE FROM audit_log",
    );
    assert_refused(t, other, message).await
});

db_test!(k2_truncate_is_refused, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    match t.backend {
        // No TRUNCATE; a DELETE of everything takes a short cut that fires no triggers, but only where there are none.
        DbBackend::Sqlite => assert_refused(t, "DELETE FROM audit_log", "DELETE refused").await,
        DbBackend::Postgres => {
            for sql in ["TRUNCATE audit_log", "TRUNCATE TABLE audit_log RESTART IDENTITY CASCADE"] {
                assert_refused(t, sql, "audit_log is append-only: TRUNCATE refused").await?;
            }
            Ok(())
        }
        _ => assert_refused(t, "TRUNCATE TABLE audit_log", "audit_log_is_append_only").await,
    }
});

db_test!(k2_upsert_is_refused, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let update = t.pick(
        " ON CONFLICT (id) DO UPDATE SET reason = excluded.reason",
        " ON CONFLICT (id) DO UPDATE SET reason = excluded.reason",
        " ON DUPLICATE KEY UPDATE reason = VALUES(reason)",
    );
    let sql = put(t, "INSERT INTO", 1, "x") + update;
    assert_refused(t, &sql, "audit_log is append-only: UPDATE refused").await
});

db_test!(k2_replace_is_refused, on(sqlite, mysql), async |t| -> Result<(), DbErr> {
    fill(t).await?;
    match t.backend {
        DbBackend::Sqlite => {
            let message = "audit_log is append-only: REPLACE refused";
            assert_refused(t, &put(t, "INSERT OR REPLACE INTO", 1, "x"), message).await?;
            assert_refused(t, &put(t, "REPLACE INTO", 1, "x"), message).await?;
            // By place, under each of its names, with an id that is new.
            for place in ["seq", "rowid", "oid", "_rowid_"] {
                let sql = put(t, "REPLACE INTO", 3, "x").replacen("(id,", &format!("({place}, id,"), 1);
                let sql = sql.replacen("VALUES (", "VALUES (1, ", 1);
                assert_refused(t, &sql, "audit_log is append-only: explicit seq refused").await?;
            }
            // The whole statement, when only its last row is a duplicate.
            let sql = format!(
                "REPLACE INTO audit_log (id, {REQUIRED}) VALUES ({}, {REQUIRED_VALUES}), ({}, {REQUIRED_VALUES})",
                id(t, 3),
                id(t, 1)
            );
            assert_refused(t, &sql, message).await?;
            // Deletes by REPLACE fire DELETE triggers then; the answer is the same.
            let sql = format!("PRAGMA recursive_triggers = on; {}", put(t, "REPLACE INTO", 1, "x"));
            assert_refused(t, &sql, message).await?;
            // The clause of a statement on another table reaches the INSERTs in its triggers.
            t.execute(&format!(
                "CREATE TABLE account (id integer PRIMARY KEY);
                 CREATE TRIGGER account_log AFTER INSERT ON account BEGIN {}; END",
                put(t, "INSERT INTO", 1, "x")
            ))
            .await?;
            assert_refused(t, "INSERT OR REPLACE INTO account VALUES (1)", message).await?;
            assert_eq!(t.value::<String>("SELECT mark FROM audit_log_replace_guard").await?, "kept");
            // Where nothing is replaced, it is an insert.
            t.execute(&put(t, "REPLACE INTO", 3, "third")).await?;
        }
        // REPLACE is a DELETE and an INSERT.
        _ => {
            let message = "audit_log is append-only: DELETE refused";
            assert_refused(t, &put(t, "REPLACE INTO", 1, "x"), message).await?;
            t.execute(&put(t, "REPLACE INTO", 3, "third")).await?;
        }
    }
    assert_eq!(reasons(t).await?, ["first", "second", "third"]);
    Ok(())
});

db_test!(k2_no_statement_chooses_its_place, async |t| -> Result<(), DbErr> {
    fill(t).await?;
    let at = |verb: &str, place: i64| {
        let sql = put(t, verb, 3, "x").replacen("(id,", "(seq, id,", 1);
        sql.replacen("VALUES (", &format!("VALUES ({place}, "), 1)
    };
    let message = t.pick(
        "explicit seq refused",
        "cannot insert a non-DEFAULT value into column \"seq\"",
        "explicit seq refused",
    );
    // To MySQL 0 means: give me one.
    let zero = t.pick(Some(0), Some(0), None);
    for place in [1, 7, i64::MAX, i64::MIN].into_iter().chain(zero) {
        assert_refused(t, &at("INSERT INTO", place), message).await?;
    }
    // What SQLite's trigger sees as "none given": an entry there would bar every insert after it.
    if t.backend == DbBackend::Sqlite {
        assert_refused(t, &at("INSERT INTO", -1), "audit_log_seq").await?;
        assert_refused(t, &at("REPLACE INTO", -1), "audit_log_seq").await?;
    }
    t.execute(&put(t, "INSERT INTO", 3, "third")).await?;
    let order: Vec<String> = t.column("SELECT reason FROM audit_log ORDER BY seq").await?;
    assert_eq!(order, ["first", "second", "third"]);
    Ok(())
});

db_test!(k2_a_damaged_replace_guard_refuses_more_and_not_less, on(sqlite), async |t| -> Result<(), DbErr> {
    fill(t).await?;
    for damage in
        ["DELETE FROM audit_log_replace_guard", "INSERT INTO audit_log_replace_guard VALUES (1, 'other')"]
    {
        t.execute(damage).await?;
        assert_refused(t, &put(t, "REPLACE INTO", 1, "x"), "REPLACE refused").await?;
        t.execute(&put(t, "INSERT OR IGNORE INTO", 1, "x"))
            .await
            .expect_err("can't be told from REPLACE now");
    }
    // Ordinary writing goes on.
    t.execute(&put(t, "INSERT INTO", 3, "third")).await?;
    assert_eq!(reasons(t).await?, ["first", "second", "third"]);
    Ok(())
});

db_test!(k2_replica_role_is_refused_too, on(postgres), async |t| -> Result<(), DbErr> {
    fill(t).await?;
    for (sql, operation) in [
        ("UPDATE audit_log SET reason = 'x'", "UPDATE"),
        ("DELETE FROM audit_log", "DELETE"),
        ("TRUNCATE audit_log", "TRUNCATE"),
    ] {
        let sql = format!("SET session_replication_role = replica; {sql}");
        assert_refused(t, &sql, &format!("audit_log is append-only: {operation} refused")).await?;
    }
    Ok(())
});

db_test!(k2_refused_even_where_nothing_matches, on(postgres), async |t| -> Result<(), DbErr> {
    // Statement-level triggers; the others have triggers by row only.
    fill(t).await?;
    assert_refused(t, "DELETE FROM audit_log WHERE false", "DELETE refused").await?;
    assert_refused(t, "UPDATE audit_log SET reason = 'x' WHERE false", "UPDATE refused").await?;
    let merge = format!(
        "MERGE INTO audit_log USING (SELECT {} AS id) AS s ON audit_log.id = s.id WHEN MATCHED THEN DELETE",
        id(t, 1)
    );
    if t.value::<String>("SHOW server_version_num").await?.parse::<u32>().is_ok_and(|v| v >= 150_000) {
        assert_refused(t, &merge, "DELETE refused").await?;
    }
    Ok(())
});

db_test!(k2_the_guard_trusts_no_search_path, on(postgres), async |t| -> Result<(), DbErr> {
    fill(t).await?;
    // A session may look where it likes; the guard looks in pg_catalog.
    t.execute("CREATE SCHEMA elsewhere").await?;
    let sql = "SET search_path = elsewhere; DELETE FROM public.audit_log";
    let error = t.execute(sql).await.expect_err(sql).to_string();
    assert!(error.contains("audit_log is append-only: DELETE refused"), "{error}");
    let config =
        "SELECT array_to_string(proconfig, ';') FROM pg_proc WHERE proname = 'audit_log_refuse_change'";
    assert_eq!(t.value::<String>(config).await?, "search_path=pg_catalog, pg_temp");
    Ok(())
});
