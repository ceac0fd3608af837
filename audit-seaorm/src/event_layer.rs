//! A layer for `tracing-subscriber` that turns events of the program into system events (feature `tracing-subscriber`).

use std::cell::Cell;
use std::fmt::{self, Debug, Write as _};

use audit_core::{EventKind, Record, Recorded, SystemEvent};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::Audit;
use crate::db_error::without_values;

/// Records events of the levels `ERROR` and `WARN` as system events, with their fields and those of their spans, sanitised, in
/// the context of the task that they happen in.
///
/// It never waits: the audit's writer takes them, so the audit needs a connection of its own or must have been
/// [connected](Audit::connect). If its queue is full, they are lost, and [counted](crate::Metrics::lost): a storm of errors must
/// not take the program's memory. What can't be recorded is left to the other layers.
///
/// It never feeds itself: what happens while it works, what this library says, and what a driver says of statements on the
/// audit tables isn't recorded.
///
/// Texts of statements (fields `db.statement` and `db.query.text`, the `summary` of a slow one) are left out, and so are values that
/// databases quote in their messages.
///
/// A field `error_code` becomes the event's code; `security = true` or `performance = true` its type. The innermost span is its
/// function.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
/// # fn main() -> Result<(), audit_seaorm::Error> {
/// let audit = audit_seaorm::Audit::builder().build()?;
/// let subscriber = tracing_subscriber::registry().with(audit_seaorm::EventLayer::new(audit));
/// tracing::subscriber::with_default(subscriber, || tracing::error!(error_code = "E42", "payment provider down"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct EventLayer {
    audit: Audit,
    level: Level,
}

/// Targets whose events are about writing events.
const OWN: [&str; 3] = ["audit_seaorm", "audit_core", "audit_migration"];

thread_local! {
    /// Whether this thread is at work on an event.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

tokio::task_local! {
    /// Whether this task writes records.
    static WRITING: ();
}

/// Runs what writes records, so that what happens in it makes no more of them.
pub(crate) async fn writing<F: Future>(future: F) -> F::Output {
    WRITING.scope((), future).await
}

impl EventLayer {
    /// Records the errors and warnings of the program.
    pub fn new(audit: Audit) -> Self {
        Self { audit, level: Level::WARN }
    }

    /// Records everything from this level on; `INFO` and below are events of the type `info`.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

/// The fields of a span.
struct SpanFields(Map<String, Value>);

impl<S> Layer<S> for EventLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(SpanFields(fields.all()));
        }
    }

    fn on_record(&self, id: &Id, values: &SpanRecord<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions_mut().get_mut::<SpanFields>()
        {
            let mut fields = Fields::default();
            values.record(&mut fields);
            known.0.extend(fields.all());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() > self.level || WORKING.get() || WRITING.try_with(|()| ()).is_ok() {
            return;
        }
        let target = event.metadata().target();
        if OWN
            .iter()
            .any(|own| target.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
        {
            return;
        }
        let _working = Working::begin();
        self.take(event, &context);
    }
}

impl EventLayer {
    fn take<S>(&self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let about_records = |text: &str| text.contains("audit_");
        if event.metadata().target().starts_with("sqlx") {
            if fields.about_records || fields.texts().any(about_records) {
                return;
            }
            // The beginning of a statement, or all of a short one.
            fields.fields.remove("summary");
        }
        let metadata = event.metadata();
        let kind = if fields.is_set("security") {
            EventKind::Security
        } else if fields.is_set("performance") {
            EventKind::Performance
        } else {
            match *metadata.level() {
                Level::ERROR => EventKind::Error,
                Level::WARN => EventKind::Warning,
                _ => EventKind::Info,
            }
        };
        let title = fields.message.take().unwrap_or_else(|| metadata.name().to_owned());
        let mut record = SystemEvent::new(kind, "");
        record.module = metadata.module_path().or(Some(metadata.target())).map(str::to_owned);
        record.file = metadata.file().map(str::to_owned);
        record.line = metadata.line().and_then(|line| i32::try_from(line).ok());
        record.error_code = fields.error_code.take();
        record.title = without_values(&title);
        record.description = fields.error.take();
        record.stack_trace = fields.causes.take();
        let mut all = Map::new();
        if let Some(scope) = context.event_scope(event) {
            let mut spans = Vec::new();
            for span in scope {
                record.function.get_or_insert_with(|| span.name().to_owned());
                let mut members = Map::new();
                members.insert("name".into(), span.name().into());
                if let Some(SpanFields(fields)) = span.extensions().get::<SpanFields>() {
                    members.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                spans.push(Value::Object(members));
            }
            if !spans.is_empty() {
                all.insert("spans".into(), spans.into());
            }
        }
        all.extend(fields.fields);
        if !self.audit.records(audit_core::action::SYSTEM_EVENT) {
            return;
        }
        // Not an error without an actor, even where operations demand one: what went wrong must not get lost.
        let context = crate::scope::try_current().unwrap_or_default();
        let record = crate::log::records::make_in(&self.audit, record, &context);
        let mut record: Recorded<SystemEvent> = record.with_metadata(all, self.audit.sanitizer());
        record.finish();
        self.audit.writer().offer(Record::from(record));
    }
}

/// Marks this thread as at work, until it is dropped.
struct Working;

impl Working {
    fn begin() -> Self {
        WORKING.set(true);
        Self
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        WORKING.set(false);
    }
}

/// The fields of an event or span.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    error: Option<String>,
    causes: Option<String>,
    error_code: Option<String>,
    /// A statement was named that may be about the audit tables.
    about_records: bool,
    fields: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match field.name() {
            "message" => self.message = Some(text(&value)),
            "error" => self.error = Some(without_values(&text(&value))),
            "error_code" => self.error_code = Some(text(&value)),
            // The text of a statement, as drivers name it: values stand in it that may be recorded nowhere.
            "db.statement" | "db.query.text" => self.about_records |= text(&value).contains("audit_"),
            name => {
                let value =
                    if let Value::String(text) = &value { without_values(text).into() } else { value };
                self.fields.insert(name.to_owned(), value);
            }
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| *value == Value::Bool(true))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.message.as_deref().into_iter().chain(self.fields.values().filter_map(Value::as_str))
    }

    /// All of them as they are named, as a span has them.
    fn all(self) -> Map<String, Value> {
        let mut all = self.fields;
        for (name, text) in
            [("message", self.message), ("error", self.error), ("error_code", self.error_code)]
        {
            if let Some(text) = text {
                all.insert(name.into(), text.into());
            }
        }
        all
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
        let mut causes = String::new();
        for cause in std::iter::successors(value.source(), |cause| cause.source()) {
            let separator = if causes.is_empty() { "" } else { "\ncaused by: " };
            _ = write!(causes, "{separator}{}", without_values(&cause.to_string()));
        }
        if !causes.is_empty() {
            self.causes = Some(causes);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

impl fmt::Debug for SpanFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanFields")
    }
}
