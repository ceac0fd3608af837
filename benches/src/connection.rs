//! `AuditConnection` against plain SeaORM, against hooks, and on PostgreSQL against a row trigger.

use std::time::{Duration, Instant};

use audit_seaorm::{Audit, AuditConnection, AuditContext, scope};
use audit_tests::{DbBackend, TestDb, name_of};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, Schema, Statement};

use crate::concurrent;
use crate::entity::{hooked, plain, triggered};
use crate::measure::Pairs;
use crate::processor::{Processor, Used};

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    Create,
    Update,
    Delete,
    InsertMany,
    UpdateMany,
    DeleteMany,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    Plain,
    Audited,
    Trigger,
    /// By hooks, each write in a transaction of its own, where hooks belong.
    Hooks,
}

/// Number of [`Side`]s.
const SIDES: usize = 4;

/// A trigger as one writes it by hand: the changed fields as jsonb, the actor from a setting.
const TRIGGER: &str = "
    CREATE TABLE trigger_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), \
      actor text, table_name text NOT NULL, row_id text NOT NULL, action text NOT NULL, changes jsonb NOT NULL);
    CREATE INDEX ON trigger_log (table_name, row_id, id);
    CREATE INDEX ON trigger_log (actor, id);
    CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE o jsonb; n jsonb; d jsonb;
    BEGIN
      IF TG_OP <> 'INSERT' THEN o := to_jsonb(OLD); END IF;
      IF TG_OP <> 'DELETE' THEN n := to_jsonb(NEW); END IF;
      IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(key, jsonb_build_object('old', o -> key, 'new', value)) INTO d
          FROM jsonb_each(n) WHERE value IS DISTINCT FROM o -> key;
        IF d IS NULL THEN RETURN NULL; END IF;
      ELSE
        d := COALESCE(n, o);
      END IF;
      INSERT INTO trigger_log (actor, table_name, row_id, action, changes)
        VALUES (current_setting('app.actor', true), TG_TABLE_NAME, COALESCE(n, o) ->> 'id', lower(TG_OP), d);
      RETURN NULL;
    END $$;
    CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON triggered_account
      FOR EACH ROW EXECUTE FUNCTION log_change();";

pub(crate) async fn run(backend: DbBackend, rounds: usize) {
    let t = TestDb::new(backend).await;
    create_table(&t, plain::Entity).await;
    create_table(&t, hooked::Entity).await;
    let mut sides = vec![Side::Plain, Side::Audited];
    if backend == DbBackend::Postgres {
        create_table(&t, triggered::Entity).await;
        t.db.execute_unprepared(TRIGGER).await.expect("the trigger");
        sides.push(Side::Trigger);
    }
    sides.push(Side::Hooks);
    let audit = Audit::builder().build().expect("an audit");
    let db = audit.connect(t.db.clone()).with_context(context());

    println!(
        "| {}: one connection | audited / plain | trigger / plain | hooks in a transaction / plain | processor time of a row, program + server, µs: {} |",
        name_of(backend),
        sides.iter().map(|side| format!("{side:?}").to_lowercase()).collect::<Vec<_>>().join("; ")
    );
    println!("|---|---|---|---|---|");
    let singles = [("create", Work::Create), ("update", Work::Update), ("delete", Work::Delete)];
    measure(&t, &db, &sides, &singles, 100, false, rounds).await;
    let apart = ["create", "update", "delete"].map(|name| format!("{name}, each in a transaction of yours"));
    let apart: Vec<_> = apart.iter().zip(singles).map(|(name, (_, work))| (name.as_str(), work)).collect();
    measure(&t, &db, &sides, &apart, 100, true, rounds).await;
    if std::env::var_os("SINGLE").is_some() {
        return;
    }
    if backend == DbBackend::Postgres {
        concurrent::run(&t, &audit, rounds).await;
    }
    // They see none of what follows.
    sides.pop();
    let bulks = [("insert_many", Work::InsertMany)];
    measure(&t, &db, &sides, &bulks, 1_000, false, rounds).await;
    let bulks = [("update_many", Work::UpdateMany), ("delete_many", Work::DeleteMany)];
    measure(&t, &db, &sides, &bulks, 20_000, false, (rounds / 4).max(3)).await;
    pass_through(&t, &db, rounds).await;
    if backend == DbBackend::Postgres {
        size(&audit).await;
    }
    println!();
}

async fn measure(
    t: &TestDb,
    db: &AuditConnection,
    sides: &[Side],
    works: &[(&str, Work)],
    count: i64,
    in_transactions: bool,
    rounds: usize,
) {
    let bulk = count > 100;
    let mut audited: Vec<Pairs> = works.iter().map(|_| Pairs::default()).collect();
    let mut trigger: Vec<Pairs> = works.iter().map(|_| Pairs::default()).collect();
    let mut hooks: Vec<Pairs> = works.iter().map(|_| Pairs::default()).collect();
    let mut used: Vec<[Used; SIDES]> = works.iter().map(|_| Default::default()).collect();
    let server = match t.db.get_database_backend() {
        DbBackend::Postgres => "postgres",
        DbBackend::MySql => "mariadbd",
        // It is part of the program.
        _ => "",
    };
    for round in 0..rounds {
        let mut ids: [Vec<i64>; SIDES] = Default::default();
        if bulk {
            fill(t, sides, works, count).await;
        }
        for (at, (_, work)) in works.iter().enumerate() {
            let mut times = [Duration::ZERO; SIDES];
            for turn in 0..sides.len() {
                let side = sides[(round + turn) % sides.len()];
                let ids = &mut ids[side as usize];
                let (before, start) = (Processor::now(server), Instant::now());
                match (side, in_transactions) {
                    (Side::Plain, false) => plain::run(&t.db, *work, count, ids).await,
                    (Side::Plain, true) => plain::run_apart(&t.db, *work, count, ids).await,
                    (Side::Audited, false) => hooked::run(db, *work, count, ids).await,
                    (Side::Audited, true) => hooked::run_apart(db, *work, count, ids).await,
                    (Side::Trigger, false) => triggered::run(&t.db, *work, count, ids).await,
                    (Side::Trigger, true) => triggered::run_apart(&t.db, *work, count, ids).await,
                    (Side::Hooks, _) => scope(context(), hooked::run_apart(&t.db, *work, count, ids)).await,
                }
                .expect("the work");
                times[side as usize] = start.elapsed();
                used[at][side as usize].push(Processor::now(server).since(before));
            }
            audited[at].push(times[0], times[1]);
            trigger[at].push(times[0], times[2]);
            hooks[at].push(times[0], times[3]);
        }
    }
    for (at, (name, _)) in works.iter().enumerate() {
        let name = if bulk { format!("{name}, {count} rows") } else { (*name).to_owned() };
        let per = if bulk { 1 } else { 100 };
        let (base, with_audit) = audited[at].each(per);
        let unit = |time: Duration| {
            if bulk {
                format!("{:.1} ms", time.as_secs_f64() * 1e3)
            } else {
                format!("{} µs", time.as_micros())
            }
        };
        let compared = |side: Side, pairs: &Pairs| match sides.contains(&side) {
            true => format!("{}, {}", pairs.ratio(), unit(pairs.each(per).1)),
            false => "-".to_owned(),
        };
        let (by_trigger, by_hooks) =
            (compared(Side::Trigger, &trigger[at]), compared(Side::Hooks, &hooks[at]));
        let used: Vec<String> = sides
            .iter()
            .map(|side| used[at][*side as usize].each(u32::try_from(count).unwrap_or(1)))
            .collect();
        println!(
            "| {name} | {}, {} -> {} | {by_trigger} | {by_hooks} | {} |",
            audited[at].ratio(),
            unit(base),
            unit(with_audit),
            used.join("; ")
        );
    }
}

/// Empties the tables, and fills them if there have to be rows.
async fn fill(t: &TestDb, sides: &[Side], works: &[(&str, Work)], count: i64) {
    for side in sides {
        let mut none = Vec::new();
        let table = match side {
            Side::Plain => "plain_account",
            Side::Audited => "hooked_account",
            Side::Trigger => "triggered_account",
            Side::Hooks => continue,
        };
        t.execute(&format!("DELETE FROM {table}")).await.expect("an empty table");
        if !matches!(works[0].1, Work::InsertMany) {
            for _ in 0..count / 1_000 {
                match side {
                    Side::Plain => plain::run(&t.db, Work::InsertMany, 1_000, &mut none).await,
                    Side::Audited => hooked::run(&t.db, Work::InsertMany, 1_000, &mut none).await,
                    Side::Trigger => triggered::run(&t.db, Work::InsertMany, 1_000, &mut none).await,
                    Side::Hooks => Ok(()),
                }
                .expect("the rows");
            }
        }
        if t.db.get_database_backend() == DbBackend::Postgres {
            t.execute(&format!("VACUUM ANALYZE {table}")).await.expect("a clean table");
        }
    }
}

/// Statements on a table that isn't audited.
async fn pass_through(t: &TestDb, db: &AuditConnection, rounds: usize) {
    let mut pairs = Pairs::default();
    for round in 0..rounds {
        let mut times = [Duration::ZERO; 2];
        for turn in 0..2 {
            let side = (round + turn) % 2;
            let mut ids = Vec::new();
            let start = Instant::now();
            let done: Result<(), DbErr> = async {
                for work in [Work::Create, Work::Update, Work::Delete] {
                    if side == 0 {
                        plain::run(&t.db, work, 50, &mut ids).await?;
                    } else {
                        plain::run(db, work, 50, &mut ids).await?;
                    }
                }
                Ok(())
            }
            .await;
            done.expect("the work");
            times[side] = start.elapsed();
        }
        pairs.push(times[0], times[1]);
    }
    let (base, passed) = pairs.each(150);
    println!(
        "| a table that isn't audited | {}, {} -> {} µs | - | - | |",
        pairs.ratio(),
        base.as_micros(),
        passed.as_micros()
    );
}

/// What an entry of an update of three fields takes on disk, indexes included.
async fn size(audit: &Audit) {
    let t = TestDb::new(DbBackend::Postgres).await;
    create_table(&t, hooked::Entity).await;
    let db = audit.connect(t.db.clone()).with_context(context());
    let mut ids = Vec::new();
    hooked::run(&db, Work::Create, 10, &mut ids).await.expect("the rows");
    let mut all: Vec<i64> = ids.iter().copied().cycle().take(10_000).collect();
    hooked::run(&db, Work::Update, 10_000, &mut all).await.expect("the updates");
    let query = "SELECT pg_total_relation_size('audit_log') / count(*) AS bytes FROM audit_log";
    let row = t.db.query_one_raw(Statement::from_string(DbBackend::Postgres, query)).await.expect("the size");
    let bytes: i64 = row.and_then(|row| row.try_get("", "bytes").ok()).unwrap_or(0);
    println!("| bytes of an entry, 3 changed fields | {bytes} | - | - | |");
}

/// Who does it, over the connection and by hooks.
fn context() -> AuditContext {
    AuditContext::user(1).named("Ann").tenant("acme")
}

async fn create_table<E: EntityTrait>(t: &TestDb, entity: E) {
    let table = Schema::new(t.db.get_database_backend()).create_table_from_entity(entity);
    t.db.execute(&table).await.expect("the table");
}
