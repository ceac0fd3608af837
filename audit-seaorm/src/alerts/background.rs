//! A worker in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::ConnectionTrait;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::AlertWorker;

/// Whether somebody asked for an end.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A worker that runs in the background. When this is dropped, it ends after the alert that it is sending.
#[derive(Debug)]
#[must_use = "the worker ends when this is dropped"]
pub struct AlertTask {
    stop: Stop,
    wake: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl AlertTask {
    pub(super) fn start<C: ConnectionTrait + Send + Sync + 'static>(worker: AlertWorker, db: C) -> Self {
        let (stop, wake) = (Stop::default(), Arc::new(Notify::new()));
        let run = run(worker, Arc::new(db), stop.clone(), Arc::clone(&wake));
        Self { task: Some(tokio::spawn(run)), stop, wake }
    }

    /// Begins the next pass now. Call it where a violation was recorded that can't wait.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends the worker and waits for it: until the alerts that are being sent, one for each route, are sent, or have taken as
    /// long as they may. The others stay for the next start.
    pub async fn stop(mut self) {
        self.ask();
        if let Some(task) = self.task.take() {
            // It doesn't panic, and nobody else can cancel it.
            _ = task.await;
        }
    }

    fn ask(&self) {
        self.stop.ask();
        self.wake.notify_one();
    }
}

impl Drop for AlertTask {
    fn drop(&mut self) {
        self.ask();
    }
}

async fn run<C>(worker: AlertWorker, db: Arc<C>, stop: Stop, wake: Arc<Notify>)
where
    C: ConnectionTrait + Send + Sync + 'static,
{
    while !stop.is_asked() {
        // A task of its own: a notifier that panics doesn't end the others' alerts with it.
        let pass = {
            let (worker, db, stop) = (worker.clone(), Arc::clone(&db), stop.clone());
            tokio::spawn(async move { worker.pass(&*db, &stop).await.map(|_| ()) })
        };
        match pass.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "alerts can't be sent now; they will be tried again"),
            Err(_) => {
                tracing::error!("a notifier of alerts panicked; its alert is tried again when its lease ends")
            }
        }
        if !stop.is_asked() {
            _ = tokio::time::timeout(worker.0.interval, wake.notified()).await;
        }
    }
}
