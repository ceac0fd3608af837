//! That each alert comes, and comes once, whatever happens to workers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use audit_seaorm::alerts::{Alert, Backoff, Notifier, NotifyError};
use audit_seaorm::entity::audit_violation;
use audit_seaorm::{Clock, Recorded, Severity, Violation};
use audit_tests::db_test;
use chrono::TimeDelta;
use futures_util::future::join_all;
use sea_orm::{EntityTrait, TransactionTrait};
use tokio::sync::{Notify, mpsc};

use crate::connection::contention::dropped;
use crate::connection::sessions::single;

use super::{Scene, channel, received};

const LEASE: Duration = Duration::from_secs(120);

db_test!(q7_two_workers_at_once_send_each_alert_once, async |t| {
    let scene = Scene::new(t);
    let mut ids = HashSet::new();
    for _ in 0..40 {
        ids.insert(scene.violation(Severity::High).await);
    }
    let (notifier, mut receiver) = channel();
    // Each as if in a process of its own.
    let workers = (0..4).map(|_| {
        let worker = scene.worker(notifier.clone());
        async move {
            let db = t.connect().await.unwrap();
            worker.run_once(&db).await.unwrap()
        }
    });
    let passes = join_all(workers).await;
    let mut delivered: usize = passes.iter().map(|pass| pass.delivered).sum();
    // What one had leased when the other looked, and so on, is done by then; nothing is left.
    delivered += scene.worker(notifier).run_once(&t.db).await.unwrap().delivered;
    assert_eq!(delivered, 40);
    let alerts = received(&mut receiver);
    assert_eq!(alerts.len(), 40);
    assert_eq!(alerts.iter().map(|alert| alert.violation.id).collect::<HashSet<_>>(), ids);
    assert_eq!(scene.states().await, vec![("delivered".to_owned(), 1); 40]);
});

/// Passes alerts on and then never comes back.
#[derive(Debug)]
struct Stuck(mpsc::Sender<Alert>);

#[async_trait::async_trait]
impl Notifier for Stuck {
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError> {
        self.0.send(alert.clone()).await.expect("somebody receives");
        std::future::pending().await
    }
}

db_test!(q7_what_a_killed_worker_had_sent_is_sent_again_after_its_lease, async |t| {
    let scene = Scene::new(t);
    scene.violation(Severity::High).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let (killed, db) = (scene.worker(Stuck(sender)), t.db.clone());
    let task = tokio::spawn(async move { killed.run_once(&db).await });
    let first = receiver.recv().await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());

    let (notifier, mut receiver) = channel();
    let worker = scene.worker(notifier);
    scene.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(worker.run_once(&t.db).await.unwrap().delivered, 0, "it may still be at work");
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(worker.run_once(&t.db).await.unwrap().delivered, 1);
    let second = received(&mut receiver).remove(0);
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(first.delivery, second.delivery, "the receiver can tell that it has it already");
    assert_eq!(first.violation, second.violation);
});

db_test!(q7_an_alert_that_kills_its_workers_ends_as_dead, on(sqlite), async |t| {
    let scene = Scene::new(t);
    scene.violation(Severity::High).await;
    let backoff = Backoff { attempts: 2, ..Backoff::default() };
    for _ in 0..2 {
        let (sender, mut receiver) = mpsc::channel(1);
        let worker = scene.builder().route(scene.route(Stuck(sender))).backoff(backoff).build().unwrap();
        let db = t.db.clone();
        let task = tokio::spawn(async move { worker.run_once(&db).await });
        receiver.recv().await.unwrap();
        task.abort();
        _ = task.await;
        scene.clock.advance(LEASE);
    }
    let (notifier, mut receiver) = channel();
    let worker = scene.builder().route(scene.route(notifier)).backoff(backoff).build().unwrap();
    assert_eq!(worker.run_once(&t.db).await.unwrap().dead, 1);
    assert!(received(&mut receiver).is_empty());
    let alert = scene.alerts().await.remove(0);
    assert_eq!((alert.state.as_str(), alert.attempts), ("dead", 2));
    assert_eq!(alert.last_error.as_deref(), Some("its workers were stopped"));
});

db_test!(q7_a_pass_that_is_dropped_sends_nothing_twice_and_loses_nothing, async |t| {
    let scene = Scene::new(t);
    let (notifier, mut receiver) = channel();
    // Its only connection is given on after all that was begun over it.
    let db = single(t).await;
    for polls in 1..30 {
        let ids =
            HashSet::from([scene.violation(Severity::High).await, scene.violation(Severity::High).await]);
        let worker = scene.worker(notifier.clone());
        _ = dropped(worker.run_once(&db), polls).await;
        // Over the same connection, which is in order. What is being sent is sent; it needs no second attempt.
        worker.run_once(&db).await.unwrap();
        let sent = [receiver.recv().await.unwrap(), receiver.recv().await.unwrap()];
        assert_eq!(HashSet::from(sent.map(|alert| alert.violation.id)), ids, "{polls}");
        let sent = vec![("delivered".to_owned(), 1); 2 * polls];
        while scene.states().await != sent {
            tokio::task::yield_now().await;
        }
    }
    assert!(received(&mut receiver).is_empty());
});

/// Takes as long as it is kept.
#[derive(Debug, Clone)]
struct Kept {
    begun: Arc<Notify>,
    goes_on: Arc<Notify>,
}

#[async_trait::async_trait]
impl Notifier for Kept {
    async fn notify(&self, _: &Alert) -> Result<(), NotifyError> {
        self.begun.notify_one();
        self.goes_on.notified().await;
        Err(NotifyError::new("too late"))
    }
}

db_test!(q7_who_lost_its_lease_changes_nothing, async |t| {
    let scene = Scene::new(t);
    scene.violation(Severity::High).await;
    let kept = Kept { begun: Arc::default(), goes_on: Arc::default() };
    let (slow, db) = (scene.worker(kept.clone()), t.db.clone());
    let task = tokio::spawn(async move { slow.run_once(&db).await });
    kept.begun.notified().await;
    scene.clock.advance(LEASE);
    let (notifier, _receiver) = channel();
    assert_eq!(scene.worker(notifier).run_once(&t.db).await.unwrap().delivered, 1);
    kept.goes_on.notify_one();
    task.await.unwrap().unwrap();
    assert_eq!(scene.states().await, [("delivered".to_owned(), 2)], "its failure doesn't count");
});

db_test!(q7_what_takes_too_long_is_given_up, on(sqlite), async |t| {
    let scene = Scene::new(t);
    scene.violation(Severity::High).await;
    let kept = Kept { begun: Arc::default(), goes_on: Arc::default() };
    let worker = scene.builder().route(scene.route(kept)).timeout(Duration::from_millis(50)).build().unwrap();
    assert_eq!(worker.run_once(&t.db).await.unwrap().failed, 1);
    assert_eq!(scene.alerts().await[0].last_error.as_deref(), Some("no end after 50ms"));
});

fn record(scene: &Scene<'_>) -> audit_violation::ActiveModel {
    let violation = Violation::new("mass_deletion", "40 rows").severity(Severity::High);
    let mut record = Recorded::new(scene.clock.now(), violation);
    record.finish();
    audit_violation::ActiveModel::from(&record)
}

// SQLite has one writer at a time, so nothing commits while another transaction is open.
db_test!(q7_a_violation_that_commits_late_is_not_missed, on(postgres, mysql), async |t| {
    let scene = Scene::new(t);
    let (notifier, mut receiver) = channel();
    let worker = scene.worker(notifier);
    for late in [TimeDelta::seconds(1), TimeDelta::hours(3)] {
        let transaction = t.db.begin().await.unwrap();
        audit_violation::Entity::insert(record(&scene)).exec_without_returning(&transaction).await.unwrap();
        scene.clock.advance(late.to_std().unwrap());
        let newer = scene.violation(Severity::High).await;
        worker.run_once(&t.db).await.unwrap();
        assert_eq!(
            received(&mut receiver).into_iter().map(|alert| alert.violation.id).collect::<Vec<_>>(),
            [newer]
        );
        transaction.commit().await.unwrap();
        // What is that late is found when everything is looked at again.
        scene.clock.advance(Duration::from_secs(600));
        worker.run_once(&t.db).await.unwrap();
        let kinds: Vec<_> =
            received(&mut receiver).into_iter().map(|a| a.violation.what.violation_type).collect();
        assert_eq!(kinds, ["mass_deletion"], "{late}");
    }
});

db_test!(q7_more_than_a_batch_is_sent_in_one_pass, async |t| {
    let scene = Scene::new(t);
    let rows: Vec<_> = (0..250).map(|_| record(&scene)).collect();
    audit_violation::Entity::insert_many(rows).exec_without_returning(&t.db).await.unwrap();
    let (sender, mut receiver) = mpsc::channel(250);
    let worker = scene.worker(audit_seaorm::alerts::ChannelNotifier::new(sender));
    let pass = worker.run_once(&t.db).await.unwrap();
    assert_eq!((pass.found, pass.delivered), (250, 250));
    let ids: HashSet<_> = received(&mut receiver).into_iter().map(|alert| alert.delivery).collect();
    assert_eq!(ids.len(), 250);
});
