//! The audit of an application: configuration, audited entities, clock and destination in one handle.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use audit_core::{
    AuditContext, Clock, Config, EntityOptions, Entry, Error, FailurePolicy, Geography, Resource, Sanitizer,
    Sink, SystemClock,
};
use sea_orm::{DatabaseConnection, EntityTrait};
use tokio::task::JoinHandle;

use crate::capture::pending::BeforeImages;
use crate::metrics::{Counters, Metrics};
use crate::registry::{Declared, Registry, Selection};
use crate::scope::{self, Scope};
use crate::writer::Writer;

/// The audit of an application. Cheap to clone.
///
/// Without one, everything that derives `Auditable` or carries `#[audited]` is recorded under the default
/// configuration. To say more, build one at start-up and [`install`](Self::install) it; one that is only built has no part in hooks
/// over a plain connection:
///
/// ```
/// # fn main() -> Result<(), audit_seaorm::Error> {
/// use audit_seaorm::{Audit, Config};
/// let mut config = Config::default();
/// config.require_actor = true;
/// Audit::builder().config(config).build()?.install()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    config: Config,
    sanitizer: Arc<Sanitizer>,
    registry: Registry,
    clock: Arc<dyn Clock>,
    sink: Option<Arc<dyn Sink>>,
    store: Option<DatabaseConnection>,
    geography: Option<Arc<dyn Geography>>,
    writer: Writer,
    deferred: Mutex<Vec<JoinHandle<()>>>,
    /// Whether it is that which counts where there is no other.
    is_default: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        BeforeImages::of_process().end_audit(std::ptr::from_ref(self).addr());
    }
}

/// Whether somebody has built an audit with settings of its own.
static BUILT: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<Audit> = OnceLock::new();
static DEFAULT: LazyLock<Audit> = LazyLock::new(|| {
    let (config, sanitizer) = (Config::default(), Arc::new(Sanitizer::default()));
    let registry = Registry::build(&Selection::default(), &config, &sanitizer, false).unwrap_or_default();
    let writer = Writer::without_spool(&config);
    Audit::assemble(config, sanitizer, registry, writer, AuditBuilder::default(), true)
});

impl Audit {
    /// Starts the description of an audit.
    pub fn builder() -> AuditBuilder {
        AuditBuilder::default()
    }

    /// The audit in force: that of the current scope, else the installed one, else the default.
    ///
    /// One that is built, but neither [installed](Self::install) nor in force by [`within`](Self::within), isn't found here: hooks over
    /// a plain connection and what is recorded by hand then follow the default settings. Where that happens although one with
    /// settings of its own was built, a warning is logged, once per process.
    pub fn current() -> Self {
        Scope::audit().unwrap_or_else(|| INSTALLED.get().unwrap_or_else(|| &DEFAULT).clone())
    }

    /// Makes this the audit of the whole process: that of hooks over plain connections, and of everything else outside of
    /// [`within`](Self::within) that isn't done over one of its own [connections](Self::connect).
    ///
    /// # Errors
    /// [`Error::Registration`] if one has been installed already.
    pub fn install(self) -> Result<(), Error> {
        INSTALLED.set(self).map_err(|_| {
            Error::Registration("an audit is installed already; install one, once, at start-up".into())
        })
    }

    /// Runs `future` under this audit, keeping the context: for tests, and for programs with several audits.
    pub fn within<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let audit = self.clone();
        Scope::enter(move |scope| scope.audit = Some(audit), future)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The audited entities.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The sanitiser, with the configured names.
    pub fn sanitizer(&self) -> &Sanitizer {
        &self.0.sanitizer
    }

    /// Waits until everything that is to be written apart from a transaction is written: entries about failed operations,
    /// see [`AuditBuilder::store`], and records of reads, which may go to the spool instead. What is in the spool isn't waited
    /// for; [`shutdown`](Self::shutdown) does that.
    ///
    /// # Errors
    /// [`Error::Undelivered`] if the database takes no records of reads and there is no spool. They are kept, and tried again.
    pub async fn flush(&self) -> Result<(), Error> {
        loop {
            let next = self.0.deferred.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(task) = next else { break };
            if task.await.is_err() {
                tracing::error!("a deferred audit entry was lost: its task was cancelled or panicked");
            }
        }
        self.0.writer.flush().await
    }

    /// Writes everything that waits in memory and in the spool, now. Otherwise that happens in the background; call this
    /// before the process ends. The audit stays usable.
    ///
    /// # Errors
    /// [`Error::Undelivered`] if the database doesn't take all of it. What is in the spool stays there for the next start; what
    /// is in memory without a spool is lost when the process ends, and the error says how much.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.flush().await?;
        self.0.writer.deliver().await
    }

    /// Waits until nothing waits to be written: memory and spool are empty. Entries in the spool whose transactions are open
    /// don't count. While the database takes nothing it doesn't end, so put a limit around it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(audit: audit_seaorm::Audit) {
    /// match tokio::time::timeout(Duration::from_secs(5), audit.idle()).await {
    ///     Ok(()) => println!("every record of a read is in its table"),
    ///     Err(_) => println!("still waiting: {:?}", audit.metrics().reason),
    /// }
    /// # }
    /// ```
    pub async fn idle(&self) {
        self.0.writer.idle().await;
    }

    /// What waits to be written, for how long, and what became of the rest.
    pub fn metrics(&self) -> Metrics {
        self.0.writer.metrics()
    }

    /// An entry of this moment in this context.
    pub(crate) fn entry(&self, action: &'static str, resource: Resource, context: &AuditContext) -> Entry {
        Entry::new(self.0.clock.now(), action, resource).with_context(context, &self.0.sanitizer)
    }

    /// The context in force, or the system's where that is allowed.
    pub(crate) fn context(&self, action: &str, resource: &str) -> Result<Arc<AuditContext>, Error> {
        static SYSTEM: LazyLock<Arc<AuditContext>> = LazyLock::new(|| Arc::new(AuditContext::system()));
        match scope::try_current() {
            Some(context) => Ok(context),
            None if self.0.config.require_actor => {
                Err(Error::NoActor { action: action.to_owned(), resource: resource.to_owned() })
            }
            None => Ok(Arc::clone(&SYSTEM)),
        }
    }

    /// Whether operations of this sort are recorded at all right now.
    pub(crate) fn records(&self, action: &str) -> bool {
        let records = self.0.config.enabled && !Scope::is_suspended() && !self.skips(action);
        if records && self.0.is_default && BUILT.load(Ordering::Relaxed) {
            warn_of_another();
        }
        records
    }

    /// Whether the configuration leaves this action out, of all resources.
    pub(crate) fn skips(&self, action: &str) -> bool {
        self.0.config.skip_actions.iter().any(|skipped| skipped.eq_ignore_ascii_case(action))
    }

    /// What happens to an operation on this resource whose entry can't be written.
    pub(crate) fn on_failure(&self, resource: &str) -> FailurePolicy {
        self.0.registry.on_failure(resource).unwrap_or(self.0.config.on_failure)
    }

    /// What tells it apart from others for as long as it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.0.writer.counters()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn geography(&self) -> Option<&Arc<dyn Geography>> {
        self.0.geography.as_ref()
    }

    pub(crate) fn sink(&self) -> Option<&Arc<dyn Sink>> {
        self.0.sink.as_ref()
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// This audit's writer, or if it has no database to write to, that of another.
    pub(crate) fn writer_or<'a>(&'a self, other: &'a Self) -> &'a Writer {
        if self.0.writer.has_database() { &self.0.writer } else { &other.0.writer }
    }

    pub(crate) fn own_store(&self) -> Option<&DatabaseConnection> {
        self.0.store.as_ref()
    }

    /// Keeps a task that writes an entry apart from the caller's transaction, for [`flush`](Self::flush).
    pub(crate) fn defer(&self, task: JoinHandle<()>) {
        let mut deferred = self.0.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        deferred.retain(|task| !task.is_finished());
        deferred.push(task);
    }

    fn assemble(
        config: Config,
        sanitizer: Arc<Sanitizer>,
        registry: Registry,
        writer: Writer,
        builder: AuditBuilder,
        is_default: bool,
    ) -> Self {
        if let Some(sink) = &builder.sink {
            writer.deliver_to_sink(sink);
        }
        if let Some(store) = &builder.store {
            writer.deliver_to(store);
        }
        Self(Arc::new(Inner {
            config,
            sanitizer,
            registry,
            clock: builder.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            sink: builder.sink,
            store: builder.store,
            geography: builder.geography,
            writer,
            deferred: Mutex::default(),
            is_default,
        }))
    }
}

/// Says, once, that something is recorded under the default audit although there is another.
#[cold]
fn warn_of_another() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "an audit with settings of its own was built, but something is recorded under the default settings: the audit is \
             neither installed nor in force here; call `.install()?` on it at start-up, or run the work in `Audit::within`"
        );
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("registry", &self.0.registry).finish_non_exhaustive()
    }
}

/// The description of an [`Audit`].
#[derive(Debug, Default)]
#[must_use = "nothing is audited by a builder; call `build`"]
pub struct AuditBuilder {
    selection: Selection,
    config: Option<Config>,
    clock: Option<Arc<dyn Clock>>,
    sink: Option<Arc<dyn Sink>>,
    store: Option<DatabaseConnection>,
    geography: Option<Arc<dyn Geography>>,
}

impl AuditBuilder {
    /// Sets the configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Registers the entities of a module and everything below it, such as `"my_app::entities::finance"`.
    ///
    /// As soon as one module is registered, entities outside the registered ones are no longer audited, unless they
    /// are [registered](Self::register) by themselves. Without any, all are. A trailing `*`, a crate's name with dashes
    /// and `crate::` are understood.
    pub fn register_module(mut self, path: impl Into<String>) -> Self {
        self.selection.modules.push(path.into());
        self
    }

    /// Registers one entity; it needs no derive. What is said here overrides its attributes.
    ///
    /// Hooks see only entities whose `ActiveModelBehavior` carries `#[audited]`.
    pub fn register<E>(mut self, options: EntityOptions) -> Self
    where
        E: EntityTrait,
        E::Model: 'static,
    {
        self.selection.registered.push((Declared::of_entity::<E>(), options));
        self
    }

    /// Leaves an entity out.
    pub fn exclude<E: EntityTrait>(mut self) -> Self {
        self.selection.excluded.push(TypeId::of::<E>());
        self
    }

    /// Audits everything that is announced, except the resources or tables with these names; [`build`](Self::build) fails if
    /// one of them is nobody's.
    pub fn audit_everything_except<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.selection.modules.clear();
        self.selection.excluded_names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Leaves a table out, and says why: whether an entity has it or not, [`Audit::coverage`] takes it for settled. `name`
    /// is a table's or a resource's; `table.column` waives a column that the table's entity doesn't know, `table:delete` deletes
    /// that attributes or configuration leave out, and `*:delete` those of all tables.
    pub fn waive(mut self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.selection.waivers.insert(name.into(), reason.into());
        self
    }

    /// Leaves an entity's table out, and says why; see [`waive`](Self::waive).
    pub fn waive_entity<E>(self, reason: impl Into<String>) -> Self
    where
        E: EntityTrait,
        E::Model: 'static,
    {
        self.waive(Declared::of_entity::<E>().table(), reason)
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sends entries to this sink instead of the table `audit_log`.
    pub fn sink(mut self, sink: impl Sink + 'static) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// Gives the audit a connection of its own. Entries about failed operations are written over it, so that they
    /// survive the rollback of the operation's transaction; so are records of reads. Without one, those go over the first
    /// connection that [`connect`](Audit::connect) is given.
    pub fn store(mut self, connection: DatabaseConnection) -> Self {
        self.store = Some(connection);
        self
    }

    /// Says who knows where addresses are; logins are then recorded with the place that they came from.
    pub fn geography(mut self, geography: impl Geography + 'static) -> Self {
        self.geography = Some(Arc::new(geography));
        self
    }

    /// Checks the description and makes the audit. It counts for hooks over plain connections as soon as it is
    /// [installed](Audit::install).
    ///
    /// # Errors
    /// [`Error::Config`] for a setting, [`Error::Registration`] for a module without entities, a column that isn't
    /// there, an exception that is nobody's name, two tables with one resource name, attributes that contradict each other, or a waiver without a reason;
    /// [`Error::Spool`] if the spool can't be used.
    pub fn build(mut self) -> Result<Audit, Error> {
        let has_settings = self.has_settings();
        let config = self.config.take().unwrap_or_default();
        config.validate()?;
        if let Some((name, _)) = self.selection.waivers.iter().find(|(_, reason)| reason.trim().is_empty()) {
            return Err(Error::Registration(format!(
                "the waiver of `{name}` has no reason; say why it needn't be audited"
            )));
        }
        let sanitizer = Arc::new(config.sanitizer());
        let registry = Registry::build(&self.selection, &config, &sanitizer, true)?;
        let outbox = FailurePolicy::Outbox;
        let resource = if config.on_failure == outbox { Some("all") } else { registry.with_policy(outbox) };
        if let (Some(resource), None, None) = (resource, &config.spool_dir, &self.sink) {
            return Err(Error::Registration(format!(
                "`on_failure` of `{resource}` is `outbox`, and there is no spool for it; set `spool_dir` (`[audit] spool_dir` in TOML, `AUDIT_SPOOL_DIR`)"
            )));
        }
        let writer = Writer::open(&config)?;
        let audit = Audit::assemble(config, sanitizer, registry, writer, self, false);
        if has_settings {
            BUILT.store(true, Ordering::Relaxed);
        }
        Ok(audit)
    }

    /// Whether it says anything that the default doesn't.
    fn has_settings(&self) -> bool {
        self.config.as_ref().is_some_and(|config| *config != Config::default())
            || !self.selection.is_empty()
            || self.clock.is_some()
            || self.sink.is_some()
            || self.store.is_some()
            || self.geography.is_some()
    }
}
