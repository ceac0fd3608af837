//! Q3, K7: statistics from roll-ups, exact up to the last committed entry.

mod large;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit_seaorm::entity::audit_log::Model;
use audit_seaorm::stats::{Counts, Period, Rollups, Statistics, StatisticsRequest};
use audit_seaorm::{
    Actor, Entry, LogFilter, LogReader, PageRequest, Resource, Severity, Status, get_audit_logs,
    get_audit_summary,
};
use audit_tests::{DbBackend, TestDb, db_test};
use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, Statement, TransactionTrait};
use serde_json::json;

use crate::connection::contention::dropped;
use crate::connection::sessions::single;
use crate::query::{at, entry, write};
use crate::random::Random;

/// An entry of some time around [`at`]: often on a border between quarters, hours or days.
fn some_entry(random: &mut Random) -> Entry {
    let seconds = match random.below(4) {
        0 => i64::from(random.below(40)) * 6 * 3600,
        1 => i64::from(random.below(900)) * 900,
        _ => i64::from(random.below(10 * 86_400)),
    };
    let micros = [0, 1, 500_000, 999_999][random.below(4) as usize];
    let time = at(seconds - 43_200) - TimeDelta::microseconds(micros);
    let action =
        ["create", "update", "delete", "login", "denied", "read", "a", "b"][random.below(8) as usize];
    let mut entry = Entry::new(time, action, Resource::new("Thing").id(1));
    entry.tenant = [None, Some("acme"), Some("globex")][random.below(3) as usize].map(Into::into);
    entry.actor = match random.below(5) {
        0 => Actor::system(),
        n => {
            Actor { name: Some(format!("name {n}")), ..Actor::user(format!("user {}", n + random.below(10))) }
        }
    };
    entry.module =
        [None, Some("authentication"), Some("finance"), Some("")][random.below(4) as usize].map(Into::into);
    entry.status = Status::ALL[random.below(4) as usize];
    entry.severity = Severity::ALL[random.below(4) as usize];
    entry
}

/// Statistics of these rows, entry by entry.
fn count<Z: TimeZone>(rows: &[Model], period: &Period, zone: &Z) -> serde_json::Value {
    let inside: Vec<&Model> =
        rows.iter().filter(|row| (period.start()..period.end()).contains(&row.timestamp)).collect();
    let security = |row: &Model| {
        ["high", "critical"].contains(&row.severity.as_str())
            || row.action == "denied"
            || row.status == "failed"
                && (row.action == "login" || row.module.as_deref() == Some("authentication"))
    };
    let counts = |rows: &mut dyn Iterator<Item = &&Model>| {
        let mut counts = Counts::default();
        for row in rows {
            counts.count += 1;
            counts.failed += u64::from(row.status == "failed");
            counts.security += u64::from(security(row));
        }
        counts
    };
    let by = |value: &dyn Fn(&Model) -> Option<String>| {
        let values: BTreeSet<Option<String>> = inside.iter().map(|row| value(row)).collect();
        let mut all: Vec<_> = values
            .into_iter()
            .map(|wanted| {
                let counts = counts(&mut inside.iter().filter(|row| value(row) == wanted));
                (wanted, counts)
            })
            .collect();
        all.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.count));
        all
    };
    let list = |name: &str, all: Vec<(Option<String>, Counts)>| -> Vec<serde_json::Value> {
        let item = |(value, counts): (Option<String>, Counts)| json!({name: value, "count": counts.count, "failed": counts.failed, "security": counts.security});
        all.into_iter().map(item).collect()
    };
    let whole = counts(&mut inside.iter());
    let mut users = by(&|row| row.actor_id.clone());
    users.retain(|(user, _)| user.is_some());
    let days: BTreeMap<NaiveDate, Counts> = period
        .days()
        .map(|day| {
            let of_day = |row: &&&Model| row.timestamp.with_timezone(zone).date_naive() == day;
            (day, counts(&mut inside.iter().filter(of_day)))
        })
        .collect();
    json!({
        "statistics": {
            "total_events": whole.count, "security_events": whole.security,
            "unique_users": users.len(), "failed_actions": whole.failed,
        },
        "analytics": {
            "module_stats": list("module", by(&|row| row.module.clone())),
            "status_stats": list("status", by(&|row| Some(row.status.clone()))),
            "severity_stats": list("severity", by(&|row| Some(row.severity.clone()))),
            "user_stats": list("user", users),
            "daily_stats": list("date", days.into_iter().map(|(day, counts)| (Some(day.to_string()), counts)).collect()),
            "top_actions": list("action", by(&|row| Some(row.action.clone()))),
        },
    })
}

/// As JSON; without the users' names, which have a test of their own.
fn shown(statistics: &Statistics) -> serde_json::Value {
    let mut shown = serde_json::to_value(statistics).expect("JSON");
    for user in shown["analytics"]["user_stats"].as_array_mut().expect("users") {
        user.as_object_mut().expect("a user").retain(|name, _| name != "name" && name != "email");
    }
    shown
}

async fn ask(t: &TestDb, reader: &LogReader, period: &Period) -> Statistics {
    let request = StatisticsRequest::new(period.clone()).top(1_000);
    reader.statistics(&t.db, &request).await.expect("statistics")
}

/// Statistics of several periods, zones and readers are what counting every entry gives.
async fn check(t: &TestDb, random: &mut Random) {
    let all = crate::fixtures::entries(t).await;
    for _ in 0..6 {
        let offset = [0, 3600, -5 * 3600, 19_800, 20_700, 14 * 3600, -43_200][random.below(7) as usize];
        let zone = FixedOffset::east_opt(offset).unwrap();
        let first = at(0).with_timezone(&zone).date_naive() + TimeDelta::days(i64::from(random.below(9)) - 2);
        let period = match random.below(3) {
            0 => {
                let start = at(i64::from(random.below(5 * 86_400)));
                let end = start + TimeDelta::milliseconds(i64::from(random.below(400_000_000)));
                Period::between(start, end, &zone).unwrap()
            }
            _ => Period::dates(first, first + TimeDelta::days(i64::from(random.below(12))), &zone).unwrap(),
        };
        for (reader, tenant) in [
            (LogReader::new(), None),
            (LogReader::for_tenant("acme"), Some("acme")),
            (LogReader::for_tenant("nobody"), Some("nobody")),
        ] {
            let of_tenant = |row: &&Model| tenant.is_none() || row.tenant.as_deref() == tenant;
            let rows: Vec<Model> = all.iter().filter(of_tenant).cloned().collect();
            assert_eq!(
                shown(&ask(t, &reader, &period).await),
                count(&rows, &period, &zone),
                "{period:?} {zone} {tenant:?}"
            );
        }
        let anns: Vec<Model> =
            all.iter().filter(|row| row.actor_id.as_deref() == Some("user 5")).cloned().collect();
        let request = StatisticsRequest::new(period.clone()).actor("user 5").top(1_000);
        let statistics = LogReader::new().statistics(&t.db, &request).await.unwrap();
        assert_eq!(shown(&statistics), count(&anns, &period, &zone), "one user");
    }
}

db_test!(q3_statistics_are_what_counting_every_entry_gives, async |t| {
    let mut random = Random(11);
    check(t, &mut random).await;
    for round in 0..5 {
        let some: Vec<Entry> = (0..random.below(300)).map(|_| some_entry(&mut random)).collect();
        write(&t.db, &some).await;
        // All in the tail, some in it, none in it.
        if round % 2 == 1 {
            let rollups = Rollups::new().batch_size(u64::from(random.below(200)) + 1);
            rollups.run_once(&t.db).await.unwrap();
        }
        check(t, &mut random).await;
    }
    let before = Rollups::new().run_once(&t.db).await.unwrap();
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().entries, 0, "{before:?}");
    check(t, &mut random).await;
    Rollups::new().rebuild(&t.db).await.unwrap();
    check(t, &mut random).await;
});

async fn total(t: &TestDb, db: &impl ConnectionTrait) -> (u64, u64) {
    let period = Period::between(at(-86_400), at(86_400), &Utc).unwrap();
    let statistics = LogReader::new().statistics(db, &StatisticsRequest::new(period)).await.unwrap();
    let log = get_audit_logs(&LogFilter::new()).unwrap();
    let counted = sea_orm::PaginatorTrait::count(log, db).await.unwrap();
    let analytics = &statistics.analytics;
    let statuses: u64 = analytics.status_stats.iter().map(|stat| stat.counts.count).sum();
    assert_eq!(statuses, statistics.statistics.total_events, "{:?}", t.backend);
    (statistics.statistics.total_events, counted)
}

async fn gaps(t: &TestDb) -> i64 {
    t.value("SELECT COUNT(*) FROM audit_rollup_gap").await.unwrap()
}

// A transaction takes its place in the order; later ones commit and are counted; it commits: statistics have it at once.
db_test!(q3_a_late_commit_is_counted_at_once, on(postgres, mysql), async |t| {
    let rollups = Rollups::new();
    write(&t.db, &[entry(1), entry(2)]).await;
    let late = t.db.begin().await.unwrap();
    write(&late, &[entry("late 1"), entry("late 2")]).await;
    let lost = t.db.begin().await.unwrap();
    write(&lost, &[entry("never")]).await;
    write(&t.db, &[entry(3)]).await;
    assert_eq!(rollups.run_once(&t.db).await.unwrap().entries, 3);
    assert!(gaps(t).await > 0);
    assert_eq!(total(t, &t.db).await, (3, 3));
    // Within it, it sees its own.
    assert_eq!(total(t, &late).await, (5, 5));
    // However often the worker comes by.
    for _ in 0..3 {
        assert_eq!(rollups.run_once(&t.db).await.unwrap().entries, 0);
    }
    late.commit().await.unwrap();
    assert_eq!(total(t, &t.db).await, (5, 5), "before the worker has seen it");
    let done = rollups.run_once(&t.db).await.unwrap();
    assert_eq!((done.entries, done.late), (2, 2));
    assert_eq!(total(t, &t.db).await, (5, 5), "and after");
    lost.rollback().await.unwrap();
    assert_eq!(total(t, &t.db).await, (5, 5));
    write(&t.db, &[entry(4)]).await;
    assert_eq!(total(t, &t.db).await, (6, 6));
});

db_test!(q3_a_run_that_is_dropped_counts_nothing_twice, async |t| {
    // Its only connection is given on after all that was begun over it.
    let db = single(t).await;
    for polls in 1..60 {
        write(&db, &[entry(polls), entry(polls), entry(polls)]).await;
        _ = dropped(Rollups::new().batch_size(1).run_once(&db), polls).await;
        // What it leaves behind neither swallows what is written next, nor keeps others out.
        write(&db, &[entry(polls)]).await;
        let entries = 4 * polls as u64;
        assert_eq!(total(t, &t.db).await, (entries, entries), "{polls}");
        if polls % 3 == 0 {
            Rollups::new().run_once(&t.db).await.unwrap();
            assert_eq!(total(t, &t.db).await, (entries, entries), "{polls}");
            let whole = "SELECT CAST(SUM(total) AS DECIMAL) FROM audit_rollup WHERE scope = '' AND dimension = 0 AND grain = 96";
            let whole = t.pick(
                whole.replace("DECIMAL", "INTEGER"),
                whole.replace("DECIMAL", "BIGINT"),
                whole.replace("DECIMAL", "SIGNED"),
            );
            assert_eq!(t.value::<i64>(&whole).await.unwrap(), entries as i64);
        }
    }
});

// There, nobody can have a number while somebody else commits a later one.
db_test!(q3_on_sqlite_entries_are_committed_in_their_order, on(sqlite), async |t| {
    let first = t.db.begin().await.unwrap();
    write(&first, &[entry(1)]).await;
    let mut options = t.options();
    options.map_sqlx_sqlite_opts(|options| options.busy_timeout(Duration::from_millis(50)));
    let other = Database::connect(options).await.unwrap();
    let refused = other.execute_unprepared("BEGIN IMMEDIATE").await;
    assert!(refused.is_err(), "the write lock is taken");
    first.commit().await.unwrap();
    let rolled_back = t.db.begin().await.unwrap();
    write(&rolled_back, &[entry(2)]).await;
    rolled_back.rollback().await.unwrap();
    write(&t.db, &[entry(3)]).await;
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().gaps, 0);
    assert_eq!(total(t, &t.db).await, (2, 2));
});

// What never comes isn't looked for forever.
db_test!(q3_gaps_are_settled_when_nobody_can_fill_them, on(postgres), async |t| {
    let rollups = Rollups::new();
    let open = t.db.begin().await.unwrap();
    write(&open, &[entry("open")]).await;
    for _ in 0..5 {
        let lost = t.db.begin().await.unwrap();
        write(&lost, &[entry("lost"), entry("lost")]).await;
        lost.rollback().await.unwrap();
        write(&t.db, &[entry(1)]).await;
    }
    for _ in 0..3 {
        rollups.run_once(&t.db).await.unwrap();
    }
    assert!(gaps(t).await >= 1, "one writer is still there, and nobody knows which gap is its own");
    open.commit().await.unwrap();
    rollups.run_once(&t.db).await.unwrap();
    rollups.run_once(&t.db).await.unwrap();
    assert_eq!(gaps(t).await, 0);
    assert_eq!(total(t, &t.db).await, (6, 6));
});

/// A number that is taken and given up, between two entries.
async fn leave_a_gap(t: &TestDb) {
    write(&t.db, &[entry(1)]).await;
    let lost = t.db.begin().await.unwrap();
    write(&lost, &[entry("lost")]).await;
    lost.rollback().await.unwrap();
    write(&t.db, &[entry(2)]).await;
}

/// The server shows the same list of transactions until it hasn't been read for a tenth of a second.
const KEPT: Duration = Duration::from_millis(150);

// The transactions of a server are those of all its databases: other tests' too. They end.
db_test!(q3_gaps_are_settled_on_mysql_when_the_open_transactions_have_ended, on(mysql), async |t| {
    leave_a_gap(t).await;
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().gaps, 1);
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().gaps, 1, "who writes may not show yet");
    t.execute("UPDATE audit_rollup_gap SET noticed = noticed - 3600").await.unwrap();
    while Rollups::new().run_once(&t.db).await.unwrap().gaps > 0 {
        tokio::time::sleep(KEPT).await;
    }
    assert_eq!(total(t, &t.db).await, (2, 2));
});

// Whoever reads the list of transactions all the time keeps it as it was before a writer began.
db_test!(q3_a_list_that_is_kept_from_before_settles_no_gap, on(mysql), async |t| {
    write(&t.db, &[entry(1)]).await;
    let list = "SELECT COUNT(*) FROM information_schema.innodb_trx";
    let reader = t.db.begin().await.unwrap();
    let read = async || {
        let statement = Statement::from_string(DbBackend::MySql, list);
        reader.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    // Nobody is in it, as far as this test is concerned.
    read().await;
    let late = t.db.begin().await.unwrap();
    write(&late, &[entry(2)]).await;
    write(&t.db, &[entry(3)]).await;
    read().await;
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().gaps, 1);
    t.execute("UPDATE audit_rollup_gap SET noticed = noticed - 3600").await.unwrap();
    for _ in 0..5 {
        read().await;
        assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().gaps, 1, "settled while the writer writes");
    }
    late.commit().await.unwrap();
    while Rollups::new().run_once(&t.db).await.unwrap().gaps > 0 {
        tokio::time::sleep(KEPT).await;
    }
    assert_eq!(total(t, &t.db).await, (3, 3));
});

db_test!(q3_gaps_are_settled_by_their_age_where_the_database_does_not_tell, on(mysql), async |t| {
    leave_a_gap(t).await;
    let name: String = t.value("SELECT DATABASE()").await.unwrap();
    let user: String = format!("r{}", name.rsplit_once("audit_t_").unwrap().1).chars().take(30).collect();
    t.execute(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY ''")).await.unwrap();
    t.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO '{user}'@'%'")).await.unwrap();
    let url = t.url.replacen("root@", &format!("{user}@"), 1);
    let db = Database::connect(url).await.unwrap();
    let rollups = Rollups::new().settle_after(Duration::from_secs(600));
    assert_eq!(rollups.run_once(&db).await.unwrap().gaps, 1);
    assert_eq!(rollups.run_once(&db).await.unwrap().gaps, 1);
    t.execute("UPDATE audit_rollup_gap SET noticed = noticed - 600").await.unwrap();
    assert_eq!(rollups.run_once(&db).await.unwrap().gaps, 0);
    assert_eq!(total(t, &db).await, (2, 2));
    t.execute(&format!("DROP USER '{user}'@'%'")).await.unwrap();
});

// Writers whose transactions end in any order, some by a rollback, beside workers and questions.
db_test!(q3_workers_writers_and_questions_at_once, async |t| -> Result<(), DbErr> {
    let writers: Vec<_> = (0..4_u64)
        .map(|seed| {
            let db = t.db.clone();
            tokio::spawn(async move {
                let mut random = Random(seed + 100);
                for _ in 0..25 {
                    let txn = db.begin().await?;
                    let some: Vec<Entry> = (0..=random.below(5)).map(entry).collect();
                    write(&txn, &some).await;
                    tokio::task::yield_now().await;
                    if random.below(4) == 0 { txn.rollback().await? } else { txn.commit().await? }
                }
                Ok::<(), DbErr>(())
            })
        })
        .collect();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let db: DatabaseConnection = t.db.clone();
            tokio::spawn(async move {
                for _ in 0..30 {
                    Rollups::new().batch_size(7).run_once(&db).await.expect("a run");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..20 {
        // In one transaction, both see the same.
        let config = match t.backend {
            DbBackend::Sqlite => None,
            _ => Some(sea_orm::IsolationLevel::RepeatableRead),
        };
        let txn = t.db.begin_with_config(config, None).await?;
        let (statistics, counted) = total(t, &txn).await;
        assert_eq!(statistics, counted);
        txn.rollback().await?;
    }
    for task in writers {
        task.await.expect("a writer")?;
    }
    for task in workers {
        task.await.expect("a worker");
    }
    let (statistics, counted) = total(t, &t.db).await;
    assert_eq!(statistics, counted);
    Rollups::new().run_once(&t.db).await.expect("a run");
    let whole: i64 = t
        .value(t.pick(
            "SELECT SUM(total) FROM audit_rollup WHERE scope = '' AND dimension = 0 AND grain = 1",
            "SELECT CAST(SUM(total) AS bigint) FROM audit_rollup WHERE scope = '' AND dimension = 0 AND grain = 1",
            "SELECT CAST(SUM(total) AS signed) FROM audit_rollup WHERE scope = '' AND dimension = 0 AND grain = 1",
        ))
        .await?;
    assert_eq!(u64::try_from(whole).unwrap(), counted, "each once");
    Ok(())
});

db_test!(q3_the_background_worker_stops_cleanly_and_keeps_its_place, async |t| {
    write(&t.db, &(0..50).map(entry).collect::<Vec<_>>()).await;
    let task = Rollups::new().every(Duration::from_secs(3600)).start(t.db.clone());
    task.stop().await;
    let through: i64 = t.value("SELECT through FROM audit_rollup_place").await.unwrap();
    assert!(through >= 50, "the run that it was in has ended");
    write(&t.db, &[entry(50)]).await;
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().entries, 1, "after a restart it goes on there");
    assert_eq!(total(t, &t.db).await, (51, 51));
    drop(Rollups::new().start(t.db.clone()));
});

db_test!(q3_statistics_have_the_documented_shape, async |t| {
    let now = Utc::now();
    let mut entries = Vec::new();
    for n in 0..3 {
        let mut entry = Entry::new(now, ["login", "create", "create"][n], Resource::new("Thing").id(1));
        entry.actor = Actor { email: Some(format!("{n}@example.org")), ..Actor::user("ann") };
        entry.actor.name = Some(format!("Ann {n}"));
        entry.module = ["authentication", "finance", "finance"].get(n).map(ToString::to_string);
        entry.status = [Status::Failed, Status::Success, Status::Success][n];
        entry.tenant = [Some("acme"), None, Some("acme")][n].map(Into::into);
        entries.push(entry);
    }
    write(&t.db, &entries).await;
    let summary = get_audit_summary(&t.db, None, 1).await.unwrap();
    let today = now.date_naive().to_string();
    // A test that runs over midnight would ask for another day than it wrote.
    if Utc::now().date_naive().to_string() != today {
        return;
    }
    let counts = |count: u64, failed: u64, security: u64| json!({"count": count, "failed": failed, "security": security});
    let with = |name: &str, value: &str, counts: serde_json::Value| {
        let mut item = counts;
        item[name] = value.into();
        item
    };
    let mut user = with("user", "ann", counts(3, 1, 1));
    (user["name"], user["email"]) = ("Ann 2".into(), "2@example.org".into());
    assert_eq!(
        serde_json::to_value(&summary).unwrap(),
        json!({
            "statistics": {"total_events": 3, "security_events": 1, "unique_users": 1, "failed_actions": 1},
            "analytics": {
                "module_stats": [
                    with("module", "finance", counts(2, 0, 0)),
                    with("module", "authentication", counts(1, 1, 1)),
                ],
                "status_stats": [with("status", "success", counts(2, 0, 0)), with("status", "failed", counts(1, 1, 1))],
                "severity_stats": [with("severity", "low", counts(3, 1, 1))],
                "user_stats": [user],
                "daily_stats": [with("date", &today, counts(3, 1, 1))],
                "top_actions": [with("action", "create", counts(2, 0, 0)), with("action", "login", counts(1, 1, 1))],
            },
        })
    );
    assert_eq!(
        serde_json::to_value(summary.of_list()).unwrap(),
        json!({"total_actions": 3, "failed_actions": 1, "active_users": 1, "security_events": 1})
    );
    let filters = summary.available_filters();
    assert_eq!(
        (filters.available_modules, filters.available_users),
        (vec!["authentication".to_owned(), "finance".to_owned()], vec!["ann".to_owned()])
    );
    assert_eq!(get_audit_summary(&t.db, Some("ben"), 30).await.unwrap().statistics.total_events, 0);
    assert_eq!(get_audit_summary(&t.db, Some("ann"), 30).await.unwrap().statistics.total_events, 3);
    assert!(get_audit_summary(&t.db, None, 0).await.is_err());
});

db_test!(i7_statistics_of_a_tenant_show_nothing_of_another, async |t| {
    let secret = |tenant: &str, name: &str| {
        let mut entry = entry(1);
        entry.tenant = Some(tenant.to_owned());
        entry.actor = Actor { name: Some(format!("{tenant} {name}")), ..Actor::user("shared") };
        (entry.module, entry.action) = (Some(format!("{tenant} module")), format!("{tenant} action").into());
        entry
    };
    write(&t.db, &[secret("acme", "Ann"), secret("globex", "Bob")]).await;
    let period = Period::between(at(-86_400), at(86_400), &Utc).unwrap();
    for _ in 0..2 {
        for tenant in ["acme", "globex"] {
            let statistics = ask(t, &LogReader::for_tenant(tenant), &period).await;
            let other = if tenant == "acme" { "globex" } else { "acme" };
            let text = serde_json::to_string(&statistics).unwrap();
            assert!(!text.contains(other) && text.contains(tenant), "{text}");
            assert_eq!(statistics.statistics.total_events, 1);
        }
        Rollups::new().run_once(&t.db).await.unwrap();
    }
    let none = ask(t, &LogReader::for_tenant(""), &period).await;
    assert_eq!(none.statistics.total_events, 0, "a tenant without a name isn't all of them");
});

db_test!(k7_the_tables_of_the_roll_ups_come_and_go_with_the_migrations, raw, async |t| {
    use sea_orm_migration::MigratorTrait;
    audit_migration::Migrator::up(&t.db, None).await.unwrap();
    assert_eq!(t.value::<i64>("SELECT through FROM audit_rollup_place").await.unwrap(), 0);
    audit_migration::Migrator::down(&t.db, None).await.unwrap();
    assert!(t.execute("SELECT 1 FROM audit_rollup").await.is_err());
    let error = get_audit_summary(&t.db, None, 1).await.unwrap_err().to_string();
    assert!(error.contains("run the audit migrations"), "{error}");
    audit_migration::Migrator::up(&t.db, None).await.unwrap();
    assert_eq!(get_audit_summary(&t.db, None, 1).await.unwrap().statistics.total_events, 0);
});

/// Two hours ahead of UTC, three in a short summer: it begins as the second of January does, and has no midnight then; it
/// ends with the third, whose last hour comes twice.
#[derive(Clone, Debug)]
struct Summer;

impl Summer {
    const BEGIN: i64 = 1_767_304_800;
    const END: i64 = 1_767_474_000;

    fn offset(hours: i32) -> FixedOffset {
        FixedOffset::east_opt(hours * 3600).unwrap()
    }
}

impl TimeZone for Summer {
    type Offset = FixedOffset;

    fn from_offset(_: &FixedOffset) -> Self {
        Self
    }

    fn offset_from_local_date(&self, date: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        self.offset_from_local_datetime(&date.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        let fits = |hours: i32| {
            let utc = *local - TimeDelta::hours(i64::from(hours));
            self.offset_from_utc_datetime(&utc) == Self::offset(hours)
        };
        match (fits(3), fits(2)) {
            (true, true) => MappedLocalTime::Ambiguous(Self::offset(3), Self::offset(2)),
            (true, false) => MappedLocalTime::Single(Self::offset(3)),
            (false, true) => MappedLocalTime::Single(Self::offset(2)),
            (false, false) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, date: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&date.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        let summer = (Self::BEGIN..Self::END).contains(&utc.and_utc().timestamp());
        Self::offset(if summer { 3 } else { 2 })
    }
}

db_test!(q3_days_are_as_long_as_the_zone_has_them, async |t| {
    // One entry each hour, from noon of the 31st of December on, in UTC.
    let hour = |hour: i64| Entry::new(at((hour - 24) * 3600), "x", Resource::new("Hour").id(hour));
    write(&t.db, &(0..144).map(hour).collect::<Vec<_>>()).await;
    let day = |day: u32| NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
    let period = Period::dates(day(1), day(4), &Summer).unwrap();
    for _ in 0..2 {
        let statistics = ask(t, &LogReader::new(), &period).await;
        let days: Vec<u64> = statistics.analytics.daily_stats.iter().map(|day| day.counts.count).collect();
        assert_eq!(days, [24, 23, 25, 24]);
        assert_eq!(shown(&statistics), count(&crate::fixtures::entries(t).await, &period, &Summer));
        Rollups::new().run_once(&t.db).await.unwrap();
    }
});

db_test!(q1_pages_of_an_old_period_have_all_of_it, async |t| {
    let mut random = Random(23);
    for round in 0..4 {
        let some: Vec<Entry> = (0..150).map(|_| some_entry(&mut random)).collect();
        write(&t.db, &some).await;
        if round > 0 {
            Rollups::new().run_once(&t.db).await.unwrap();
        }
        // What comes late, and what isn't counted yet.
        if t.backend != DbBackend::Sqlite {
            let late = t.db.begin().await.unwrap();
            write(&late, &[some_entry(&mut random), some_entry(&mut random)]).await;
            write(&t.db, &[some_entry(&mut random)]).await;
            Rollups::new().run_once(&t.db).await.unwrap();
            late.commit().await.unwrap();
        }
        if round == 3 {
            write(&t.db, &[some_entry(&mut random)]).await;
        }
        for _ in 0..20 {
            let start = at(i64::from(random.below(9 * 86_400)) - 43_200);
            let end = start + TimeDelta::seconds(i64::from(random.below(3 * 86_400)));
            let filter = match random.below(3) {
                0 => LogFilter::new().end_date(end),
                1 => LogFilter::new().start_date(start),
                _ => LogFilter::new().start_date(start).end_date(end),
            };
            let all = get_audit_logs(&filter).unwrap().all(&t.db).await.unwrap();
            let expected: Vec<i64> = all.iter().map(|row| row.seq).collect();
            let request = PageRequest::new().page_size(1_000);
            let page = LogReader::new().page(&t.db, &filter, &request).await.unwrap();
            assert_eq!(page.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), expected, "{filter:?}");
        }
    }
});
