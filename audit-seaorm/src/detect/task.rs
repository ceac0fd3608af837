//! The worker in the background.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::worker::Detector;
use crate::Audit;

impl Detector {
    /// Runs in the background until it is stopped: at once, and then again and again. A run that fails is logged, and tried again
    /// at the next turn. Findings are violations, and are logged as warnings.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<C>(self, db: C) -> DetectorTask
    where
        C: ConnectionTrait + TransactionTrait + Send + Sync + 'static,
    {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        // Its sanitiser clears what is found; the new task has no scope to find it by.
        let audit = Audit::current();
        let task = tokio::spawn(audit.within(async move {
            loop {
                match self.run_once(&db).await {
                    Ok(done) => {
                        for finding in &done.findings {
                            tracing::warn!(rule = finding.rule, count = finding.count, "suspicious activity");
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the log couldn't be looked at; trying again"),
                }
                if tokio::time::timeout(self.every, stopped.notified()).await.is_ok() {
                    return;
                }
            }
        }));
        DetectorTask { stop, task: Some(task) }
    }
}

/// A worker in the background. It ends when this is dropped, after the run that it is in.
#[derive(Debug)]
#[must_use = "the worker ends when this is dropped"]
pub struct DetectorTask {
    stop: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl DetectorTask {
    /// Ends it, and waits until the run that it is in has been committed.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        if let Some(task) = self.task.take()
            && task.await.is_err()
        {
            tracing::error!("the worker that looks at the log panicked, or its runtime ended");
        }
    }
}

impl Drop for DetectorTask {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}
