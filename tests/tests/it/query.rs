//! Q1: finding entries.

use audit_seaorm::{Actor, AuditContext, LogFilter, Operation, Severity, Status, get_audit_logs, scope};
use audit_tests::{TestDb, db_test};
use chrono::{TimeDelta, Utc};
use sea_orm::{PaginatorTrait, QuerySelect};

/// Four entries that differ in everything a filter can ask for.
async fn fill(t: &TestDb) {
    for n in 0..4 {
        let actor = Actor { email: Some(format!("u{n}@example.org")), ..Actor::user(n) };
        let context = AuditContext::new(actor)
            .named(["Ann", "Ben", "Cleo_100%", "Dan!"][n])
            .tenant(["acme", "globex", "acme", "initech"][n])
            .ip(format!("192.0.2.{n}"))
            .request_id(format!("r{n}"));
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
        ("tenant", all().tenant("acme"), vec!["0", "2"]),
        ("module", all().module("sales"), vec!["2", "3"]),
        ("status", all().status(Status::Failed), vec!["1"]),
        ("severity", all().severity(Severity::Critical), vec!["3"]),
        ("ip", all().ip("192.0.2.2"), vec!["2"]),
        ("request", all().request_id("r0"), vec!["0"]),
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
