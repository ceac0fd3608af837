//! The worker in the background.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit_seaorm::Severity;
use audit_seaorm::alerts::{Alert, Notifier, NotifyError};
use audit_tests::db_test;
use tokio::sync::{Notify, mpsc};

use super::{Scene, channel};

db_test!(q7_a_worker_in_the_background_sends_what_comes_until_it_is_stopped, async |t| {
    let scene = Scene::new(t);
    let (notifier, mut receiver) = channel();
    // It only works when it is woken: a pass after its interval would come too late for the test.
    let worker =
        scene.builder().route(scene.route(notifier)).interval(Duration::from_secs(3600)).build().unwrap();
    let before = scene.violation(Severity::High).await;
    let task = worker.start(t.db.clone());
    assert_eq!(receiver.recv().await.unwrap().violation.id, before);
    for _ in 0..3 {
        let id = scene.violation(Severity::High).await;
        task.wake();
        assert_eq!(receiver.recv().await.unwrap().violation.id, id);
    }
    task.stop().await;
    scene.violation(Severity::High).await;
    drop(worker);
    assert!(receiver.recv().await.is_none(), "nobody is left who could send");
    assert_eq!(scene.states().await, vec![("delivered".to_owned(), 1); 4], "what was sent is marked");
});

db_test!(q7_a_worker_works_by_itself, on(sqlite), async |t| {
    let scene = Scene::new(t);
    let (notifier, mut receiver) = channel();
    let worker =
        scene.builder().route(scene.route(notifier)).interval(Duration::from_millis(10)).build().unwrap();
    let task = worker.start(t.db.clone());
    for _ in 0..2 {
        let id = scene.violation(Severity::High).await;
        assert_eq!(receiver.recv().await.unwrap().violation.id, id);
    }
    drop((task, worker));
    // The task ends, and what it held with it.
    assert!(receiver.recv().await.is_none());
});

/// Passes on, and waits to be told to go on.
#[derive(Debug, Clone)]
struct Kept {
    begun: mpsc::Sender<Alert>,
    goes_on: Arc<Notify>,
}

#[async_trait::async_trait]
impl Notifier for Kept {
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError> {
        self.begun.send(alert.clone()).await.expect("somebody receives");
        self.goes_on.notified().await;
        Ok(())
    }
}

db_test!(q7_stopping_waits_for_the_alert_that_is_being_sent, async |t| {
    let scene = Scene::new(t);
    let (sender, mut receiver) = mpsc::channel(1);
    let kept = Kept { begun: sender, goes_on: Arc::default() };
    for _ in 0..2 {
        scene.violation(Severity::High).await;
    }
    let task = scene.worker(kept.clone()).start(t.db.clone());
    receiver.recv().await.unwrap();
    let mut stopped = pin!(task.stop());
    assert!(tokio::time::timeout(Duration::ZERO, &mut stopped).await.is_err(), "an alert is being sent");
    kept.goes_on.notify_one();
    stopped.await;
    let mut states = scene.states().await;
    states.sort();
    assert_eq!(states, [("delivered".to_owned(), 1), ("pending".to_owned(), 0)]);
});

/// Panics the first time.
#[derive(Debug)]
struct Fragile {
    next: mpsc::Sender<Alert>,
    broken: AtomicBool,
}

#[async_trait::async_trait]
impl Notifier for Fragile {
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError> {
        self.next.send(alert.clone()).await.expect("somebody receives");
        assert!(self.broken.swap(true, Ordering::SeqCst), "on purpose");
        Ok(())
    }
}

db_test!(q7_a_notifier_that_panics_does_not_end_the_worker, on(sqlite), async |t| {
    let scene = Scene::new(t);
    let (next, mut receiver) = mpsc::channel(1);
    let notifier = Fragile { next, broken: AtomicBool::new(false) };
    let worker =
        scene.builder().route(scene.route(notifier)).interval(Duration::from_millis(10)).build().unwrap();
    let first = scene.violation(Severity::High).await;
    let task = worker.start(t.db.clone());
    assert_eq!(receiver.recv().await.unwrap().violation.id, first);
    let second = scene.violation(Severity::High).await;
    assert_eq!(receiver.recv().await.unwrap().violation.id, second);
    scene.clock.advance(Duration::from_secs(120));
    let again = receiver.recv().await.unwrap();
    assert_eq!((again.violation.id, again.attempt), (first, 2));
    task.stop().await;
});
