//! The entries written by the statement that makes the change, rendered by the database.
//!
//! Besides the user's statement (`audit_n`) the `WITH` has a part that renders what it returns as entries and writes
//! them (`audit_l`): one round trip, one statement, atomic by itself.
//!
//! What is written is byte for byte what the program would have written; where SQL can't promise that, there is no
//! `OneTrip`, and the rows travel. Texts in which a secret might stand are for the program's sanitiser: if an old value
//! looks like one, the statement changes nothing at all, and the other way is taken.

use std::sync::{Arc, Mutex, PoisonError};

use audit_core::{AuditContext, Entry, FieldPolicy, Resource, action};
use sea_orm::Value;

use super::super::sql::{Delete, Insert, Source, Update, What};
use super::super::text::{Text, alias, quote, table};
use super::BACKEND;
use super::entry::Entries;
use super::pieces::{Pieces, end_of_body};
use super::rendering::Row;
use super::suspicion::{LONGEST_NAME, is_far, longest_key};
use crate::Audit;

/// A statement that also writes its entries.
#[derive(Debug)]
pub(in crate::capture) struct OneTrip {
    /// With every column that a context may fill.
    full: Arc<Texts>,
    /// Without those that are NULL, for the contexts that have been met.
    narrow: Mutex<Vec<(Present, Arc<Texts>)>>,
    /// It may have changed nothing because an old value has to go through the sanitiser.
    pub(in crate::capture) guarded: bool,
    pub(in crate::capture) action: &'static str,
    /// Longest text that it can take, in bytes.
    longest: usize,
}

/// A statement's texts.
#[derive(Debug)]
pub(in crate::capture) struct Texts {
    /// For a statement whose rows are wanted, and for one of which only their number is.
    pub(in crate::capture) query: Text,
    pub(in crate::capture) execute: Text,
    /// Whether it writes one row at most.
    one: bool,
}

/// What a statement is sent with: its texts and the values that its entries have in common.
pub(in crate::capture) struct Ready {
    pub(in crate::capture) texts: Arc<Texts>,
    pub(in crate::capture) added: Vec<Value>,
}

/// How many sorts of contexts have texts of their own: the database prepares each one.
const MOST_SORTS: usize = 8;

/// What the entries of a statement have in common, by its number among the added values.
pub(super) mod added {
    /// The id, of one entry; of several, their ids begin with `PREFIX` and count from `FIRST`.
    pub(in super::super) const ID: usize = 0;
    pub(in super::super) const PREFIX: usize = 1;
    pub(in super::super) const FIRST: usize = 2;
    pub(in super::super) const TIMESTAMP: usize = 3;
    /// What is hashed first.
    pub(in super::super) const HEAD: usize = 4;
    /// Tenant, actor, request: see [`CONTEXT`](super::CONTEXT).
    pub(in super::super) const CONTEXT: usize = 5;
}

/// Which of the columns of [`CONTEXT`] aren't NULL: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present(u16);

impl Present {
    const ALL: Self = Self(u16::MAX);

    pub(super) fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

/// The columns that come from the context, in the order of their values.
pub(super) const CONTEXT: [&str; 13] = [
    "tenant",
    "actor_id",
    "actor_type",
    "actor_name",
    "actor_email",
    "ip_address",
    "user_agent",
    "session_id",
    "request_id",
    "request_data",
    "reason",
    "metadata",
    "transaction_id",
];

impl OneTrip {
    pub(super) fn of(piece: Pieces<'_>) -> Option<Self> {
        let (texts, guarded, action) = Texts::of(piece, Present::ALL)?;
        let keys = || piece.audited.policy.fields.iter().filter(|field| field.key);
        let is_text = |field: &FieldPolicy| {
            let column = piece.facts.columns.iter().find(|column| column.name == field.column);
            column.is_some_and(|column| matches!(column.type_name.as_str(), "text" | "varchar" | "bpchar"))
        };
        let longest = if keys().any(is_text) { longest_key(keys().count()) } else { LONGEST_NAME };
        let narrow = Mutex::default();
        Some(Self { full: Arc::new(texts), narrow, guarded, action, longest })
    }

    /// Whether the protocol has room for its values.
    pub(super) fn fits(&self, most: usize) -> bool {
        self.full.query.width() <= most
    }

    /// The texts for a context that fills these columns.
    fn texts(&self, piece: Pieces<'_>, context: Present) -> Arc<Texts> {
        let mut narrow = self.narrow.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, texts)) = narrow.iter().find(|(sort, _)| *sort == context) {
            return Arc::clone(texts);
        }
        if narrow.len() >= MOST_SORTS {
            return Arc::clone(&self.full);
        }
        let made = Texts::of(piece, context).map(|(texts, ..)| Arc::new(texts));
        let texts = made.unwrap_or_else(|| Arc::clone(&self.full));
        narrow.push((context, Arc::clone(&texts)));
        texts
    }

    /// What to send; `None` if a value of the user's has to go through the sanitiser.
    pub(super) fn ready(
        &self,
        audit: &Audit,
        context: &AuditContext,
        transaction: &str,
        piece: Pieces<'_>,
        users: &[Value],
    ) -> Option<Ready> {
        let policy = &piece.audited.policy;
        let sanitizer = audit.sanitizer();
        for value in users {
            if let Value::String(Some(text)) = value
                && (text.len() > policy.max_value_bytes().min(self.longest)
                    || matches!(sanitizer.sanitize_text(text), std::borrow::Cow::Owned(_)))
            {
                return None;
            }
            if is_far(value) {
                return None;
            }
            if let Value::Bytes(Some(bytes)) = value
                && bytes.len().saturating_mul(2) + 2 > policy.max_value_bytes()
            {
                return None;
            }
        }
        let mut entry = audit.entry(self.action, Resource::new(policy.resource.clone()), context);
        entry.module.clone_from(&policy.module);
        entry.frameworks.clone_from(&policy.frameworks);
        entry.classification = policy.classification;
        entry.transaction_id.get_or_insert_with(|| transaction.to_owned());
        entry.fit();
        let (id, timestamp) = (entry.id, entry.timestamp);
        // Several have ids that the database makes.
        let head = entry.digest_input(if self.full.one { "resource_id" } else { "id" });
        let context = context_values(entry);
        let there = context.iter().enumerate().filter(|(_, value)| value.is_some());
        let texts = self.texts(piece, Present(there.fold(0, |bits, (at, _)| bits | 1 << at)));
        let (high, low) = id.as_u64_pair();
        let mut added: Vec<Value> = Vec::with_capacity(added::CONTEXT + context.len());
        added.extend([
            id.into(),
            format!("{high:016x}").into(),
            low.cast_signed().into(),
            timestamp.into(),
            head.into(),
        ]);
        added.extend(context.into_iter().map(Value::from));
        Some(Ready { texts, added })
    }
}

impl Texts {
    fn of(piece: Pieces<'_>, context: Present) -> Option<(Self, bool, &'static str)> {
        match &piece.step.parsed.what {
            What::Insert(insert) => Self::insert(piece, insert, context),
            What::Update(update) => Self::update(piece, update, context),
            What::Delete(delete) => Self::delete(piece, delete, context),
            _ => None,
        }
    }

    fn insert(piece: Pieces<'_>, insert: &Insert, context: Present) -> Option<(Self, bool, &'static str)> {
        if !piece.audited.references.is_empty() {
            return None;
        }
        let row = Row::new(piece, &insert.target)?;
        let one = match &insert.source {
            Source::Values(rows) => rows.len() == 1,
            Source::Default => true,
            Source::Query(_) => false,
        };
        let shown = row.all().into_iter().filter_map(|at| piece.audited.policy.fields.get(at));
        for field in shown.filter(|field| !field.masked) {
            if row.is_checked(field) && !piece.gives_plain_text(insert, row.column(field)?) {
                return None;
            }
        }
        let body = insert.body.start..end_of_body(&insert.body, insert.returning.as_ref());
        let changed = row.snapshot("new")?;
        let entries = Entries { action: action::CREATE, changed: &changed, condition: None, one, context };
        let make = |wanted: bool| {
            let mut text = Text::new(BACKEND);
            piece.with(&mut text, insert.with.as_ref());
            text.push("audit_n AS (").piece(piece.sql, &piece.step.parsed, &body).push(" RETURNING ");
            text.push(&row.returned(&entries));
            let items = piece.items(insert.returning.as_ref(), &insert.target).ok()?;
            let items = if wanted { items } else { Vec::new() };
            piece.returned(&mut text, &items);
            text.push("), ");
            row.entries(&mut text, &entries);
            piece.select(&mut text, &items);
            Some(text)
        };
        Some((Self { query: make(true)?, execute: make(false)?, one }, false, action::CREATE))
    }

    fn update(piece: Pieces<'_>, update: &Update, context: Present) -> Option<(Self, bool, &'static str)> {
        let row = Row::new(piece, &update.target)?;
        let assigned = |field: &FieldPolicy| update.assigned.iter().find(|a| a.column == field.column);
        let computed = |field: &FieldPolicy| row.column(field).is_some_and(|column| column.generated);
        let changing: Vec<usize> = piece
            .audited
            .policy
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.tracked && (assigned(field).is_some() || computed(field)))
            .map(|(at, _)| at)
            .collect();
        let fields = &piece.audited.policy.fields;
        if fields.iter().any(|field| field.key && assigned(field).is_some()) {
            return None;
        }
        if piece.audited.references.iter().any(|reference| changing.contains(&reference.field)) {
            return None;
        }
        for field in changing.iter().filter_map(|at| fields.get(*at)).filter(|field| !field.masked) {
            if row.is_checked(field) {
                let value = assigned(field)?.value.clone()?;
                if !piece.is_plain(&value, row.is_text(field)) {
                    return None;
                }
            }
        }
        // What says which row it is stays as it is, and is looked at like old values.
        let identity: Vec<usize> = row.identity().into_iter().filter(|at| !changing.contains(at)).collect();
        let alias = alias(BACKEND, piece.sql, &update.target);
        let names: Vec<String> = update.assigned.iter().map(|a| a.column.clone()).collect();
        let mut old = changing.clone();
        old.extend(&identity);
        // By its primary key: one that gets another key while this waits isn't the row any more that is meant.
        let primary: Vec<&str> = fields.iter().filter(|field| field.key).map(|f| f.column.as_str()).collect();
        let one = update.from.is_none() && piece.names_one_row(update.condition.as_ref(), &alias, &primary);
        let suspects = row.suspicious(&old, &|at| format!("audit_o.o{at}"));
        let (changed, condition) = row.difference(&changing)?;
        let condition = Some(condition.as_str());
        let entries = Entries { action: action::UPDATE, changed: &changed, condition, one, context };
        let make = |wanted: bool| {
            let mut text = Text::new(BACKEND);
            piece.with(&mut text, update.with.as_ref());
            let old_rows = |text: &mut Text| {
                text.push("(SELECT ").push(&piece.key_columns(&alias));
                if !old.is_empty() {
                    text.push(", ").push(&row.columns(&old));
                }
                piece.rows_of_update(text, update, &alias, &names);
                text.push(")");
            };
            if !one {
                text.push("audit_o AS ");
                old_rows(&mut text);
                text.push(", ");
                if let Some(any) = &suspects {
                    text.push("audit_g AS (SELECT FROM audit_o WHERE ").push(any).push("), ");
                }
            }
            text.push("audit_n AS (UPDATE ").push(&table(BACKEND, piece.sql, &update.target)).push(" SET ");
            text.piece(piece.sql, &piece.step.parsed, &update.set).push(" FROM ");
            if let Some(from) = &update.from {
                text.piece(piece.sql, &piece.step.parsed, from).push(", ");
            }
            if one {
                old_rows(&mut text);
                text.push(" AS ");
            }
            text.push("audit_o WHERE ");
            if let (Some(_), Some(condition)) = (&update.from, &update.condition) {
                text.push("(").piece(piece.sql, &piece.step.parsed, condition).push(") AND ");
            }
            text.push(&piece.same_key(&alias));
            match &suspects {
                Some(any) if one => _ = text.push(" AND (").push(any).push(") IS NOT TRUE"),
                Some(_) => _ = text.push(" AND NOT EXISTS (SELECT FROM audit_g)"),
                None => {}
            }
            text.push(" RETURNING ").push(&row.returned(&entries));
            let items = piece.items(update.returning.as_ref(), &update.target).ok()?;
            let items = if wanted { items } else { Vec::new() };
            piece.returned(&mut text, &items);
            text.push("), ");
            row.entries(&mut text, &entries);
            piece.select(&mut text, &items);
            if !one {
                let unless = suspects.is_some().then_some("EXISTS (SELECT FROM audit_g)");
                piece.none_missed(&mut text, update, unless);
            }
            Some(text)
        };
        Some((Self { query: make(true)?, execute: make(false)?, one }, suspects.is_some(), action::UPDATE))
    }

    fn delete(piece: Pieces<'_>, delete: &Delete, context: Present) -> Option<(Self, bool, &'static str)> {
        if !piece.audited.references.is_empty() {
            return None;
        }
        let row = Row::new(piece, &delete.target)?;
        let alias = alias(BACKEND, piece.sql, &delete.target);
        let one = delete.using.is_none() && piece.names_one_row(delete.condition.as_ref(), &alias, &[]);
        let suspects = if one {
            row.suspicious(&row.all(), &|at| row.value("n", at))
        } else {
            row.suspicious(&row.all(), &|at| format!("o{at}"))
        };
        if !one && suspects.is_some() && !piece.step.parsed.functions.is_empty() {
            // The condition is evaluated twice, and a function may say something else the second time.
            return None;
        }
        let changed = row.snapshot("old")?;
        let entries = Entries { action: action::DELETE, changed: &changed, condition: None, one, context };
        let make = |wanted: bool| {
            let mut text = Text::new(BACKEND);
            piece.with(&mut text, delete.with.as_ref());
            if let Some(any) = suspects.as_ref().filter(|_| !one) {
                text.push("audit_g AS MATERIALIZED (SELECT bool_or(").push(any);
                text.push(") AS found FROM (SELECT ").push(&row.columns(&row.all()));
                piece.rows_of_delete(&mut text, delete, &alias);
                text.push(") AS audit_o), ");
            }
            text.push("audit_n AS (DELETE FROM ").push(&table(BACKEND, piece.sql, &delete.target));
            if let Some(using) = &delete.using {
                text.push(" USING ").piece(piece.sql, &piece.step.parsed, using);
            }
            let guard = suspects.as_ref().map(|any| match one {
                true => format!("({any}) IS NOT TRUE"),
                false => "NOT COALESCE((SELECT found FROM audit_g), FALSE)".to_owned(),
            });
            if let Some(condition) = &delete.condition {
                text.push(" WHERE (").piece(piece.sql, &piece.step.parsed, condition).push(")");
            }
            if let Some(guard) = guard {
                text.push(if delete.condition.is_some() { " AND " } else { " WHERE " }).push(&guard);
            }
            text.push(" RETURNING ").push(&row.returned(&entries));
            let items = piece.items(delete.returning.as_ref(), &delete.target).ok()?;
            let items = if wanted { items } else { Vec::new() };
            piece.returned(&mut text, &items);
            text.push("), ");
            row.entries(&mut text, &entries);
            piece.select(&mut text, &items);
            Some(text)
        };
        Some((Self { query: make(true)?, execute: make(false)?, one }, suspects.is_some(), action::DELETE))
    }
}

/// The values of [`CONTEXT`].
fn context_values(entry: Entry) -> [Option<String>; CONTEXT.len()] {
    [
        entry.tenant,
        entry.actor.id,
        Some(entry.actor.kind.into_owned()),
        entry.actor.name,
        entry.actor.email,
        entry.ip_address,
        entry.user_agent,
        entry.session_id,
        entry.request_id,
        entry.request_data,
        entry.reason,
        entry.metadata,
        entry.transaction_id,
    ]
}

impl Pieces<'_> {
    /// Whether a condition names one row by a key, and with it these columns.
    fn names_one_row(
        self,
        condition: Option<&std::ops::Range<usize>>,
        alias: &str,
        required: &[&str],
    ) -> bool {
        let text = condition.and_then(|range| self.sql.get(range.clone())).unwrap_or_default();
        let mut columns = Vec::new();
        for part in text.split(" AND ") {
            // Anything that isn't quite `table.column = $1` is left to the general form.
            let Some((column, value)) = part.split_once(" = ") else { return false };
            let column = column.trim();
            let column = column.strip_prefix(alias).and_then(|c| c.strip_prefix('.')).unwrap_or(column);
            let name = column.trim_matches('"');
            let number = value.trim().strip_prefix('$').unwrap_or_default();
            if column != quote(BACKEND, name)
                || number.is_empty()
                || !number.bytes().all(|b| b.is_ascii_digit())
            {
                return false;
            }
            columns.push(name);
        }
        required.iter().all(|column| columns.contains(column))
            && self
                .facts
                .row_keys
                .iter()
                .any(|key| key.iter().all(|column| columns.contains(&column.as_str())))
    }
}
