//! What questions to the log cost as it grows: the same question to few and to many entries, of the same thirty days.

use std::time::{Duration, Instant};

use audit_seaorm::entity::audit_log::{Column, Entity};
use audit_seaorm::stats::{Period, Rollups, StatisticsRequest};
use audit_seaorm::{Error, LogFilter, LogReader, PageRequest, Resource, Status, get_audit_trail};
use audit_tests::{DbBackend, TestDb, name_of};
use chrono::{FixedOffset, Utc};
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter};

use crate::measure::Pairs;

/// The larger log on PostgreSQL; on SQLite a tenth of it. The smaller one has a hundredth of the former.
pub(crate) const ENTRIES: u64 = 5_000_000;

/// Times that a question is asked in a round, each time about something else.
const COUNT: u32 = 5;

/// Entries that no worker has counted yet.
const TAIL: u64 = 1_000;

const ACTORS: u64 = 500; // as in `ACTOR`
const TENANTS: u64 = 50;

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Question {
    First(Filter),
    Uncounted(Filter),
    Entry,
    Trail,
    Timeline,
    Next { pages: usize },
    Statistics { tenant: bool },
}

/// By what.
#[derive(Clone, Copy, Debug)]
enum Filter {
    None,
    Resource,
    Type,
    RareType,
    Actor,
    Tenant,
    Day,
    LongAgo,
    Module,
    Failed,
    Action,
    Search,
}

/// The question, what it is called, and the ratio that it must not exceed, if there is one.
const QUESTIONS: [(&str, Question, Option<f64>); 20] = [
    ("first page of all", Question::First(Filter::None), Some(1.5)),
    ("first page of one resource (index)", Question::First(Filter::Resource), Some(1.5)),
    ("one entry by its id (index)", Question::Entry, Some(1.5)),
    ("first page of one actor (index)", Question::First(Filter::Actor), Some(1.5)),
    ("first page of one tenant (index)", Question::First(Filter::Tenant), Some(1.5)),
    ("the same, not counted", Question::Uncounted(Filter::Tenant), Some(1.5)),
    ("first page of the last day (index)", Question::First(Filter::Day), Some(1.5)),
    ("first page of a day 20 days ago (index)", Question::First(Filter::LongAgo), Some(1.5)),
    ("trail of one resource", Question::Trail, Some(1.5)),
    ("timeline of two resources", Question::Timeline, Some(1.5)),
    ("next page by cursor, all", Question::Next { pages: 1 }, Some(1.5)),
    ("tenth page by cursor, one tenant", Question::Next { pages: 10 }, Some(1.5)),
    ("statistics of 30 days", Question::Statistics { tenant: false }, Some(2.0)),
    ("statistics of 30 days, one tenant", Question::Statistics { tenant: true }, Some(2.0)),
    ("first page of a sort of resources that is common (no index)", Question::First(Filter::Type), None),
    ("first page of a sort of resources that is rare (no index)", Question::First(Filter::RareType), None),
    ("first page of one module (no index)", Question::First(Filter::Module), None),
    ("first page of what failed (no index)", Question::First(Filter::Failed), None),
    ("first page of one action (no index)", Question::First(Filter::Action), None),
    ("first page of a text that is common (no index)", Question::First(Filter::Search), None),
];

/// `entries`: of the larger log on PostgreSQL.
pub(crate) async fn run(backend: DbBackend, rounds: usize, entries: u64) {
    let large = match backend {
        DbBackend::Postgres => entries,
        DbBackend::Sqlite => entries / 10,
        // The documents name no goal for it.
        _ => return,
    };
    let (small, large) = (Log::fill(backend, entries / 100).await, Log::fill(backend, large).await);
    println!(
        "| {}: {} entries, and {} | larger / smaller | each, ms | at most |",
        name_of(backend),
        small.entries,
        large.entries
    );
    println!("|---|---|---|---|");
    for (name, question, limit) in &QUESTIONS {
        let mut pairs = Pairs::default();
        for round in 0..=rounds {
            let mut times = [Duration::ZERO; 2];
            for turn in 0..2 {
                let side = (round + turn) % 2;
                let log = [&small, &large][side];
                times[side] = log.time(*question, round as u64).await.expect("an answer");
            }
            // The first is for the plans and the caches.
            if round > 0 {
                pairs.push(times[0], times[1]);
            }
        }
        let (fewer, more) = pairs.each(COUNT);
        let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1_000.0);
        let ratio = pairs.ratio();
        let (goal, missed) = match limit {
            Some(limit) => (format!("{limit}"), if ratio.median > *limit { " (missed)" } else { "" }),
            None => (String::new(), ""),
        };
        println!("| {name} | {ratio} | {} -> {} | {goal}{missed} |", ms(fewer), ms(more));
    }
    println!();
}

struct Log {
    t: TestDb,
    entries: u64,
}

impl Log {
    async fn fill(backend: DbBackend, entries: u64) -> Self {
        let t = TestDb::new(backend).await;
        let start = Instant::now();
        t.execute(&insert(backend, 0, entries - TAIL, entries)).await.expect("the entries");
        let filled = start.elapsed();
        if backend == DbBackend::Postgres {
            t.execute("VACUUM ANALYZE audit_log").await.expect("statistics of the table");
        }
        let start = Instant::now();
        let done = Rollups::new().run_once(&t.db).await.expect("roll-ups");
        let counted = start.elapsed();
        t.execute(&insert(backend, entries - TAIL, entries, entries)).await.expect("the newest");
        if backend == DbBackend::Postgres {
            t.execute("VACUUM ANALYZE audit_rollup").await.expect("statistics of the table");
        }
        eprintln!(
            "{}: {entries} entries made in {:.0} s, counted at {:.0}/s",
            name_of(backend),
            filled.as_secs_f64(),
            done.entries as f64 / counted.as_secs_f64(),
        );
        Self { t, entries }
    }

    /// How long it takes to ask it a few times.
    async fn time(&self, question: Question, round: u64) -> Result<Duration, Error> {
        let mut time = Duration::ZERO;
        for n in 0..u64::from(COUNT) {
            // The same actors, tenants and times in both; spread by a prime.
            let pick = (round * u64::from(COUNT) + n) * 7_919;
            time += self.ask(&self.t.db, question, pick).await?;
        }
        Ok(time)
    }

    async fn ask(&self, db: &DatabaseConnection, question: Question, pick: u64) -> Result<Duration, Error> {
        let reader = LogReader::new();
        // Those whose number ends with 999 are of the rare sort.
        let id = |n: u64| Some(n % (self.entries / 10)).filter(|id| id % 1_000 != 999).unwrap_or_default();
        let resource = Resource::new("Thing").id(id(pick));
        let page = match question {
            Question::Next { .. } => PageRequest::new().page_size(10).without_count(),
            Question::Uncounted(_) => PageRequest::new().without_count(),
            // As it is asked by default: counted, up to 1,000.
            _ => PageRequest::new(),
        };
        let query = |error: sea_orm::DbErr| panic!("{error}");
        let start = Instant::now();
        match question {
            Question::First(filter) | Question::Uncounted(filter) => {
                let filter = filter.of(pick, &resource);
                let page = reader.page(db, &filter, &page).await?;
                let time = start.elapsed();
                assert!(!page.rows.is_empty(), "{filter:?}");
                return Ok(time);
            }
            Question::Entry => {
                let seq = i64::try_from(pick % self.entries + 1).unwrap_or(1);
                let entry = Entity::find().filter(Column::Seq.eq(seq)).one(db).await.expect("an answer");
                let id = entry.expect("an entry").id;
                let start = Instant::now();
                assert!(reader.entry(db, id).await?.is_some());
                return Ok(start.elapsed());
            }
            Question::Trail => {
                let id = resource.id.unwrap_or_default();
                let rows = get_audit_trail("Thing", id).all_of(db).await.unwrap_or_else(query);
                assert_eq!(rows, 10);
            }
            Question::Timeline => {
                let other = Resource::new("Thing").id(id(pick + 2));
                let rows = reader.timeline(&[resource, other]).all_of(db).await.unwrap_or_else(query);
                assert_eq!(rows, 20);
            }
            Question::Next { pages } => {
                let filter = if pages == 1 { LogFilter::new() } else { Filter::Tenant.of(pick, &resource) };
                let mut request = page.clone();
                for _ in 0..pages {
                    let cursor = reader.page(db, &filter, &request).await?.pagination.next_cursor;
                    request = page.clone().cursor(cursor.expect("another page"));
                }
                let start = Instant::now();
                reader.page(db, &filter, &request).await?;
                return Ok(start.elapsed());
            }
            Question::Statistics { tenant } => {
                let reader =
                    if tenant { LogReader::for_tenant(format!("t{}", pick % TENANTS)) } else { reader };
                let zone = FixedOffset::east_opt(19_800).unwrap_or_else(|| unreachable!("an offset"));
                let period = Period::last_days(30, &zone)?;
                let statistics = reader.statistics(db, &StatisticsRequest::new(period)).await?;
                assert!(statistics.statistics.total_events > 0);
            }
        }
        Ok(start.elapsed())
    }
}

trait AllOf {
    async fn all_of(self, db: &DatabaseConnection) -> Result<usize, sea_orm::DbErr>;
}

impl AllOf for sea_orm::Select<audit_seaorm::entity::audit_log::Entity> {
    async fn all_of(self, db: &DatabaseConnection) -> Result<usize, sea_orm::DbErr> {
        Ok(self.all(db).await?.len())
    }
}

impl Filter {
    fn of(self, pick: u64, resource: &Resource) -> LogFilter {
        let all = LogFilter::new();
        match self {
            Self::None => all,
            Self::Type => all.entity("Thing"),
            Self::RareType => all.entity("Rarity"),
            Self::Resource => all.entity("Thing").entity_id(resource.id.clone().unwrap_or_default()),
            Self::Actor => all.actor(pick % ACTORS),
            Self::Tenant => all.tenant(format!("t{}", pick % TENANTS)),
            Self::Day => all.last_days(1),
            Self::LongAgo => {
                let end = Utc::now() - chrono::TimeDelta::days(20);
                all.start_date(end - chrono::TimeDelta::days(1)).end_date(end)
            }
            Self::Module => all.module(format!("module {}", pick % 10)),
            Self::Failed => all.status(Status::Failed),
            Self::Action => all.action("delete"),
            Self::Search => all.search("USER 7"),
        }
    }
}

/// Makes the entries from `first` up to `last` of so many, which are spread evenly over thirty days: one of 500 actors, of 50 tenants, of
/// ten modules; ten about each resource, one of a thousand about a rare sort of them. Every actor has an address and a program;
/// one entry of twenty is a request.
pub(crate) fn insert(backend: DbBackend, first: u64, last: u64, of: u64) -> String {
    let (with, numbers) = numbers(backend, first, last);
    let (id, time) = id_and_time(backend, of);
    // Primes, so that nothing goes along with anything else.
    format!(
        "INSERT INTO audit_log (id, timestamp, tenant, actor_id, actor_type, actor_name, actor_email, ip_address, user_agent, action, \
           module, resource_type, resource_id, resource_name, status, severity, changes, changed_fields, metadata, classification, \
           is_sensitive) \
         {with}SELECT {id}, {time}, 't' || (n * 7 % {TENANTS}), {ACTOR}, 'user', 'User ' || {ACTOR}, \
           'user' || {ACTOR} || '@example.org', '10.0.0.' || (n * 13 % 250), 'Browser ' || (n * 13 % 5), \
           CASE n * 11 % 20 WHEN 0 THEN 'delete' WHEN 1 THEN 'create' WHEN 2 THEN 'api_access' ELSE 'update' END, \
           'module ' || (n * 17 % 10), CASE n % 1000 WHEN 999 THEN 'Rarity' ELSE 'Thing' END, \
           CAST(n % ({of} / 10) AS text), 'Thing ' || (n % ({of} / 10)), \
           CASE n * 19 % 50 WHEN 0 THEN 'failed' ELSE 'success' END, CASE n * 23 % 100 WHEN 0 THEN 'high' ELSE 'low' END, \
           '{{\"price\":{{\"old\":\"19.99\",\"new\":\"24.99\"}}}}', '[\"price\"]', \
           CASE n * 11 % 20 WHEN 2 THEN '{{\"path\":\"/orders/' || n || '\",\"method\":\"GET\",\"duration_us\":1200}}' END, \
           'internal', false FROM {numbers}"
    )
}

/// The actor of the entry `n`.
const ACTOR: &str = "CAST(n * 13 % 500 AS text)";

/// What comes before a SELECT from the numbers from `first` up to `last`, and those.
fn numbers(backend: DbBackend, first: u64, last: u64) -> (String, String) {
    match backend {
        DbBackend::Postgres => {
            (String::new(), format!("generate_series(CAST({first} AS bigint), {last} - 1) AS numbers(n)"))
        }
        _ => {
            let with = format!(
                "WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {last}) "
            );
            (with, "numbers".to_owned())
        }
    }
}

/// Id and time of the row `n` of so many, which are spread evenly over the last thirty days.
fn id_and_time(backend: DbBackend, of: u64) -> (String, String) {
    let end = Utc::now().timestamp_millis();
    let begin = end - 30 * 86_400_000;
    let ms = format!("({begin} + n * {} / {of})", end - begin);
    match backend {
        DbBackend::Postgres => (
            format!("(lpad(to_hex({ms}), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid"),
            format!("to_timestamp({ms} / 1000.0)"),
        ),
        _ => (
            format!("unhex(printf('%012x70008%015x', {ms}, n))"),
            format!(
                "strftime('%Y-%m-%dT%H:%M:%S', {ms} / 1000, 'unixepoch') || printf('.%03d+00:00', {ms} % 1000)"
            ),
        ),
    }
}

/// Makes so many attempts to log in, of which one in twenty fails, and so many exports, over the same thirty days by the same actors.
pub(crate) fn insert_others(backend: DbBackend, of: u64) -> [String; 2] {
    let (with, numbers) = numbers(backend, 0, of);
    let (id, time) = id_and_time(backend, of);
    let who = format!(
        "{id}, {time}, 't' || (n * 7 % {TENANTS}), {ACTOR}, 'user', '10.0.0.' || (n * 13 % 250), 'Browser ' || (n * 13 % 5)"
    );
    [
        format!(
            "INSERT INTO audit_login_attempt (id, timestamp, tenant, actor_id, actor_type, ip_address, user_agent, username, status) \
             {with}SELECT {who}, 'user' || {ACTOR}, CASE n * 11 % 20 WHEN 0 THEN 'failed' ELSE 'success' END FROM {numbers}"
        ),
        format!(
            "INSERT INTO audit_export (id, timestamp, tenant, actor_id, actor_type, ip_address, user_agent, export_type, format, \
               resource_type, record_count, status, classification, is_sensitive) \
             {with}SELECT {who}, 'download', 'csv', 'Thing', n * 17 % 500, 'success', 'internal', false FROM {numbers}"
        ),
    ]
}
