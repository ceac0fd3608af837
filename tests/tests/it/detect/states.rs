//! What is remembered of each subject, and for how long.

use audit_seaorm::Recorded;
use audit_seaorm::entity::audit_login_attempt;

use super::*;

/// A failed login under a name, of that long ago.
fn attempt(username: &str, ago: TimeDelta) -> Recorded<LoginAttempt> {
    let mut record = Recorded::new(Utc::now() - ago, LoginAttempt::failed(username, "wrong password"));
    (record.actor, record.ip_address) = (Actor::anonymous(), Some("203.0.113.9".to_owned()));
    record.finish();
    record
}

async fn attempts(t: &TestDb, all: impl IntoIterator<Item = Recorded<LoginAttempt>>) {
    let rows: Vec<_> =
        all.into_iter().map(|record| audit_login_attempt::ActiveModel::from(&record)).collect();
    audit_login_attempt::Entity::insert_many(rows).exec_without_returning(&t.db).await.unwrap();
}

async fn states(t: &TestDb) -> i64 {
    t.value("SELECT count(*) FROM audit_detector_state").await.unwrap()
}

// Who tries names that nobody has would fill the table.
db_test!(q7_what_is_out_of_every_window_is_forgotten, async |t| {
    let detector = detector();
    attempts(t, (0..300).map(|n| attempt(&format!("invented {n}"), TimeDelta::hours(5)))).await;
    attempts(t, (0..4).map(|_| attempt("ben", TimeDelta::minutes(1)))).await;
    assert_eq!(detector.run_once(&t.db).await.unwrap().observations, 304);
    // Another run, with nothing new in it; in another process.
    Detector::new(Rule::defaults()).unwrap().run_once(&t.db).await.unwrap();
    assert_eq!(states(t).await, 2, "ben's, and that of his address");
    attempts(t, [attempt("ben", TimeDelta::zero())]).await;
    assert_eq!(rules(&detector.run_once(&t.db).await.unwrap()), ["failed_logins_of_user"]);
    // What is known of a user has no window.
    delete(&t.db, "ann", 1).await;
    let before = states(t).await;
    for _ in 0..2 {
        detector.run_once(&t.db).await.unwrap();
    }
    assert!(states(t).await > before);
});

// What was stored under the shorter window says how long that one needed it.
db_test!(q7_a_longer_window_still_has_what_the_shorter_one_would_forget, async |t| {
    let rules = |window: Duration| {
        let check = Check::Burst { of: Kind::FailedLogin, per: Subject::Username, threshold: 5, window };
        Detector::new(vec![Rule::new("failed_logins", Severity::Medium, check)]).unwrap()
    };
    let (short, long) = (Duration::from_secs(900), Duration::from_secs(24 * 3600));
    attempts(t, (0..4).map(|_| attempt("ben", TimeDelta::hours(5)))).await;
    attempts(t, [attempt("dan", TimeDelta::hours(5))]).await;
    assert_eq!(rules(short).run_once(&t.db).await.unwrap().observations, 5);
    // It starts anew with other settings; runs go by in which nothing of him is seen.
    for _ in 0..2 {
        attempts(t, [attempt("cleo", TimeDelta::zero())]).await;
        assert_eq!(rules(long).run_once(&t.db).await.unwrap().findings.len(), 0);
    }
    attempts(t, [attempt("ben", TimeDelta::zero())]).await;
    let done = rules(long).run_once(&t.db).await.unwrap();
    assert_eq!(done.findings.len(), 1, "all five are within a day");
    // When its time has come, what the window then still needs is kept, and the rest goes.
    assert_eq!(states(t).await, 3);
    t.execute("UPDATE audit_detector_state SET needed_until = needed_until - 1000000").await.unwrap();
    for _ in 0..2 {
        rules(short).run_once(&t.db).await.unwrap();
        assert_eq!(states(t).await, 2, "Ben and Cleo were seen just now, Dan wasn't");
    }
});

db_test!(q7_what_is_remembered_is_something, on(sqlite), async |t| {
    let change = || Operation::new("update", "User").id(3).changed_fields(["role"]);
    scope(AuditContext::user("ann"), change().log(&t.db)).await.unwrap();
    assert_eq!(rules(&detector().run_once(&t.db).await.unwrap()), ["privilege_change"]);
    let of_rule = "SELECT count(*) FROM audit_detector_state WHERE rule = 'privilege_change'";
    assert_eq!(t.value::<i64>(of_rule).await.unwrap(), 0, "it says each of them, and needs to remember none");
});
