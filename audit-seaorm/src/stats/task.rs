//! The worker in the background.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::rollups::Rollups;

impl Rollups {
    /// Runs in the background until it is stopped: at once, and then again and again. A run that fails is logged, and tried again
    /// at the next turn.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<C>(self, db: C) -> RollupTask
    where
        C: ConnectionTrait + TransactionTrait + Send + Sync + 'static,
    {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            loop {
                match self.run_once(&db).await {
                    Ok(done) => tracing::debug!(entries = done.entries, late = done.late, "entries counted"),
                    Err(error) => tracing::warn!(%error, "entries couldn't be counted; trying again"),
                }
                if tokio::time::timeout(self.every, stopped.notified()).await.is_ok() {
                    return;
                }
            }
        });
        RollupTask { stop, task: Some(task) }
    }
}

/// A worker in the background. It ends when this is dropped, after the run that it is in.
#[derive(Debug)]
#[must_use = "the worker ends when this is dropped"]
pub struct RollupTask {
    stop: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl RollupTask {
    /// Ends it, and waits until the run that it is in has been committed.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        if let Some(task) = self.task.take()
            && task.await.is_err()
        {
            tracing::error!("the worker that counts entries panicked, or its runtime ended");
        }
    }
}

impl Drop for RollupTask {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}
