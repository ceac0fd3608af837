//! The least that many recorded rows can cost, on PostgreSQL: the rows of the log in the statement of the change.

use std::time::{Duration, Instant};

use audit_tests::DbBackend;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryTrait, Statement, Value};

use super::{Log, Way};
use crate::connection::Work;
use crate::entity::{hooked, plain};
use crate::measure::Pairs;

const WORKS: [(Work, i64); 3] =
    [(Work::InsertMany, 1_000), (Work::UpdateMany, 20_000), (Work::DeleteMany, 20_000)];

const UPDATE: &str = "UPDATE plain_account AS n SET balance = n.balance + 1, overdraft = n.overdraft + 1 FROM plain_account AS o \
    WHERE o.id = n.id AND n.id > 0 RETURNING n.*, concat('{\"balance\":{\"old\":', o.balance, ',\"new\":', n.balance, \
    '},\"overdraft\":{\"old\":', o.overdraft, ',\"new\":', n.overdraft, '}}') AS changes";
const DELETE: &str = "DELETE FROM plain_account AS n RETURNING n.id, row_to_json(n)::text AS changes";

pub(super) async fn compare(rounds: usize) {
    let ways = [Way::Plain, Way::Least, Way::Row, Way::Connection];
    let mut logs = Vec::with_capacity(ways.len());
    for way in ways {
        logs.push(Log::new(DbBackend::Postgres, way, None).await);
    }
    println!(
        "| postgres: what is written beside many rows | insert of 1000 | update of 20000 | delete of 20000 |"
    );
    println!("|---|---|---|---|");
    let mut pairs: Vec<[Pairs; 3]> = ways.iter().map(|_| Default::default()).collect();
    for round in 0..=rounds {
        for (at, (work, count)) in WORKS.into_iter().enumerate() {
            let mut times = [Duration::ZERO; 4];
            for turn in 0..ways.len() {
                let way = (round + turn) % ways.len();
                if matches!(work, Work::UpdateMany) {
                    logs[way].fill(count).await.expect("the rows");
                }
                let start = Instant::now();
                logs[way].many(work, count).await.expect("the work");
                times[way] = start.elapsed();
            }
            if round > 0 {
                for (pairs, time) in pairs.iter_mut().zip(&times) {
                    pairs[at].push(times[0], *time);
                }
            }
        }
    }
    for (way, pairs) in ways.iter().zip(&pairs).skip(1) {
        let cells = pairs.iter().map(|pairs| {
            let (base, each) = pairs.each(1);
            let milli = |time: Duration| time.as_secs_f64() * 1_000.0;
            format!("{}, {:.1} -> {:.1} ms", pairs.ratio(), milli(base), milli(each))
        });
        println!("| {} | {} |", way.name(), cells.collect::<Vec<_>>().join(" | "));
    }
    println!();
}

impl Log {
    /// Makes the table hold so many rows, unrecorded.
    async fn fill(&self, count: i64) -> Result<(), DbErr> {
        let (db, mut none) = (&self.t.db, Vec::new());
        db.execute_unprepared("TRUNCATE plain_account, hooked_account").await?;
        for _ in 0..count / 1_000 {
            match self.way {
                Way::Connection => hooked::run(db, Work::InsertMany, 1_000, &mut none).await?,
                _ => plain::run(db, Work::InsertMany, 1_000, &mut none).await?,
            }
        }
        Ok(())
    }

    async fn many(&self, work: Work, count: i64) -> Result<(), DbErr> {
        let mut none = Vec::new();
        match self.way {
            Way::Plain => plain::run(&self.t.db, work, count, &mut none).await,
            Way::Connection => hooked::run(&self.audited, work, count, &mut none).await,
            _ => self.many_in_one(work).await,
        }
    }

    async fn many_in_one(&self, work: Work) -> Result<(), DbErr> {
        let backend = DbBackend::Postgres;
        let (changed, mut values, changes) = match work {
            Work::InsertMany => {
                let mut insert = plain::Entity::insert_many((0..1_000).map(plain::row)).into_query();
                let statement = backend.build(insert.returning_all());
                let values = statement.values.map_or_else(Vec::new, |values| values.0);
                (statement.sql, values, "row_to_json(n)::text")
            }
            Work::UpdateMany => (UPDATE.to_owned(), Vec::<Value>::new(), "changes"),
            _ => (DELETE.to_owned(), Vec::new(), "changes"),
        };
        // Each row's entry is another one.
        let own =
            |id: String| format!("(substr({id}::uuid::text, 1, 24) || lpad(to_hex(n.id), 12, '0'))::uuid");
        let insert = self.way.insert(work, 0, changes, own, &mut values);
        let sql = format!("WITH n AS ({changed}), l AS ({insert}) SELECT count(*) FROM n");
        self.t.db.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await.map(|_| ())
    }
}
