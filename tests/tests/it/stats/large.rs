//! Q3, K7: what only shows when there is much: many gaps, years of days, many rows.

use sea_orm::{QueryResult, Statement};

use super::*;

/// Pages of a period are what its entries are.
async fn pages_are_right(t: &TestDb, random: &mut Random) {
    for _ in 0..5 {
        let end = at(i64::from(random.below(9 * 86_400)) - 43_200);
        let filter = LogFilter::new().end_date(end);
        let all = get_audit_logs(&filter).unwrap().all(&t.db).await.unwrap();
        let expected: Vec<i64> = all.iter().map(|row| row.seq).take(1_000).collect();
        let request = PageRequest::new().page_size(1_000);
        let page = LogReader::new().page(&t.db, &filter, &request).await.unwrap();
        assert_eq!(page.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

// More than are named in a statement: they are joined then.
db_test!(q3_statistics_over_many_gaps_are_what_counting_every_entry_gives, on(postgres, mysql), async |t| {
    let mut random = Random(31);
    let (late, never) = (t.db.begin().await.unwrap(), t.db.begin().await.unwrap());
    for _ in 0..130 {
        write(&late, &[some_entry(&mut random)]).await;
        write(&t.db, &[some_entry(&mut random)]).await;
        write(&never, &[some_entry(&mut random)]).await;
        write(&t.db, &[some_entry(&mut random)]).await;
    }
    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().entries, 260);
    assert!(gaps(t).await > 200, "{}", gaps(t).await);
    check(t, &mut random).await;
    late.commit().await.unwrap();
    // Committed, and not counted yet: only the gaps lead to them.
    check(t, &mut random).await;
    pages_are_right(t, &mut random).await;
    let done = Rollups::new().batch_size(50).run_once(&t.db).await.unwrap();
    assert_eq!((done.entries, done.late), (130, 130));
    check(t, &mut random).await;
    never.rollback().await.unwrap();
    check(t, &mut random).await;
    pages_are_right(t, &mut random).await;
});

// On SQLite nobody leaves a gap; what its statement makes of many is the same.
db_test!(q3_statistics_over_many_gaps_are_right_on_sqlite_too, on(sqlite), async |t| {
    let mut random = Random(37);
    let some: Vec<Entry> = (0..520).map(|_| some_entry(&mut random)).collect();
    write(&t.db, &some[..260]).await;
    // As if every second of them had come late: they aren't among what is counted, but in the gaps.
    Rollups::new().run_once(&t.db).await.unwrap();
    write(&t.db, &some[260..]).await;
    t.execute("UPDATE audit_rollup_place SET through = 520, runs = runs + 1").await.unwrap();
    for seq in 261..=520 {
        let gap =
            format!("INSERT INTO audit_rollup_gap (first_seq, last_seq, noticed) VALUES ({seq}, {seq}, 0)");
        t.execute(&gap).await.unwrap();
    }
    assert!(gaps(t).await > 200);
    check(t, &mut random).await;
    pages_are_right(t, &mut random).await;
});

db_test!(q3_statistics_of_more_than_a_year_are_what_counting_every_entry_gives, async |t| {
    const DAYS: i64 = 450;
    let mut random = Random(41);
    let zone = FixedOffset::east_opt(19_800).unwrap();
    let midnight = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap().and_time(chrono::NaiveTime::MIN);
    let begin = zone.from_local_datetime(&midnight).unwrap().with_timezone(&Utc);
    let some = (0..500).map(|n| {
        let mut entry = some_entry(&mut random);
        let day = begin + TimeDelta::days(i64::from(random.below(DAYS as u32)));
        // Often around midnight there, which is half past an hour of UTC.
        let seconds = [-1, 0, 1, -1_800, 1_800, i64::from(random.below(86_400))][n % 6];
        let mut moved =
            Entry::new(day + TimeDelta::seconds(seconds), entry.action.clone(), Resource::new("Thing"));
        std::mem::swap(&mut moved.actor, &mut entry.actor);
        (moved.tenant, moved.module) = (entry.tenant, entry.module);
        (moved.status, moved.severity) = (entry.status, entry.severity);
        moved
    });
    write(&t.db, &some.collect::<Vec<_>>()).await;
    Rollups::new().run_once(&t.db).await.unwrap();
    let all = crate::fixtures::entries(t).await;
    // Days that begin within fewer hours than are named, in as many, and in more.
    for days in [30, 400, 401, 402, 420, DAYS] {
        let first = midnight.date() + TimeDelta::days(3);
        let period = Period::dates(first, first + TimeDelta::days(days - 1), &zone).unwrap();
        assert_eq!(period.days().count() as i64, days);
        for (reader, tenant) in [(LogReader::new(), None), (LogReader::for_tenant("acme"), Some("acme"))] {
            let of_tenant = |row: &&Model| tenant.is_none() || row.tenant.as_deref() == tenant;
            let rows: Vec<Model> = all.iter().filter(of_tenant).cloned().collect();
            assert_eq!(
                shown(&ask(t, &reader, &period).await),
                count(&rows, &period, &zone),
                "{days} {tenant:?}"
            );
        }
    }
});

db_test!(q3_as_many_users_and_actions_are_named_as_asked, async |t| {
    let mut entries = Vec::new();
    for (times, user, action) in [(3, "ann", "update"), (2, "ben", "create"), (1, "cleo", "delete")] {
        for _ in 0..times {
            let mut entry = Entry::new(at(0), action, Resource::new("Thing").id(1));
            entry.actor = Actor::user(user);
            entries.push(entry);
        }
    }
    write(&t.db, &entries).await;
    let period = Period::between(at(-86_400), at(86_400), &Utc).unwrap();
    for _ in 0..2 {
        for (top, users, actions) in [
            (0, vec![], vec![]),
            (1, vec!["ann"], vec!["update"]),
            (2, vec!["ann", "ben"], vec!["update", "create"]),
            (3, vec!["ann", "ben", "cleo"], vec!["update", "create", "delete"]),
            (usize::MAX, vec!["ann", "ben", "cleo"], vec!["update", "create", "delete"]),
        ] {
            let request = StatisticsRequest::new(period.clone()).top(top);
            let statistics = LogReader::new().statistics(&t.db, &request).await.unwrap();
            let named = &statistics.analytics;
            assert_eq!(named.user_stats.iter().map(|user| user.user.as_str()).collect::<Vec<_>>(), users);
            assert_eq!(named.top_actions.iter().map(|one| one.action.as_str()).collect::<Vec<_>>(), actions);
            // Cut is what is named, and not what is counted.
            let whole = &statistics.statistics;
            assert_eq!((whole.unique_users, whole.total_events), (3, 6), "{top}");
            assert_eq!(named.status_stats[0].counts.count, 6);
        }
        Rollups::new().run_once(&t.db).await.unwrap();
    }
});

/// How many rows this connection has read of the log and the roll-ups so far; `None` where the database doesn't tell.
async fn rows_read<C: ConnectionTrait>(db: &C) -> Option<i64> {
    let all = async |sql: &str| -> Vec<QueryResult> {
        db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap()
    };
    match db.get_database_backend() {
        DbBackend::Postgres => {
            let of = |table: &str| {
                ["returned", "fetched"]
                    .map(|what| format!("pg_stat_get_xact_tuples_{what}('{table}'::regclass)"))
                    .join(" + ")
            };
            // Of an index-only scan the index says how many.
            let indexes = "(SELECT COALESCE(SUM(pg_stat_get_xact_tuples_returned(indexrelid)), 0)::bigint FROM pg_index WHERE indrelid IN ('audit_log'::regclass, 'audit_rollup'::regclass))";
            let sql = format!("SELECT {} + {} + {indexes} AS read_rows", of("audit_log"), of("audit_rollup"));
            Some(all(&sql).await[0].try_get("", "read_rows").unwrap())
        }
        DbBackend::MySql => {
            let rows = all("SHOW SESSION STATUS LIKE 'Handler_read%'").await;
            let value =
                |row: &QueryResult| row.try_get_by_index::<String>(1).unwrap().parse::<i64>().unwrap();
            Some(rows.iter().map(value).sum())
        }
        _ => None,
    }
}

db_test!(k7_roll_ups_answer_what_counting_answers_and_read_far_fewer_rows, async |t| {
    const ENTRIES: usize = 8_000;
    const DAYS: i64 = 20;
    let mut random = Random(43);
    let some: Vec<Entry> = (0..ENTRIES as i64)
        .map(|n| {
            // In their order, as a log is written.
            let mut entry = Entry::new(
                at(n * DAYS * 86_400 / ENTRIES as i64 - 43_200),
                "update",
                Resource::new("Thing").id(n),
            );
            entry.actor = Actor::user(random.below(5));
            entry.module = Some(["sales", "finance"][random.below(2) as usize].to_owned());
            entry.status = Status::ALL[random.below(2) as usize];
            entry
        })
        .collect();
    write(&t.db, &some).await;
    let first = at(0).date_naive();
    let period = Period::dates(first, first + TimeDelta::days(DAYS - 1), &Utc).unwrap();
    let request = StatisticsRequest::new(period.clone());
    let db = single(t).await;
    let read = async || {
        let txn = db.begin().await.unwrap();
        let before = rows_read(&txn).await;
        let statistics = LogReader::new().statistics(&txn, &request).await.unwrap();
        let after = rows_read(&txn).await;
        txn.rollback().await.unwrap();
        (statistics, before.zip(after).map(|(before, after)| after - before))
    };
    let (counted, by_counting) = read().await;
    assert_eq!(counted.statistics.total_events, ENTRIES as u64);
    assert_eq!(shown(&counted), count(&crate::fixtures::entries(t).await, &period, &Utc));

    assert_eq!(Rollups::new().run_once(&t.db).await.unwrap().entries, ENTRIES as u64);
    if t.backend != DbBackend::Sqlite {
        // Who plans by what a table was like when it was empty reads all of it.
        t.execute(t.pick("", "ANALYZE audit_log, audit_rollup", "ANALYZE TABLE audit_log, audit_rollup"))
            .await
            .unwrap();
    }
    let (rolled_up, by_roll_ups) = read().await;
    assert_eq!(rolled_up, counted);
    match by_counting.zip(by_roll_ups) {
        Some((counting, roll_ups)) => {
            assert!(counting >= ENTRIES as i64, "{counting}");
            assert!(roll_ups * 5 < counting, "{roll_ups} rows instead of {counting}");
        }
        // There, what the statement does with the log is the plan's to say: it looks in it for what isn't counted yet, by its number.
        None => {
            let sizes = "SELECT (SELECT COUNT(*) FROM audit_rollup WHERE scope = '' AND grain = 96) * 5 < (SELECT COUNT(*) FROM audit_log)";
            assert_eq!(t.value::<i64>(sizes).await.unwrap(), 1, "a day's counts are fewer than its entries");
        }
    }
});
