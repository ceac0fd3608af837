//! Q1: finding entries.

use audit_seaorm::{
    Actor, AuditContext, Entry, Error, LogFilter, LogReader, Operation, PageRequest, Severity, Status,
    get_audit_logs, scope,
};
use audit_tests::{TestDb, db_test};
use chrono::{FixedOffset, NaiveDate, TimeDelta, Utc};
use sea_orm::{PaginatorTrait, QuerySelect};
use serde_json::{Value, json};

use super::{at, entry, write};

/// Four entries that differ in everything a filter can ask for.
async fn fill(t: &TestDb) {
    for n in 0..4 {
        let actor = Actor { email: Some(format!("u{n}@example.org")), ..Actor::user(n) };
        let context = AuditContext::new(actor)
            .named(["Ann", "Ben", "Cleo_100%", "Dan!"][n])
            .tenant(["acme", "globex", "acme", "initech"][n])
            .ip(format!("192.0.2.{n}"))
            .request_id(format!("r{n}"))
            .session_id(format!("s{n}"))
            .transaction_id(format!("t{n}"));
        let operation = Operation::new(
            ["create", "update", "approve", "delete"][n],
            ["Post", "Post", "Order", "Order"][n],
        )
        .id(n)
        .name(format!("Thing {n}"))
        .module(["blog", "blog", "sales", "sales"][n])
        .status(Status::ALL[n])
        .severity(Severity::ALL[n])
        .details(["plain", "100% done", "under_score", "O'Neill; DROP TABLE audit_log"][n]);
        scope(context, operation.log(&t.db)).await.unwrap();
    }
}

async fn found(t: &TestDb, filter: LogFilter) -> Vec<String> {
    let mut ids: Vec<_> = get_audit_logs(&filter)
        .unwrap()
        .all(&t.db)
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.resource_id.unwrap())
        .collect();
    ids.reverse();
    ids
}

db_test!(q1_every_filter_finds_its_entries, async |t| {
    fill(t).await;
    let all = LogFilter::new;
    let now = Utc::now();
    for (name, filter, expected) in [
        ("none", all(), vec!["0", "1", "2", "3"]),
        ("entity", all().entity("Post"), vec!["0", "1"]),
        ("entity is case-sensitive", all().entity("post"), vec![]),
        ("entity id", all().entity("Order").entity_id(3), vec!["3"]),
        ("actor", all().actor(1), vec!["1"]),
        ("action", all().action("approve"), vec!["2"]),
        ("an action that there isn't", all().action("teleport"), vec![]),
        ("actions are told apart by case", all().action("APPROVE"), vec![]),
        ("tenant", all().tenant("acme"), vec!["0", "2"]),
        ("module", all().module("sales"), vec!["2", "3"]),
        ("status", all().status(Status::Failed), vec!["1"]),
        ("severity", all().severity(Severity::Critical), vec!["3"]),
        ("ip", all().ip("192.0.2.2"), vec!["2"]),
        ("request", all().request_id("r0"), vec!["0"]),
        ("session", all().session_id("s1"), vec!["1"]),
        ("transaction", all().transaction_id("t3"), vec!["3"]),
        ("actor name", all().actor_name("Ben"), vec!["1"]),
        ("actor e-mail", all().actor_email("u2@example.org"), vec!["2"]),
        ("user by id", all().user(3), vec!["3"]),
        ("user by name", all().user("Ann"), vec!["0"]),
        ("user by e-mail", all().user("u1@example.org"), vec!["1"]),
        ("several actions", all().actions(["create", "delete"]), vec!["0", "3"]),
        ("several ids", all().entity("Post").entity_ids([1, 2]), vec!["1"]),
        ("several actors", all().actors([0, 1, 9]), vec!["0", "1"]),
        ("several tenants", all().tenants(["globex", "initech"]), vec!["1", "3"]),
        ("several statuses", all().statuses([Status::Failed, Status::Info]), vec!["1", "3"]),
        ("several severities", all().severities([Severity::Low, Severity::Medium]), vec!["0", "1"]),
        ("one of none", all().modules([] as [&str; 0]), vec![]),
        ("said twice, the last counts", all().action("create").action("delete"), vec!["3"]),
        ("security", all().security_events(), vec!["2", "3"]),
        ("days", all().last_days(1), vec!["0", "1", "2", "3"]),
        ("from tomorrow", all().start_date(now + TimeDelta::days(1)), vec![]),
        ("until yesterday", all().end_date(now - TimeDelta::days(1)), vec![]),
        (
            "since an hour",
            all().start_date(now - TimeDelta::hours(1)).end_date(now + TimeDelta::hours(1)),
            vec!["0", "1", "2", "3"],
        ),
        ("both", all().tenant("acme").module("blog"), vec!["0"]),
        ("search action", all().search("APPRO"), vec!["2"]),
        ("search actor", all().search("ann"), vec!["0"]),
        ("search e-mail", all().search("u3@example"), vec!["3"]),
        ("search target", all().search("thing 1"), vec!["1"]),
        ("search resource", all().search("order"), vec!["2", "3"]),
        ("search details", all().search("plain"), vec!["0"]),
        ("percent means itself", all().search("100%"), vec!["1", "2"]),
        ("underscore means itself", all().search("r_s"), vec!["2"]),
        ("escape means itself", all().search("dan!"), vec!["3"]),
        ("quotes are harmless", all().search("o'neill; drop"), vec!["3"]),
        ("backslash is harmless", all().search("\\"), vec![]),
        ("empty search", all().search(""), vec!["0", "1", "2", "3"]),
    ] {
        assert_eq!(found(t, filter).await, expected, "{name}");
    }
});

db_test!(q1_the_select_can_be_gone_on_with, async |t| {
    fill(t).await;
    let select = get_audit_logs(&LogFilter::new()).unwrap();
    assert_eq!(select.clone().count(&t.db).await.unwrap(), 4);
    let newest = select.clone().limit(1).one(&t.db).await.unwrap().unwrap();
    assert_eq!(newest.resource_id.as_deref(), Some("3"), "newest first");
    let page = select.paginate(&t.db, 3).fetch_page(1).await.unwrap();
    assert_eq!(page.len(), 1);
});

#[test]
fn q1_a_period_that_ends_before_it_starts_is_an_error() {
    let now = Utc::now();
    let error =
        get_audit_logs(&LogFilter::new().start_date(now).end_date(now - TimeDelta::days(1))).unwrap_err();
    assert!(error.to_string().contains("before it starts"), "{error}");
}

db_test!(q1_days_are_those_of_the_callers_time_zone, async |t| {
    // Noon of 2026-01-01 in UTC, and every hour of a day and a half after it.
    let hours: Vec<Entry> = (0..36)
        .map(|hour| Entry::new(at(hour * 3600), "x", audit_seaorm::Resource::new("Hour").id(hour)))
        .collect();
    write(&t.db, &hours).await;
    let second = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
    for (offset, expected) in [(0, 12..36), (3600 * 9, 3..27), (-3600 * 5, 17..36), (1800 * 11, 7..31)] {
        let zone = FixedOffset::east_opt(offset).unwrap();
        let expected: Vec<String> = expected.map(|hour: i64| hour.to_string()).collect();
        let day = LogFilter::new().from_day(second, &zone).to_day(second, &zone);
        assert_eq!(found(t, day).await, expected, "{zone}");
        let by_name = |name, text| LogFilter::new().set(name, text, &zone).unwrap();
        let day = by_name("start_date", "2026-01-02").set("end_date", "2026-01-02", &zone).unwrap();
        assert_eq!(found(t, day).await, expected, "{zone}");
    }
});

db_test!(q1_metadata_are_found_by_the_values_of_their_members, async |t| {
    let with = |id: &str, metadata: &str| {
        let mut entry = entry(id);
        entry.metadata = Some(metadata.to_owned());
        entry
    };
    let odd = json!({r#"o'dd "key" \ $.a ? $1 %"#: r#"o'dd "value" \ ? $1 %"#}).to_string();
    write(
        &t.db,
        &[
            with("0", r#"{"department":"treasury","n":5,"ok":true,"none":null}"#),
            with("1", r#"{"department":"Treasury","n":-7.5,"ok":false}"#),
            with("2", r#"{"inner":{"department":"treasury"},"department":["treasury"]}"#),
            with("3", r#"{"text":"\"department\":\"treasury\"","n":"5","ok":"true","none":"null"}"#),
            with("4", &odd),
            with("5", r#"{"nul":"a\u0000b","department":"sales"}"#),
            with("6", "no JSON at all"),
            with("7", r#"["department","treasury"]"#),
            entry("8"),
        ],
    )
    .await;
    for (key, value, expected) in [
        ("department", json!("treasury"), vec!["0"]),
        ("department", json!("Treasury"), vec!["1"]),
        ("department", json!("TREASURY"), vec![]),
        ("department", json!("sales"), vec!["5"]),
        ("department", json!("%"), vec![]),
        ("n", json!(5), vec!["0"]),
        ("n", json!("5"), vec!["3"]),
        ("n", json!(-7.5), vec!["1"]),
        ("ok", json!(true), vec!["0"]),
        ("ok", json!(false), vec!["1"]),
        ("ok", json!("true"), vec!["3"]),
        ("none", Value::Null, vec!["0"]),
        ("none", json!("null"), vec!["3"]),
        (r#"o'dd "key" \ $.a ? $1 %"#, json!(r#"o'dd "value" \ ? $1 %"#), vec!["4"]),
        ("missing", json!("treasury"), vec![]),
        ("' OR 1=1 --", json!("' OR 1=1 --"), vec![]),
    ] {
        let filter = LogFilter::new().metadata(key, value.clone()).on(&t.db);
        assert_eq!(found(t, filter).await, expected, "{key} {value}");
    }
    let both = LogFilter::new().metadata("department", "treasury").metadata("n", 5);
    let page = LogReader::new().page(&t.db, &both, &PageRequest::new()).await.unwrap();
    assert_eq!(page.rows.len(), 1, "a reader knows its database");
    let error = get_audit_logs(&both).unwrap_err();
    assert!(error.to_string().contains(".on(&db)"), "{error}");
    let error = get_audit_logs(&both.metadata("list", json!([1])).on(&t.db)).unwrap_err();
    assert!(error.to_string().contains("not with a list"), "{error}");
});

#[test]
fn q1_what_cannot_be_meant_is_an_error_that_says_what_would_do() {
    let refused = |name: &str, text: &str, says: &str| {
        let error = LogFilter::new().set(name, text, &Utc).expect_err(text);
        assert!(
            matches!(error, Error::Filter(_)) && error.to_string().contains(says),
            "{name} {text}: {error}"
        );
        assert!(text.is_empty() || name == "status" || !error.to_string().contains(text), "{error}");
    };
    refused("start_date", "2026-02-29", "a day that exists");
    refused("end_date", "tomorrow", "2026-01-31");
    refused("days", "0", "from 1 on");
    refused("days", "-3", "from 1 on");
    refused("days", "99999999999", "from 1 on");
    refused("status", "broken", "filter: `status`: unknown status; known are success, failed, warning, info");
    refused(
        "severity",
        "loud",
        "filter: `severity`: unknown severity; known are low, medium, high, critical",
    );
    refused("action", &"a".repeat(65), "64 characters");
    refused("ip", "300.1.1.1", "an IP address");
    refused("security", "yes", "`true` or `false`");
    refused("price", "10", "there are search, days");
    assert!(get_audit_logs(&LogFilter::new().last_days(0)).is_err());
    assert!(get_audit_logs(&LogFilter::new().to_day(NaiveDate::MAX, &Utc)).is_err());
    let error = get_audit_logs(&LogFilter::new().actors(0..1001)).unwrap_err();
    assert!(error.to_string().contains("more than 1000 values"), "{error}");
}

db_test!(q1_filters_are_set_by_name, async |t| {
    fill(t).await;
    for (name, text, expected) in [
        ("search", "100%", vec!["1", "2"]),
        ("days", "30", vec!["0", "1", "2", "3"]),
        ("action", "create, delete", vec!["0", "3"]),
        ("model", "Post", vec!["0", "1"]),
        ("entity", "Order", vec!["2", "3"]),
        ("resource_id", "2", vec!["2"]),
        ("entity_id", "3", vec!["3"]),
        ("actor_name", "Cleo_100%", vec!["2"]),
        ("actor_email", "u1@example.org", vec!["1"]),
        // The set is open: nobody knows of an action that it will never be there.
        ("action", "teleport", vec![]),
        ("action", "teleport,delete", vec!["3"]),
        ("module", "blog", vec!["0", "1"]),
        ("status", "failed,WARNING", vec!["1", "2"]),
        ("severity", "low", vec!["0"]),
        ("user", "Ben", vec!["1"]),
        ("actor", "1", vec!["1"]),
        ("ip", "192.0.2.3", vec!["3"]),
        ("tenant", "acme", vec!["0", "2"]),
        ("request_id", "r0", vec!["0"]),
        ("session_id", "s0", vec!["0"]),
        ("transaction_id", "t0", vec!["0"]),
        ("security", "true", vec!["2", "3"]),
        ("security", "false", vec!["0", "1", "2", "3"]),
        ("start_date", "2100-01-01", vec![]),
        ("end_date", "2000-01-01T00:00:00+02:00", vec![]),
    ] {
        let filter = LogFilter::new().set(name, text, &Utc).unwrap();
        assert_eq!(found(t, filter).await, expected, "{name}={text}");
    }
});
