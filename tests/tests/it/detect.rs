//! Q7: suspicious activity becomes violations.

mod rules;
mod states;

use std::collections::HashSet;
use std::time::Duration;

use audit_seaorm::detect::{Check, Detected, Detector, Kind, Rule, Subject};
use audit_seaorm::entity::audit_violation;
use audit_seaorm::{
    Actor, ApiAccess, Audit, AuditContext, Config, Entry, Export, LoginAttempt, Operation, Resource,
    Severity, log_api_access, log_export, log_login, scope,
};
use audit_tests::{TestDb, db_test};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryOrder, TransactionTrait};

use crate::connection::contention::dropped;
use crate::connection::sessions::single;
use crate::random::Random;

fn detector() -> Detector {
    Detector::new(Rule::defaults()).expect("rules")
}

/// From three deletions in an hour on.
fn deletions() -> Vec<Rule> {
    let check = Check::Burst {
        of: Kind::Action("delete".to_owned()),
        per: Subject::Actor,
        threshold: 3,
        window: Duration::from_secs(3600),
    };
    vec![Rule::new("mass_deletion", Severity::High, check)]
}

async fn delete<C: ConnectionTrait>(db: &C, user: &str, id: u32) {
    let operation = Operation::new("delete", "Post").id(id);
    scope(AuditContext::user(user).tenant("acme").ip("192.0.2.7"), operation.log(db)).await.expect("logged");
}

async fn violations(t: &TestDb) -> Vec<audit_violation::Model> {
    audit_violation::Entity::find()
        .order_by_asc(audit_violation::Column::Seq)
        .all(&t.db)
        .await
        .expect("violations")
}

fn rules(done: &Detected) -> Vec<&str> {
    let mut rules: Vec<_> = done.findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules
}

db_test!(q7_the_rules_find_what_is_recorded, async |t| {
    for n in 0..60 {
        delete(&t.db, "ann", n).await;
    }
    scope(AuditContext::anonymous().ip("203.0.113.9"), async {
        for _ in 0..7 {
            log_login(&t.db, LoginAttempt::failed("ben", "wrong password")).await.unwrap();
        }
        log_api_access(&t.db, ApiAccess::new("GET", "/../../etc/passwd", 404)).await.unwrap();
    })
    .await;
    scope(AuditContext::user("cleo").tenant("acme"), async {
        log_export(&t.db, Export::new("csv", "Account").record_count(200_000)).await.unwrap();
        let slow = ApiAccess::new("GET", "/report", 200).duration(Duration::from_secs(9));
        log_api_access(&t.db, slow).await.unwrap();
        let change = Operation::new("update", "User").id(3).changed_fields(["role"]);
        change.log(&t.db).await.unwrap();
    })
    .await;
    scope(AuditContext::user("cleo").tenant("globex"), Operation::new("read", "User").log(&t.db))
        .await
        .unwrap();

    let done = detector().run_once(&t.db).await.unwrap();
    let expected = [
        "failed_logins_of_user",
        "large_exports",
        "mass_deletion",
        "other_tenant",
        "privilege_change",
        "slow_request",
        "suspicious_request",
    ];
    assert_eq!(rules(&done), expected);
    assert_eq!(done.observations, 60 + 7 + 1 + 1 + 1 + 1 + 1);
    let all = violations(t).await;
    assert_eq!(all.len(), expected.len());
    assert!(all.iter().all(|violation| violation.hash_matches() == Some(true)));
    let of = |name: &str| all.iter().find(|violation| violation.violation_type == name).unwrap();
    let deletion = of("mass_deletion");
    assert_eq!(deletion.description, "mass deletion: 50 times within 1 h");
    assert_eq!(
        (deletion.actor_id.as_deref(), deletion.tenant.as_deref()),
        (Some("ann"), Some("acme")),
        "who did it"
    );
    assert_eq!((deletion.severity.as_str(), deletion.ip_address.as_deref()), ("high", Some("192.0.2.7")));
    let details = deletion.details_json().unwrap().unwrap();
    assert_eq!((&details["count"], details["records"].as_array().unwrap().len()), (&50.into(), 20));
    assert_eq!(of("other_tenant").tenant.as_deref(), Some("globex"));
    assert_eq!(of("privilege_change").resource_id.as_deref(), Some("3"));
    assert_eq!(of("failed_logins_of_user").details_json().unwrap().unwrap()["subject"], "ben");

    // Another process goes on where this one has come to.
    let done = detector().run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, done.findings.len()), (0, 0));
    delete(&t.db, "ann", 61).await;
    let done = detector().run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, done.findings.len()), (1, 0), "the episode goes on");
});

db_test!(q7_what_is_committed_late_is_looked_at, on(postgres, mysql), async |t| {
    let detector = Detector::new(deletions()).unwrap();
    let late = t.db.begin().await.unwrap();
    delete(&late, "ann", 1).await;
    let never = t.db.begin().await.unwrap();
    delete(&never, "ann", 2).await;
    for n in 3..5 {
        delete(&t.db, "ann", n).await;
    }
    let done = detector.run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, done.findings.len(), done.waiting), (2, 0, true));
    never.rollback().await.unwrap();
    // As another process, which only knows what the database says.
    let done = Detector::new(deletions()).unwrap().run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, done.waiting), (0, true));
    late.commit().await.unwrap();
    let done = detector.run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, rules(&done)), (1, vec!["mass_deletion"]));
    assert_eq!(violations(t).await.len(), 1);
});

db_test!(q7_what_is_committed_late_is_looked_at_batch_by_batch, on(postgres, mysql), async |t| {
    let detector = Detector::new(deletions()).unwrap().batch_size(2);
    let late = t.db.begin().await.unwrap();
    for n in 0..7 {
        delete(&late, "ann", n).await;
    }
    delete(&t.db, "ben", 1).await;
    assert_eq!(detector.run_once(&t.db).await.unwrap().observations, 1);
    late.commit().await.unwrap();
    delete(&t.db, "ben", 2).await;
    let done = detector.run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, rules(&done)), (8, vec!["mass_deletion"]));
    assert_eq!(detector.run_once(&t.db).await.unwrap().observations, 0);
});

db_test!(q7_workers_at_once_find_each_finding_once, async |t| {
    for user in ["ann", "ben", "cleo"] {
        for n in 0..20 {
            delete(&t.db, user, n).await;
        }
    }
    let workers = (0..4).map(|_| {
        let (db, detector) = (t.db.clone(), Detector::new(deletions()).unwrap().batch_size(7));
        tokio::spawn(async move { detector.run_once(&db).await })
    });
    let mut observations = 0;
    for worker in workers.collect::<Vec<_>>() {
        match worker.await.unwrap() {
            Ok(done) => observations += done.observations,
            // Waiting for its turn may take too long for a database: nothing is lost by that.
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    observations += Detector::new(deletions()).unwrap().run_once(&t.db).await.unwrap().observations;
    assert_eq!(observations, 60);
    let mut users: Vec<_> =
        violations(t).await.into_iter().map(|violation| violation.actor_id.unwrap()).collect();
    users.sort();
    assert_eq!(users, ["ann", "ben", "cleo"]);
});

db_test!(q7_a_run_that_fails_leaves_nothing_and_is_made_up_for, async |t| {
    for n in 0..3 {
        delete(&t.db, "ann", n).await;
    }
    let detector = Detector::new(deletions()).unwrap();
    t.db.execute_unprepared("ALTER TABLE audit_violation RENAME TO hidden").await.unwrap();
    let error = detector.run_once(&t.db).await.unwrap_err();
    assert!(error.to_string().contains("run the audit migrations"), "{error}");
    assert_eq!(t.value::<i64>("SELECT count(*) FROM audit_detector_state").await.unwrap(), 0);
    t.db.execute_unprepared("ALTER TABLE hidden RENAME TO audit_violation").await.unwrap();
    let done = detector.run_once(&t.db).await.unwrap();
    assert_eq!((done.observations, done.findings.len()), (3, 1));
    assert_eq!(audit_violation::Entity::find().count(&t.db).await.unwrap(), 1);
});

/// What the only finding of each user says of its records, by user.
async fn counted(t: &TestDb) -> Vec<(String, u64, usize)> {
    let found = violations(t).await.into_iter().map(|violation| {
        let details = violation.details_json().unwrap().unwrap();
        let records: HashSet<_> =
            details["records"].as_array().unwrap().iter().map(ToString::to_string).collect();
        (violation.actor_id.unwrap(), details["count"].as_u64().unwrap(), records.len())
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

db_test!(q7_a_run_that_is_dropped_counts_nothing_twice, async |t| {
    // Its only connection is given on after all that was begun over it.
    let db = single(t).await;
    let mut expected = Vec::new();
    for polls in 1..60 {
        let user = format!("ann {polls:02}");
        delete(&db, &user, 1).await;
        delete(&db, &user, 2).await;
        let detector = Detector::new(deletions()).unwrap().batch_size(1);
        if let Some(done) = dropped(detector.run_once(&db), polls).await {
            assert_eq!(done.unwrap().findings.len(), 0);
        }
        // What it leaves behind neither swallows what is written next, nor keeps others out. The batch that it was at may look at
        // this one before them.
        delete(&db, &user, 3).await;
        let other = Detector::new(deletions()).unwrap();
        let goes_on = if polls % 2 == 0 { &detector } else { &other };
        goes_on.run_once(&t.db).await.unwrap();
        expected.push((user, 3, 3));
    }
    while violations(t).await.len() < expected.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(counted(t).await, expected);
});

db_test!(q7_the_worker_in_the_background_ends_after_its_run, async |t| {
    for n in 0..3 {
        delete(&t.db, "ann", n).await;
    }
    let worker = Detector::new(deletions()).unwrap().every(Duration::from_secs(3600)).start(t.db.clone());
    worker.stop().await;
    assert_eq!(violations(t).await.len(), 1);
});

db_test!(q7_the_worker_clears_findings_as_the_audit_does_in_which_it_began, async |t| {
    let mut config = Config::default();
    config.sensitive_fields = vec!["subject".to_owned()];
    let audit = Audit::builder().config(config).build().unwrap();
    for n in 0..3 {
        delete(&t.db, "ann", n).await;
    }
    let detector = Detector::new(deletions()).unwrap().every(Duration::from_secs(3600));
    let worker = audit.within(async { detector.start(t.db.clone()) }).await;
    worker.stop().await;
    let details = violations(t).await[0].details_json().unwrap().unwrap();
    assert_eq!((details["subject"].as_str(), &details["count"]), (Some("***"), &3.into()));
});

/// Entries of a week, of random users, actions, agents and times that mostly go on.
async fn random_week(t: &TestDb, random: &mut Random) {
    let mut at: DateTime<Utc> = "2026-03-02T00:00:00Z".parse().unwrap();
    let mut entries = Vec::new();
    for _ in 0..400 {
        at += TimeDelta::seconds(i64::from(random.below(3000)));
        let action = ["delete", "update", "api_access"][random.below(3) as usize];
        let mut entry = Entry::new(at, action, Resource::new("User").id(random.below(5)));
        entry.actor = Actor::user(random.below(4));
        entry.tenant = Some(["acme", "globex"][usize::from(random.below(30) == 0)].to_owned());
        entry.user_agent =
            Some(["Firefox", "Chrome", "curl"][random.below(20).saturating_sub(17) as usize].to_owned());
        if action == "api_access" {
            entry.metadata = Some(format!(
                r#"{{"path":"/a/{}","duration_us":{}}}"#,
                random.below(3),
                random.below(8_000_000)
            ));
        } else if random.below(10) == 0 {
            entry.changed_fields = vec!["role".to_owned()];
        }
        entry.finish();
        entries.push(entry);
    }
    for entries in entries.chunks(50) {
        let rows = entries.iter().map(audit_seaorm::entity::audit_log::ActiveModel::from);
        audit_seaorm::entity::audit_log::Entity::insert_many(rows)
            .exec_without_returning(&t.db)
            .await
            .unwrap();
    }
}

db_test!(q7_many_small_steps_by_many_processes_find_what_one_look_finds, async |t| {
    let mut random = Random(11);
    random_week(t, &mut random).await;
    let strict = || {
        let mut rules = Rule::defaults();
        rules.extend(deletions().into_iter().map(|rule| Rule { name: "deletions".to_owned(), ..rule }));
        let learn = Check::Unusual { factor: 2.0, at_least: 5, learn: 3 };
        rules.push(Rule::new("busy_day", Severity::Low, learn));
        rules
    };
    let whole = Detector::new(strict()).unwrap().run_once(&t.db).await.unwrap();
    let names = |found: Vec<audit_violation::Model>| -> Vec<String> {
        let mut names: Vec<_> = found.into_iter().map(|violation| violation.finding.unwrap()).collect();
        names.sort();
        names
    };
    let expected = names(violations(t).await);
    assert_eq!(expected.len(), whole.findings.len());
    let kinds: std::collections::BTreeSet<_> = rules(&whole).into_iter().collect();
    assert!(kinds.len() >= 5, "{kinds:?}");

    // The same once more, from the beginning; what is recorded already isn't recorded again.
    t.execute("UPDATE audit_detector SET place = '{}'").await.unwrap();
    t.execute("DELETE FROM audit_detector_state").await.unwrap();
    let mut observations = 0;
    let mut seen = Vec::new();
    while observations < whole.observations {
        let before = observations;
        let size = u64::from(random.below(40)) + 1;
        let detector = Detector::new(strict()).unwrap().batch_size(size);
        let done = detector.run_once(&t.db).await.unwrap();
        observations += done.observations;
        seen.extend(done.findings);
        assert!(observations > before);
    }
    assert_eq!(seen.len(), 0, "{seen:?}");
    assert_eq!(names(violations(t).await), expected);
});

#[test]
fn q7_rules_of_one_name_are_refused() {
    let mut rules = deletions();
    rules.extend(deletions());
    assert!(Detector::new(rules).unwrap_err().to_string().contains("two rules are called `mass_deletion`"));
}

#[test]
fn q7_the_rules_of_the_configuration_are_the_workers() {
    let mut config = Config::default();
    assert!(Detector::from_config(&config).is_ok());
    config.rules.extend(deletions());
    let error = Detector::from_config(&config).unwrap_err().to_string();
    assert!(error.contains("two rules are called `mass_deletion`"), "{error}");
}
