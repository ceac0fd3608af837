//! How the database finds the answers: regressions that only a large log shows.

use audit_seaorm::stats::{Period, Rollups, StatisticsRequest};
use audit_seaorm::{LogFilter, LogReader, PageRequest, get_audit_logs};
use audit_tests::{TestDb, db_test};
use chrono::{FixedOffset, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QuerySelect, QueryTrait, Statement, TransactionTrait};

use crate::query::{entry, write};

/// Entries of the last thirty days, in their order.
async fn fill(t: &TestDb, entries: u32) {
    let begin = (Utc::now() - TimeDelta::days(30)).timestamp_millis();
    let ms = format!("({begin} + n * {} / {entries})", 30_i64 * 86_400_000);
    t.execute(&format!(
        "INSERT INTO audit_log (id, timestamp, actor_type, actor_id, action, resource_type, resource_id, status, severity, classification, is_sensitive) \
         SELECT (lpad(to_hex({ms}), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid, to_timestamp({ms} / 1000.0), \
           'user', 'u' || n % 50, 'update', 'Thing', (n % 500)::text, 'success', 'low', 'internal', false \
         FROM generate_series(0::bigint, {entries} - 1) AS numbers(n)"
    ))
    .await
    .unwrap();
    t.execute("VACUUM ANALYZE audit_log").await.unwrap();
}

/// How often a table has been read as a whole in this transaction, or an index at all, by this process.
async fn reads<C: ConnectionTrait>(db: &C, relation: &str) -> i64 {
    let sql = format!("SELECT pg_stat_get_xact_numscans('{relation}'::regclass) AS scans");
    let row =
        db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    row.try_get("", "scans").unwrap()
}

fn last_days() -> StatisticsRequest {
    StatisticsRequest::new(Period::last_days(30, &FixedOffset::east_opt(19_800).unwrap()).unwrap())
}

db_test!(q1_an_old_period_is_found_without_reading_the_whole_log, on(postgres), async |t| {
    fill(t, 30_000).await;
    let open = t.db.begin().await.unwrap();
    write(&open, &[entry("open")]).await;
    write(&t.db, &[entry("after")]).await;
    assert!(Rollups::new().run_once(&t.db).await.unwrap().gaps > 0);

    let txn = t.db.begin().await.unwrap();
    let end = Utc::now() - TimeDelta::days(20);
    let filter = LogFilter::new().start_date(end - TimeDelta::days(1)).end_date(end);
    // A statement that is prepared is planned without its values after some times.
    for _ in 0..8 {
        let page = LogReader::new().page(&txn, &filter, &PageRequest::new().without_count()).await.unwrap();
        assert_eq!(page.rows.len(), 50);
        let done = LogReader::new().statistics(&txn, &last_days()).await.unwrap();
        assert!(done.statistics.total_events > 29_000);
    }
    assert_eq!(reads(&txn, "audit_log").await, 0);
    txn.rollback().await.unwrap();
    open.rollback().await.unwrap();
});

// The database took the last day for a few entries, because their times and ids say the same twice, and sorted all of them.
db_test!(q1_a_page_of_the_last_day_reads_no_more_than_it_shows_and_counts, on(postgres), async |t| {
    fill(t, 60_000).await;
    Rollups::new().run_once(&t.db).await.unwrap();
    let txn = t.db.begin().await.unwrap();
    let page =
        LogReader::new().page(&txn, &LogFilter::new().last_days(1), &PageRequest::new()).await.unwrap();
    assert_eq!((page.rows.len(), page.pagination.total_count_capped), (50, true));
    let sql = "SELECT pg_stat_get_xact_tuples_fetched('audit_log'::regclass) \
               + pg_stat_get_xact_tuples_returned('audit_log_pkey'::regclass) AS read";
    let read: i64 = txn
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .unwrap()
        .unwrap()
        .try_get("", "read")
        .unwrap();
    assert!((500..700).contains(&read), "{read}");
    txn.rollback().await.unwrap();
});

// To start other processes took three quarters of the time of a tenant's statistics.
db_test!(q3_statistics_are_read_by_one_process, on(postgres), async |t| {
    fill(t, 1_000).await;
    Rollups::new().run_once(&t.db).await.unwrap();
    let txn = t.db.begin().await.unwrap();
    // Whatever can be done by another process is.
    txn.execute_unprepared("SET LOCAL force_parallel_mode = on").await.unwrap();
    let done = LogReader::new().statistics(&txn, &last_days()).await.unwrap();
    assert!(done.statistics.total_events > 900);
    assert!(reads(&txn, "audit_rollup_pkey").await > 0);
    txn.rollback().await.unwrap();
});

/// The statements that DESIGN proposes to whoever runs a PostgreSQL whose log is searched.
fn proposed() -> (&'static str, &'static str) {
    let design = include_str!("../../../../docs/DESIGN.md");
    let sql = design.split("```sql").skip(1).filter_map(|rest| rest.split("```").next());
    let sql = sql.into_iter().find(|sql| sql.contains("gin_trgm_ops")).expect("the proposal");
    let (extension, index) = sql.trim().split_once(';').expect("two statements");
    (extension, index.trim().trim_end_matches(';'))
}

db_test!(q1_a_search_uses_the_index_that_is_proposed_for_it, on(postgres), async |t| {
    let (extension, index) = proposed();
    if let Err(error) = t.execute(extension).await {
        println!("skipped: this server has no pg_trgm ({error})");
        return;
    }
    fill(t, 20_000).await;
    let mut rare = entry("rare");
    rare.details = Some("transfer to 4711-XYZZY failed".to_owned());
    write(&t.db, &[rare]).await;
    let search = get_audit_logs(&LogFilter::new().search("4711-xyzzy")).unwrap().limit(51);
    let plan = async || {
        let sql = format!("EXPLAIN {}", search.build(DbBackend::Postgres));
        t.column::<String>(&sql).await.unwrap().join("\n")
    };
    let without = plan().await;
    assert!(!without.contains("idx_audit_log_search"), "{without}");
    // The very text: it is made without locking the log.
    t.execute(index).await.unwrap();
    t.execute("VACUUM ANALYZE audit_log").await.unwrap();
    let with = plan().await;
    // Each of the eight columns is looked up in it, and the log isn't read.
    assert_eq!(with.matches("Bitmap Index Scan on idx_audit_log_search").count(), 8, "{with}");
    assert!(!with.contains("Seq Scan") && !with.contains("Index Scan Backward"), "{with}");
    let found = search.all(&t.db).await.unwrap();
    assert_eq!(found.iter().map(|row| row.resource_id.as_deref().unwrap()).collect::<Vec<_>>(), ["rare"]);
});
