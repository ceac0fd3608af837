//! Each rule over the tables: what it finds there, of whom, and what it doesn't find.

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Query, QueryType, Status, log_query};
use chrono::{NaiveTime, Weekday};

use super::*;

/// What was found, as rule and subject, and that each finding has become one violation.
async fn found(t: &TestDb, rules: Vec<Rule>) -> Vec<(String, String)> {
    let before = violations(t).await.len();
    let done = Detector::new(rules).expect("rules").run_once(&t.db).await.expect("a run");
    let all = violations(t).await.split_off(before);
    assert_eq!(all.len(), done.findings.len());
    let mut found: Vec<_> = done.findings.into_iter().map(|found| (found.rule, found.subject)).collect();
    let of = |violation: audit_violation::Model| {
        let details = violation.details_json().unwrap().unwrap();
        (violation.violation_type, details["subject"].as_str().unwrap().to_owned())
    };
    let mut recorded: Vec<_> = all.into_iter().map(of).collect();
    found.sort();
    recorded.sort();
    assert_eq!(recorded, found);
    found
}

fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(rule, subject)| (rule.as_str(), subject.as_str())).collect()
}

/// The violation of this rule.
async fn violation(t: &TestDb, rule: &str) -> audit_violation::Model {
    let mut all = violations(t).await;
    all.retain(|violation| violation.violation_type == rule);
    assert_eq!(all.len(), 1, "{rule}");
    all.remove(0)
}

/// Writes an operation of this user, of this moment.
async fn at(t: &TestDb, user: &str, moment: &str) {
    let mut entry = Entry::new(moment.parse().expect("a moment"), "update", Resource::new("Post").id(1));
    (entry.actor, entry.tenant) = (Actor::user(user), Some("acme".to_owned()));
    entry.finish();
    let row = audit_log::ActiveModel::from(&entry);
    audit_log::Entity::insert(row).exec_without_returning(&t.db).await.expect("an entry");
}

fn cleo() -> AuditContext {
    AuditContext::user("cleo").tenant("acme").ip("192.0.2.9")
}

db_test!(q7_ten_exports_within_an_hour_are_too_many, async |t| {
    let export = |user: &'static str, export: Export| {
        scope(AuditContext::user(user).tenant("acme").ip("192.0.2.9"), log_export(&t.db, export))
    };
    for _ in 0..9 {
        export("cleo", Export::new("csv", "Account")).await.unwrap();
        export("dan", Export::new("csv", "Account")).await.unwrap();
    }
    // What failed took nothing out of the system.
    export("dan", Export::new("csv", "Account").failed("disk full")).await.unwrap();
    assert_eq!(found(t, Rule::defaults()).await, []);
    export("cleo", Export::new("pdf", "Report")).await.unwrap();
    export("cleo", Export::new("pdf", "Report")).await.unwrap();
    assert_eq!(pairs(&found(t, Rule::defaults()).await), [("too_many_exports", "cleo")]);
    let violation = violation(t, "too_many_exports").await;
    assert_eq!(violation.description, "too many exports: 10 times within 1 h");
    assert_eq!((violation.severity.as_str(), violation.tenant.as_deref()), ("high", Some("acme")));
    assert_eq!(
        (violation.actor_id.as_deref(), violation.ip_address.as_deref()),
        (Some("cleo"), Some("192.0.2.9"))
    );
    assert_eq!(violation.resource_type.as_deref(), Some("Report"), "what the tenth was of");
});

db_test!(q7_twenty_failed_logins_from_one_address_are_too_many_whatever_the_name, async |t| {
    let attempt = |address: &'static str, attempt: LoginAttempt| {
        scope(AuditContext::anonymous().ip(address), log_login(&t.db, attempt))
    };
    for n in 0..19 {
        let name = format!("invented {n}");
        attempt("203.0.113.9", LoginAttempt::failed(&name, "unknown")).await.unwrap();
        attempt("203.0.113.10", LoginAttempt::failed(&name, "unknown")).await.unwrap();
    }
    attempt("203.0.113.10", LoginAttempt::success("ann")).await.unwrap();
    assert_eq!(found(t, Rule::defaults()).await, []);
    // A blocked one counts as well.
    attempt("203.0.113.9", LoginAttempt::blocked("ann", "too many")).await.unwrap();
    assert_eq!(pairs(&found(t, Rule::defaults()).await), [("failed_logins_from_address", "203.0.113.9")]);
    let violation = violation(t, "failed_logins_from_address").await;
    assert_eq!((violation.severity.as_str(), violation.ip_address.as_deref()), ("high", Some("203.0.113.9")));
    assert_eq!(violation.details_json().unwrap().unwrap()["count"], 20);
});

db_test!(q7_a_new_program_and_a_new_address_are_noticed_of_who_is_known, async |t| {
    let act = async |user: &str, agent: &str, address: &str| {
        let context = AuditContext::user(user).tenant("acme").user_agent(agent).ip(address);
        scope(context, Operation::new("update", "Post").id(1).log(&t.db)).await.expect("logged");
    };
    for n in 0..21 {
        act("ann", "Firefox/128", "192.0.2.7").await;
        // Of whom one operation less than it takes is known.
        if n < 19 {
            act("ben", "Firefox/128", "192.0.2.8").await;
        }
    }
    act("ben", "curl/8", "203.0.113.5").await;
    assert_eq!(found(t, Rule::defaults()).await, []);
    act("ann", "curl/8", "192.0.2.7").await;
    assert_eq!(pairs(&found(t, Rule::defaults()).await), [("unusual_user_agent", "ann")]);
    act("ann", "Firefox/128", "203.0.113.5").await;
    act("ann", "Firefox/128", "203.0.113.5").await;
    assert_eq!(pairs(&found(t, Rule::defaults()).await), [("new_address", "ann")]);
    let (program, address) = (violation(t, "unusual_user_agent").await, violation(t, "new_address").await);
    assert_eq!((program.user_agent.as_deref(), program.actor_id.as_deref()), (Some("curl/8"), Some("ann")));
    assert_eq!((address.ip_address.as_deref(), address.severity.as_str()), (Some("203.0.113.5"), "low"));
    // By then they are known.
    act("ann", "curl/8", "203.0.113.5").await;
    assert_eq!(found(t, Rule::defaults()).await, []);
});

db_test!(q7_work_outside_of_hours_is_noticed_once_a_day, async |t| {
    let hours = Check::OutsideHours {
        from: NaiveTime::from_hms_opt(8, 0, 0).unwrap(),
        to: NaiveTime::from_hms_opt(18, 0, 0).unwrap(),
        days: vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri],
        offset_minutes: 60,
    };
    let rules = || vec![Rule::new("at_night", Severity::Low, hours.clone())];
    // A Monday: 8:00 and 17:59:59 there.
    at(t, "ann", "2026-03-02T07:00:00Z").await;
    at(t, "ann", "2026-03-02T16:59:59Z").await;
    assert_eq!(found(t, rules()).await, []);
    for moment in ["2026-03-02T17:00:00Z", "2026-03-02T21:30:00Z"] {
        at(t, "ann", moment).await;
    }
    at(t, "ben", "2026-03-02T06:59:59Z").await;
    assert_eq!(pairs(&found(t, rules()).await), [("at_night", "ann"), ("at_night", "ben")]);
    // Tuesday there, and a Saturday at noon.
    at(t, "ann", "2026-03-02T23:30:00Z").await;
    at(t, "ann", "2026-03-07T11:00:00Z").await;
    assert_eq!(pairs(&found(t, rules()).await), [("at_night", "ann"), ("at_night", "ann")]);
    let said: Vec<String> = violations(t).await.into_iter().map(|found| found.description).collect();
    assert_eq!(said.len(), 4);
    assert!(said.contains(&"at night: work on Sat at 12:00".to_owned()), "{said:?}");
});

db_test!(q7_a_day_far_above_a_users_own_is_unusual, async |t| {
    let rules = || {
        let check = Check::Unusual { factor: 3.0, at_least: 5, learn: 3 };
        vec![Rule::new("busy_day", Severity::Medium, check)]
    };
    // Ann does two things a day, Ben ten.
    for day in 1..=4 {
        let each = |user| if user == "ann" { 2 } else { 10 };
        for user in ["ann", "ben"] {
            for n in 0..each(user) {
                at(t, user, &format!("2026-03-0{day}T09:{n:02}:00Z")).await;
            }
        }
    }
    assert_eq!(found(t, rules()).await, []);
    for n in 0..10 {
        for user in ["ann", "ben"] {
            at(t, user, &format!("2026-03-05T09:{n:02}:00Z")).await;
        }
    }
    assert_eq!(pairs(&found(t, rules()).await), [("busy_day", "ann")]);
    // Two, and three times the least deviation there is: the sixth.
    let said = violation(t, "busy_day").await;
    assert_eq!(said.description, "busy day: 6 operations in a day, usually 2");
    assert_eq!((said.actor_id.as_deref(), said.tenant.as_deref()), (Some("ann"), Some("acme")));
});

db_test!(q7_reads_are_looked_at_as_what_they_are, async |t| {
    let read = |rows: i64, took: Duration| {
        let query = Query::new(QueryType::Select, "Account").record_count(rows).duration(took);
        scope(cleo(), log_query(&t.db, query))
    };
    let hour = Duration::from_secs(3600);
    let rules = || {
        let (of, per) = (Kind::Read, Subject::Actor);
        let mut rules = Rule::defaults();
        let many = Check::Burst { of: of.clone(), per, threshold: 3, window: hour };
        rules.push(Rule::new("many_reads", Severity::Low, many));
        let much = Check::Volume { of, per, threshold: 1_000, window: hour };
        rules.push(Rule::new("much_read", Severity::Medium, much));
        rules
    };
    read(400, Duration::from_millis(4_999)).await.unwrap();
    read(400, Duration::ZERO).await.unwrap();
    assert_eq!(found(t, rules()).await, []);
    read(1, Duration::from_secs(5)).await.unwrap();
    assert_eq!(pairs(&found(t, rules()).await), [("many_reads", "cleo"), ("slow_request", "Account")]);
    let slow = violation(t, "slow_request").await;
    assert_eq!((slow.resource_type.as_deref(), slow.actor_id.as_deref()), (Some("Account"), Some("cleo")));
    assert_eq!(slow.description, "slow request: took 5000 ms");
    read(199, Duration::from_secs(6)).await.unwrap();
    assert_eq!(
        pairs(&found(t, rules()).await),
        [("much_read", "cleo")],
        "of the slow ones more is said in an hour"
    );
    assert_eq!(violation(t, "much_read").await.description, "much read: 1000 records within 1 h");
});

db_test!(q7_failures_of_every_sort_count_as_failures, async |t| {
    let failures = |threshold| {
        let window = Duration::from_secs(3600);
        let check = Check::Burst { of: Kind::Failed, per: Subject::Actor, threshold, window };
        vec![Rule::new("failures", Severity::Medium, check)]
    };
    scope(cleo(), async {
        let failed = Operation::new("approve", "Order").id(7).status(Status::Failed);
        failed.log(&t.db).await.unwrap();
        log_login(&t.db, LoginAttempt::failed("cleo", "wrong password")).await.unwrap();
        log_export(&t.db, Export::new("csv", "Account").failed("disk full")).await.unwrap();
        // None of these failed.
        Operation::new("approve", "Order").id(7).status(Status::Warning).log(&t.db).await.unwrap();
        log_login(&t.db, LoginAttempt::success("cleo")).await.unwrap();
        log_export(&t.db, Export::new("csv", "Account")).await.unwrap();
        log_query(&t.db, Query::new(QueryType::Select, "Account")).await.unwrap();
    })
    .await;
    assert_eq!(found(t, failures(4)).await, []);
    let timeout = Query::new(QueryType::Select, "Account").failed("timeout");
    scope(cleo(), log_query(&t.db, timeout)).await.unwrap();
    assert_eq!(pairs(&found(t, failures(4)).await), [("failures", "cleo")]);
    assert_eq!(violation(t, "failures").await.details_json().unwrap().unwrap()["count"], 4);
});
