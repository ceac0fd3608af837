//! How workers run: each piece of work to its end, whoever waits for it, and again and again in the background.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit_core::Error;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::instrument::{Instrument, WithSubscriber};

use crate::Audit;

/// Whether somebody asked for an end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Asks for an end when the guard is dropped.
    pub(crate) fn when_dropped(&self) -> impl Drop + use<> {
        struct Guard(Stop);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.ask();
            }
        }
        Guard(self.clone())
    }
}

/// Does this in a task of its own, to its end, also if the future that waits for it is dropped.
///
/// No driver's `BEGIN` may be dropped half-way: the connection goes back to its pool with an open transaction, which keeps its locks
/// and swallows what is written over it next. On MySQL that also holds for each statement that has to be prepared.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    // What it logs goes where the caller's goes.
    match crate::spawn(work.in_current_span().with_current_subscriber()).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Query { reason: "the worker's runtime ended".to_owned(), retryable: true }),
        },
    }
}

/// A worker whose work comes in batches, each of which is done to its end.
pub(crate) trait Batched<C>: Clone + Send + Sync + 'static {
    /// What batches have done.
    type Done: Default + Send + 'static;

    /// Does one batch, and says whether there may be more.
    fn batch(self, db: Arc<C>) -> impl Future<Output = Result<(Self::Done, bool), Error>> + Send + 'static;

    /// Adds what another batch has done.
    fn add(all: &mut Self::Done, done: Self::Done);
}

/// Does batch after batch, until there are no more or somebody asks for an end.
pub(crate) async fn all_batches<C, W: Batched<C>>(
    worker: &W,
    db: &Arc<C>,
    stop: &Stop,
) -> Result<W::Done, Error> {
    let mut all = W::Done::default();
    loop {
        let (done, more) = to_the_end(worker.clone().batch(Arc::clone(db))).await?;
        W::add(&mut all, done);
        if !more || stop.is_asked() {
            return Ok(all);
        }
    }
}

/// Does all batches again and again in the background, and says after each turn what was done.
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) fn in_background<C: Send + Sync + 'static, W: Batched<C>>(
    name: &'static str,
    every: Duration,
    worker: W,
    db: C,
    say: fn(W::Done),
) -> WorkerTask {
    let db = Arc::new(db);
    WorkerTask::start(name, every, move |stop| {
        let (worker, db) = (worker.clone(), Arc::clone(&db));
        async move { all_batches(&worker, &db, &stop).await.map(say) }
    })
}

/// A worker in the background. When this is dropped, it ends after the step that it is in.
#[derive(Debug)]
#[must_use = "the worker ends when this is dropped; keep it: `let worker = ..`, not `let _ = ..`, which drops it, too"]
pub struct WorkerTask {
    name: &'static str,
    stop: Stop,
    wake: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl WorkerTask {
    /// Takes turn after turn, the first one at once, each so long after the one before has ended. A turn returns early once its
    /// `Stop` is asked; one that fails or panics is logged, and the next one comes all the same. The audit in force now is in force
    /// in them.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn start<T, F>(name: &'static str, every: Duration, turn: T) -> Self
    where
        T: Fn(Stop) -> F + Send + 'static,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (stop, wake) = (Stop::default(), Arc::new(Notify::new()));
        let run = run(name, every, turn, stop.clone(), Arc::clone(&wake));
        // The new task has no scope to find the audit by.
        let task = tokio::spawn(Audit::current().within(run).with_current_subscriber());
        Self { name, stop, wake, task: Some(task) }
    }

    /// Begins the next turn now, or as soon as the one that runs has ended.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends the worker, and waits for it: until the batch of records that it is at has been committed, or the alerts that are
    /// being sent, one for each route, are sent or have taken as long as they may. What is left stays for the next start.
    pub async fn stop(mut self) {
        self.ask();
        if let Some(task) = self.task.take()
            && task.await.is_err()
        {
            tracing::error!(worker = self.name, "the worker ended with its runtime");
        }
    }

    fn ask(&self) {
        self.stop.ask();
        self.wake.notify_one();
    }
}

impl Drop for WorkerTask {
    fn drop(&mut self) {
        self.ask();
    }
}

async fn run<T, F>(name: &'static str, every: Duration, turn: T, stop: Stop, wake: Arc<Notify>)
where
    T: Fn(Stop) -> F,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    loop {
        // A task of its own: what panics in it ends the turn, and not the worker.
        match crate::spawn(turn(stop.clone()).in_current_span().with_current_subscriber()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(worker = name, %error, "a worker failed; it tries again"),
            Err(_) => tracing::error!(worker = name, "a worker panicked; it tries again"),
        }
        if !stop.is_asked() {
            _ = tokio::time::timeout(every, wake.notified()).await;
        }
        if stop.is_asked() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::mpsc;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A worker that says the number of each turn, and then does this.
    fn counting(
        every: Duration,
        then: impl Fn(usize, Stop) -> Result<(), Error> + Copy + Send + Sync + 'static,
    ) -> (WorkerTask, mpsc::UnboundedReceiver<usize>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let turns = AtomicUsize::new(0);
        let task = WorkerTask::start("test", every, move |stop| {
            let (number, sender) = (turns.fetch_add(1, Ordering::SeqCst), sender.clone());
            async move {
                sender.send(number).unwrap();
                then(number, stop)
            }
        });
        (task, receiver)
    }

    #[tokio::test]
    async fn q7_a_worker_takes_turns_when_it_is_woken_and_by_itself() {
        let (task, mut turns) = counting(HOUR, |_, _| Ok(()));
        for number in 0..3 {
            assert_eq!(turns.recv().await, Some(number));
            task.wake();
        }
        task.stop().await;
        let (task, mut turns) = counting(Duration::from_millis(1), |_, _| Ok(()));
        for number in 0..3 {
            assert_eq!(turns.recv().await, Some(number));
        }
        task.stop().await;
        // Nobody is left who could say something.
        while turns.recv().await.is_some() {}
    }

    #[tokio::test]
    async fn q7_a_worker_that_fails_or_panics_goes_on() {
        let (task, mut turns) = counting(Duration::from_millis(1), |number, _| match number {
            0 => panic!("on purpose"),
            1 => Err(Error::Query { reason: "on purpose".to_owned(), retryable: false }),
            _ => Ok(()),
        });
        for number in 0..4 {
            assert_eq!(turns.recv().await, Some(number));
        }
        task.stop().await;
    }

    #[tokio::test]
    async fn q7_a_worker_takes_a_turn_before_it_ends_and_is_told_that_it_should() {
        let (task, mut turns) = counting(HOUR, |_, stop| {
            assert!(stop.is_asked());
            Ok(())
        });
        task.stop().await;
        assert_eq!((turns.recv().await, turns.recv().await), (Some(0), None));
        let (task, mut turns) = counting(HOUR, |_, _| Ok(()));
        drop(task);
        assert_eq!((turns.recv().await, turns.recv().await), (Some(0), None));
    }

    #[tokio::test]
    async fn q7_what_runs_to_its_end_does_so_though_nobody_waits() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let (go, on) = tokio::sync::oneshot::channel::<()>();
        let stop = Stop::default();
        let guard = stop.when_dropped();
        let mut work = Box::pin(async move {
            let _guard = guard;
            to_the_end(async move {
                _ = on.await;
                sender.send("done").unwrap();
                Ok(())
            })
            .await
        });
        assert!(tokio::time::timeout(Duration::ZERO, &mut work).await.is_err());
        assert!(!stop.is_asked());
        drop(work);
        assert!(stop.is_asked());
        go.send(()).unwrap();
        assert_eq!(receiver.recv().await, Some("done"));
    }
}
