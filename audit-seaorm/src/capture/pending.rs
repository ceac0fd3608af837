//! Rows as they were, kept between a hook that runs before a write and the one that runs after it.
//!
//! SeaORM hands nothing from `before_save` to `after_save`, and calls no hook when the write in between fails. So the
//! row waits here, under the connection's address, the entity and the row's key, with a mark of the flow of control
//! (scope or task) that will ask for it. Several writes of one row may be in flight at once, in one task (`join!`) or in
//! several: each flow finds its own, the newest first, and all learn what a finished write has made of the row.
//!
//! Invariant: memory is bounded. What a failed write left behind is dropped when its scope ends, when it is older
//! than [`KEPT_FOR`], when its audit is dropped, or when more of that audit's than its limit are waiting, oldest first. It
//! is never taken for a later write: that one has put its own image on top.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::Audit;
use crate::scope::Scope;

/// A write that takes longer than this has failed.
const KEPT_FOR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Update,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Scope(u64),
    Task(tokio::task::Id),
    /// The outermost future of a runtime, which stays on its thread.
    Thread(ThreadId),
}

impl Flow {
    fn current() -> Self {
        if let Some(id) = Scope::current_id() {
            Self::Scope(id)
        } else if let Some(id) = tokio::task::try_id() {
            Self::Task(id)
        } else {
            Self::Thread(std::thread::current().id())
        }
    }
}

/// A row, as one connection sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    connection: usize,
    entity: TypeId,
    row: String,
}

impl Key {
    pub(crate) fn new<C>(connection: &C, entity: TypeId, row: String) -> Self {
        Self { connection: std::ptr::from_ref(connection).addr(), entity, row }
    }
}

/// The audit that a row waits for, by its address.
type Owner = usize;

struct Image {
    number: u64,
    owner: Owner,
    flow: Flow,
    write: Write,
    since: Instant,
    row: Box<dyn Any + Send>,
}

#[derive(Default)]
struct Waiting {
    images: HashMap<Key, Vec<Image>>,
    /// By age, of each audit; the number is the image's.
    order: HashMap<Owner, BTreeMap<u64, Key>>,
    next: u64,
}

/// The rows that wait.
#[derive(Default)]
pub(crate) struct BeforeImages {
    waiting: Mutex<Waiting>,
    /// How many wait, to be read without the lock.
    count: AtomicUsize,
}

impl BeforeImages {
    /// Those of the process.
    pub(crate) fn of_process() -> &'static Self {
        static ALL: LazyLock<BeforeImages> = LazyLock::new(BeforeImages::default);
        &ALL
    }

    /// Keeps the row as it was before a write.
    pub(crate) fn put<M: Any + Send>(&self, audit: &Audit, key: Key, write: Write, row: M) {
        self.put_of(audit.address(), key, write, row, audit.config().pending_limit);
    }

    fn put_of<M: Any + Send>(&self, owner: Owner, key: Key, write: Write, row: M, limit: usize) {
        let now = Instant::now();
        self.with(|waiting| {
            let number = waiting.next;
            waiting.next += 1;
            waiting.order.entry(owner).or_default().insert(number, key.clone());
            let image = Image { number, owner, flow: Flow::current(), write, since: now, row: Box::new(row) };
            waiting.images.entry(key).or_default().push(image);
            waiting.drop_stale(owner, limit, now);
        });
    }

    /// Takes the row as it was before the write that this flow has just done. A future may have moved to another task in
    /// between, so if this flow has none, the newest of any other counts.
    pub(crate) fn take<M: Any>(&self, key: &Key, write: Write) -> Option<M> {
        let flow = Flow::current();
        let image = self.with(|waiting| {
            let images = waiting.images.get_mut(key)?;
            let own = images.iter().rposition(|image| image.flow == flow && image.write == write);
            let at = own.or_else(|| images.iter().rposition(|image| image.write == write))?;
            let image = images.remove(at);
            if images.is_empty() {
                waiting.images.remove(key);
            }
            waiting.order.get_mut(&image.owner)?.remove(&image.number);
            Some(image)
        })?;
        image.row.downcast().ok().map(|row| *row)
    }

    /// Tells the writes of this row that are still in flight what the row has become: they were read before the write
    /// that has just been done, but will be done after it. Calls `row` only if there are any.
    pub(crate) fn renew<M: Any + Send>(&self, key: &Key, row: impl Fn() -> M) {
        self.with(|waiting| {
            let waiting = waiting.images.get_mut(key).into_iter().flatten();
            for image in waiting {
                image.row = match image.write {
                    Write::Update => Box::new(row()),
                    Write::Delete => Box::new(Some(row())),
                };
            }
        });
    }

    /// Tells the deletes of this row that are still in flight that there is no row any more.
    pub(crate) fn settle<M: Any + Send>(&self, key: &Key) {
        self.with(|waiting| {
            for image in waiting.images.get_mut(key).into_iter().flatten() {
                if image.write == Write::Delete {
                    image.row = Box::new(None::<M>);
                }
            }
        });
    }

    /// Drops what failed writes of a scope left behind.
    pub(crate) fn end_scope(&self, id: u64) {
        if self.len() > 0 {
            self.with(|waiting| waiting.drop_where(|image| image.flow == Flow::Scope(id)));
        }
    }

    /// Drops what waits for an audit that is no more.
    pub(crate) fn end_audit(&self, owner: Owner) {
        self.with(|waiting| {
            waiting.drop_where(|image| image.owner == owner);
            waiting.order.remove(&owner);
        });
    }

    /// Number of rows that wait for writes over this connection.
    pub(crate) fn len_of<C>(&self, connection: &C) -> usize {
        let address = std::ptr::from_ref(connection).addr();
        self.with(|waiting| {
            let of_it = waiting.images.iter().filter(|(key, _)| key.connection == address);
            of_it.map(|(_, images)| images.len()).sum()
        })
    }

    /// Number of rows that wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        // Each change of the maps is complete before anything in it can panic.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut waiting);
        self.count.store(waiting.order.values().map(BTreeMap::len).sum(), Ordering::Release);
        result
    }
}

impl Waiting {
    fn drop_stale(&mut self, owner: Owner, limit: usize, now: Instant) {
        let Some(order) = self.order.get_mut(&owner) else { return };
        while let Some(oldest) = order.first_entry() {
            let (number, waiting) = (*oldest.key(), self.images.get(oldest.get()));
            let is_old = |image: &Image| image.number == number && now.duration_since(image.since) > KEPT_FOR;
            let any_old = waiting.is_some_and(|images| images.iter().any(is_old));
            if !any_old && order.len() <= limit {
                return;
            }
            let Some((_, key)) = order.pop_first() else { return };
            if let Some(images) = self.images.get_mut(&key) {
                images.retain(|image| image.number != number);
                if images.is_empty() {
                    self.images.remove(&key);
                }
            }
        }
    }

    fn drop_where(&mut self, condition: impl Fn(&Image) -> bool) {
        let Self { images, order, .. } = self;
        images.retain(|_, images| {
            for image in images.extract_if(.., |image| condition(image)) {
                if let Some(order) = order.get_mut(&image.owner) {
                    order.remove(&image.number);
                }
            }
            !images.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two audits.
    const A: Owner = 1;
    const B: Owner = 2;

    fn key(connection: &u64, row: &str) -> Key {
        Key::new(connection, TypeId::of::<u8>(), row.to_owned())
    }

    #[test]
    fn failing_writes_leak_nothing_beyond_the_limit() {
        let (images, connection) = (BeforeImages::default(), 1_u64);
        for i in 0..10_000 {
            images.put_of(A, key(&connection, &i.to_string()), Write::Update, i, 100);
        }
        assert_eq!(images.len(), 100);
        assert_eq!(images.take::<i32>(&key(&connection, "9999"), Write::Update), Some(9999));
        assert_eq!(images.take::<i32>(&key(&connection, "0"), Write::Update), None);
        for i in 0..10_000 {
            images.put_of(A, key(&connection, "same"), Write::Update, i, 100);
        }
        assert_eq!(images.len(), 100);
    }

    #[test]
    fn the_image_of_a_failed_write_is_never_taken_for_a_later_one() {
        let (images, connection) = (BeforeImages::default(), 1_u64);
        images.put_of(A, key(&connection, "a"), Write::Update, "of the failed write", 9);
        images.put_of(A, key(&connection, "a"), Write::Update, "of the later write", 9);
        assert_eq!(images.take(&key(&connection, "a"), Write::Update), Some("of the later write"));
    }

    #[test]
    fn writes_of_one_row_over_two_connections_do_not_mix() {
        let images = BeforeImages::default();
        let (one, two) = (1_u64, 2_u64);
        images.put_of(A, key(&one, "a"), Write::Update, 1, 9);
        images.put_of(A, key(&two, "a"), Write::Update, 2, 9);
        images.put_of(A, key(&one, "a"), Write::Delete, 3, 9);
        assert_eq!(images.take(&key(&one, "a"), Write::Update), Some(1));
        assert_eq!(images.take(&key(&two, "a"), Write::Update), Some(2));
        assert_eq!(images.take(&key(&one, "a"), Write::Delete), Some(3));
        assert_eq!(images.len(), 0);
    }

    #[tokio::test]
    async fn a_write_in_flight_learns_of_the_one_that_came_first() {
        let (images, connection) = (BeforeImages::default(), 1_u64);
        images.put_of(A, key(&connection, "a"), Write::Update, 0, 9);
        // Another flow.
        crate::suspended(async {
            images.put_of(A, key(&connection, "a"), Write::Update, 0, 9);
            assert_eq!(images.take::<i32>(&key(&connection, "a"), Write::Update), Some(0));
            images.renew(&key(&connection, "a"), || 1);
        })
        .await;
        assert_eq!(images.take::<i32>(&key(&connection, "a"), Write::Update), Some(1));
    }

    #[test]
    fn an_audit_drops_only_what_waits_for_it() {
        let (images, connection) = (BeforeImages::default(), 1_u64);
        images.put_of(B, key(&connection, "b"), Write::Update, "b", 9);
        images.put_of(B, key(&connection, "same"), Write::Update, "b", 9);
        for i in 0..10 {
            images.put_of(A, key(&connection, &i.to_string()), Write::Update, "a", 2);
        }
        images.put_of(A, key(&connection, "same"), Write::Update, "a", 2);
        assert_eq!(images.len(), 4, "two of each");
        images.end_audit(A);
        assert_eq!(images.len(), 2);
        assert_eq!(images.take(&key(&connection, "b"), Write::Update), Some("b"));
        assert_eq!(images.take(&key(&connection, "same"), Write::Update), Some("b"));
    }

    #[tokio::test]
    async fn a_scope_takes_its_leftovers_with_it() {
        let (images, connection) = (BeforeImages::of_process(), 1_u64);
        let abandoned = crate::suspended(async {
            images.put_of(A, key(&connection, "abandoned"), Write::Update, 0, 9);
            assert_eq!(images.len(), 1);
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), abandoned).await.is_err());
        assert_eq!(images.len(), 0);
    }
}
