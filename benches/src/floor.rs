//! The least that a recorded write can cost: the goals of the connection beside a row of two columns, written in as few trips as the
//! database allows, and beside the connection without the indexes that questions need.
//!
//! The least says what has changed and nothing else: not who, where or for what; it has no hash, and no secret is looked for.

mod bulk;

use std::time::{Duration, Instant};

use audit_seaorm::{Audit, AuditConnection, AuditContext, Entry, Resource};
use audit_tests::{DbBackend, TestDb, name_of};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, Database, DbErr, EntityTrait, FromQueryResult, QuerySelect,
    QueryTrait, Schema, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, Value,
};

use crate::connection::Work;
use crate::entity::{hooked, plain};
use crate::measure::Pairs;

/// Writes of one round.
const COUNT: i64 = 100;

const WORKS: [Work; 3] = [Work::Create, Work::Update, Work::Delete];

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    /// By a trigger, on SQLite: nothing but the statement is sent.
    Trigger,
    Least,
    /// The least, but for the row: it is one of `audit_log`, with all its indexes. Nothing of it is computed.
    Row,
    /// The connection, but `audit_log` has the index of its key and that of its ids alone.
    Unindexed,
    Connection,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "nothing",
            Self::Trigger => "what changed, by a trigger",
            Self::Least => "what changed",
            Self::Row => "an entry's row, of which nothing is computed",
            Self::Unindexed => "an entry, without the indexes of resource, actor and tenant",
            Self::Connection => "an entry",
        }
    }

    /// The part of PostgreSQL's statement that writes the row of the log; its values are added to the others. `own` makes an
    /// entry's id of the value that is given for it.
    fn insert(
        self,
        work: Work,
        id: i64,
        changes: &str,
        own: impl Fn(String) -> String,
        values: &mut Vec<Value>,
    ) -> String {
        if self != Self::Row {
            return format!("INSERT INTO least_log (changes) SELECT {changes} FROM n");
        }
        // What the row is and what it changed, the database has.
        let expressions = COLUMNS.iter().zip(entry(work, id, String::new())).map(|(column, value)| {
            let given = || {
                values.push(value);
                format!("${}", values.len())
            };
            match *column {
                "resource_id" => "n.id::text".to_owned(),
                "changes" => changes.to_owned(),
                "id" => own(given()),
                _ => given(),
            }
        });
        let expressions = expressions.collect::<Vec<_>>().join(", ");
        format!("INSERT INTO audit_log ({}) SELECT {expressions} FROM n", COLUMNS.join(", "))
    }
}

/// The changed row as JSON, and under `old` what an update has found.
const IN_ONE: [&str; 2] = [
    "UPDATE plain_account AS n SET owner = $1, balance = $2, rating = $3 FROM plain_account AS o \
     WHERE o.id = n.id AND n.id = $4 RETURNING n.*, concat('{\"owner\":{\"old\":', to_json(o.owner), ',\"new\":', to_json(n.owner), \
     '},\"balance\":{\"old\":', o.balance, ',\"new\":', n.balance, '},\"rating\":{\"old\":', o.rating, ',\"new\":', n.rating, '}}') AS changes",
    "DELETE FROM plain_account AS n WHERE id = $1 RETURNING n.id, row_to_json(n)::text AS changes",
];

/// What a trigger of SQLite says of a row.
const ROW: &str = "json_object('owner', $.owner, 'email', $.email, 'city', $.city, 'balance', $.balance, 'overdraft', $.overdraft, \
                   'active', $.active, 'rating', $.rating, 'opened', $.opened, 'reference', hex($.reference))";

pub(crate) async fn run(backend: DbBackend, rounds: usize) {
    if backend == DbBackend::Sqlite {
        compare(backend, Some(1), rounds).await;
    }
    compare(backend, None, rounds).await;
    if backend == DbBackend::Postgres {
        bulk::compare((rounds / 2).max(3)).await;
    }
}

/// With a pool of so many connections; of ten, if nothing is said.
async fn compare(backend: DbBackend, pool: Option<u32>, rounds: usize) {
    let ways = match backend {
        DbBackend::Sqlite => {
            vec![Way::Plain, Way::Trigger, Way::Least, Way::Row, Way::Unindexed, Way::Connection]
        }
        _ => vec![Way::Plain, Way::Least, Way::Row, Way::Unindexed, Way::Connection],
    };
    let mut logs = Vec::with_capacity(ways.len());
    for way in &ways {
        logs.push(Log::new(backend, *way, pool).await);
    }
    let over = pool.map_or_else(String::new, |_| " over a pool of one connection".to_owned());
    println!("| {}{over}: what is written beside the row | create | update | delete |", name_of(backend));
    println!("|---|---|---|---|");
    let mut pairs: Vec<[Pairs; 3]> = ways.iter().map(|_| Default::default()).collect();
    for round in 0..=rounds {
        let mut ids: Vec<Vec<i64>> = vec![Vec::new(); ways.len()];
        for (at, work) in WORKS.into_iter().enumerate() {
            let mut times = vec![Duration::ZERO; ways.len()];
            for turn in 0..ways.len() {
                let way = (round + turn) % ways.len();
                let start = Instant::now();
                logs[way].work(work, &mut ids[way]).await.expect("the work");
                times[way] = start.elapsed();
            }
            // The first round is for the plans and the caches.
            if round > 0 {
                for (pairs, time) in pairs.iter_mut().zip(&times) {
                    pairs[at].push(times[0], *time);
                }
            }
        }
    }
    for (way, pairs) in ways.iter().zip(&pairs).skip(1) {
        let cells: Vec<String> = pairs
            .iter()
            .map(|pairs| {
                let (base, each) = pairs.each(COUNT.unsigned_abs().try_into().unwrap_or(1));
                format!("{}, {} -> {} µs", pairs.ratio(), base.as_micros(), each.as_micros())
            })
            .collect();
        println!("| {} | {} |", way.name(), cells.join(" | "));
    }
    println!();
}

/// A database of its own for each way, so that no table is larger than the others'.
struct Log {
    t: TestDb,
    way: Way,
    audited: AuditConnection,
}

impl Log {
    async fn new(backend: DbBackend, way: Way, pool: Option<u32>) -> Self {
        let mut t = TestDb::new(backend).await;
        if let Some(most) = pool {
            let mut options = t.options();
            options.max_connections(most);
            t.db = Database::connect(options).await.expect("the pool");
        }
        let schema = Schema::new(backend);
        t.db.execute(&schema.create_table_from_entity(plain::Entity)).await.expect("the table");
        t.db.execute(&schema.create_table_from_entity(hooked::Entity)).await.expect("the table");
        let number = match backend {
            DbBackend::Postgres => "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            DbBackend::MySql => "bigint AUTO_INCREMENT PRIMARY KEY",
            _ => "integer PRIMARY KEY",
        };
        t.execute(&format!("CREATE TABLE least_log (seq {number}, changes text NOT NULL)"))
            .await
            .expect("the log");
        match way {
            Way::Trigger => {
                let row = |name: &str| ROW.replace("$.", &format!("{name}."));
                let both = format!("json_object('old', {}, 'new', {})", row("OLD"), row("NEW"));
                for (event, changes) in [("INSERT", row("NEW")), ("UPDATE", both), ("DELETE", row("OLD"))] {
                    let trigger = format!(
                        "CREATE TRIGGER log_{event} AFTER {event} ON plain_account BEGIN INSERT INTO least_log (changes) VALUES ({changes}); END"
                    );
                    t.db.execute_unprepared(&trigger).await.expect("the trigger");
                }
            }
            Way::Unindexed => {
                for name in ["resource", "actor", "tenant"] {
                    let on = if backend == DbBackend::MySql { " ON audit_log" } else { "" };
                    t.execute(&format!("DROP INDEX idx_audit_log_{name}{on}")).await.expect("no index");
                }
            }
            Way::Plain | Way::Least | Way::Row | Way::Connection => {}
        }
        let audit = Audit::builder().build().expect("an audit");
        let audited =
            audit.connect(t.db.clone()).with_context(AuditContext::user(1).named("Ann").tenant("acme"));
        Self { t, way, audited }
    }

    async fn work(&self, work: Work, ids: &mut Vec<i64>) -> Result<(), DbErr> {
        match self.way {
            Way::Plain | Way::Trigger => plain::run(&self.t.db, work, COUNT, ids).await,
            Way::Unindexed | Way::Connection => hooked::run(&self.audited, work, COUNT, ids).await,
            Way::Least | Way::Row => {
                let rows: Vec<(i64, i64)> = match work {
                    Work::Create => (0..COUNT).map(|n| (n, 0)).collect(),
                    _ => (0..).zip(std::mem::take(ids)).collect(),
                };
                for (n, id) in rows {
                    let id = match self.t.db.get_database_backend() {
                        DbBackend::Postgres => self.in_one(work, n, id).await?,
                        _ => self.in_several(work, n, id).await?,
                    };
                    ids.extend(id);
                }
                Ok(())
            }
        }
    }

    /// In one statement; the number of the row that there is then.
    async fn in_one(&self, work: Work, n: i64, id: i64) -> Result<Option<i64>, DbErr> {
        let backend = DbBackend::Postgres;
        let (changed, values, changes) = match work {
            Work::Create => {
                let mut insert = plain::Entity::insert(plain::row(n)).into_query();
                let statement = backend.build(insert.returning_all());
                (
                    statement.sql,
                    statement.values.map_or_else(Vec::new, |values| values.0),
                    "row_to_json(n)::text",
                )
            }
            Work::Update => {
                let change = plain::change(id, n);
                let values =
                    [change.owner.into_value(), change.balance.into_value(), change.rating.into_value()];
                let values = values.into_iter().flatten().chain([Value::from(id)]).collect();
                (IN_ONE[0].to_owned(), values, "changes")
            }
            _ => (IN_ONE[1].to_owned(), vec![Value::from(id)], "changes"),
        };
        let mut values: Vec<Value> = values;
        let insert = self.way.insert(work, id, changes, |value| value, &mut values);
        let sql = format!("WITH n AS ({changed}), l AS ({insert}) SELECT * FROM n");
        let row = self.t.db.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        Ok(match (work, row) {
            (Work::Create | Work::Update, Some(row)) => Some(plain::Model::from_query_result(&row, "")?.id),
            _ => None,
        })
    }

    /// In a transaction: the row as it was (but on SQLite), what SeaORM sends, the row of the log.
    async fn in_several(&self, work: Work, n: i64, id: i64) -> Result<Option<i64>, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let txn = self.t.db.begin_with_options(options).await?;
        let backend = txn.get_database_backend();
        let old = match (work, backend) {
            // Triggers see it without a question of its own.
            (Work::Create, _) | (_, DbBackend::Sqlite) => None,
            _ => plain::Entity::find_by_id(id).lock_exclusive().one(&txn).await?,
        };
        let new = match work {
            Work::Create => Some(plain::row(n).insert(&txn).await?),
            Work::Update => Some(plain::change(id, n).update(&txn).await?),
            _ => {
                plain::key(id).delete(&txn).await?;
                None
            }
        };
        let changes = serde_json::json!({ "old": old, "new": new }).to_string();
        let (insert, values) = if self.way == Way::Row {
            let id = new.as_ref().map_or(id, |row| row.id);
            let marks = ["?"; COLUMNS.len()].join(", ");
            (
                format!("INSERT INTO audit_log ({}) VALUES ({marks})", COLUMNS.join(", ")),
                entry(work, id, changes),
            )
        } else {
            ("INSERT INTO least_log (changes) VALUES (?)".to_owned(), vec![changes.into()])
        };
        txn.execute_raw(Statement::from_sql_and_values(backend, insert, values)).await?;
        txn.commit().await?;
        Ok(new.map(|row| row.id))
    }
}

/// The columns of an entry that have values.
const COLUMNS: [&str; 17] = [
    "id",
    "timestamp",
    "tenant",
    "actor_type",
    "actor_id",
    "actor_name",
    "action",
    "resource_type",
    "resource_id",
    "status",
    "severity",
    "changes",
    "changed_fields",
    "classification",
    "is_sensitive",
    "integrity_hash",
    "transaction_id",
];

/// The values of [`COLUMNS`].
fn entry(work: Work, id: i64, changes: String) -> Vec<Value> {
    let (action, severity) = match work {
        Work::Create => ("create", "low"),
        Work::Update => ("update", "low"),
        _ => ("delete", "medium"),
    };
    let entry = Entry::new(chrono::Utc::now(), action, Resource::new("hooked_account"));
    let text = |text: &str| Value::from(text);
    vec![
        entry.id.into(),
        entry.timestamp.into(),
        text("acme"),
        text("user"),
        text("1"),
        text("Ann"),
        text(action),
        text("hooked_account"),
        id.to_string().into(),
        text("success"),
        text(severity),
        changes.into(),
        text(r#"["owner","balance","rating"]"#),
        text("internal"),
        false.into(),
        vec![7_u8; 32].into(),
        entry.id.to_string().into(),
    ]
}
