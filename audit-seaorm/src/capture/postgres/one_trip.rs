//! The entries written by the statement that makes the change, rendered by the database.
//!
//! Besides the user's statement (`audit_n`) the `WITH` has a part that renders what it returns as entries (`audit_e`)
//! and one that writes them (`audit_l`): one round trip, one statement, atomic by itself.
//!
//! What is written is byte for byte what the program would have written; where SQL can't promise that, there is no
//! `OneTrip`, and the rows travel. Texts in which a secret might stand are for the program's sanitiser: if an old value
//! looks like one, the statement changes nothing at all, and the other way is taken.

use audit_core::{AuditContext, Entry, FieldPolicy, Resource, ResourcePolicy, action};
use sea_orm::Value;

use super::super::catalogue::ColumnFacts;
use super::super::sql::{Delete, Insert, Source, Update};
use super::super::text::{Text, alias, table};
use super::rendering::Row;
use super::{BACKEND, Pieces, end_of_body};
use crate::Audit;

/// A statement that also writes its entries.
#[derive(Debug)]
pub(in crate::capture) struct OneTrip {
    /// For a statement whose rows are wanted, and for one of which only their number is.
    pub(in crate::capture) query: Text,
    pub(in crate::capture) execute: Text,
    /// It may have changed nothing because an old value has to go through the sanitiser.
    pub(in crate::capture) guarded: bool,
    pub(in crate::capture) action: &'static str,
}

/// What the entries of a statement have in common, by its number among the added values.
pub(super) mod added {
    pub(in super::super) const PREFIX: usize = 0;
    pub(in super::super) const FIRST: usize = 1;
    pub(in super::super) const TIMESTAMP: usize = 2;
    pub(in super::super) const HEAD: usize = 3;
    pub(in super::super) const TAIL: usize = 4;
    /// Tenant, actor, request: see [`CONTEXT`](super::CONTEXT).
    pub(in super::super) const CONTEXT: usize = 5;
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
    pub(super) fn insert(piece: Pieces<'_>, insert: &Insert) -> Option<Self> {
        let row = Row::new(piece)?;
        let shown = row.all().into_iter().filter_map(|at| piece.audited.policy.fields.get(at));
        for field in shown.filter(|field| !field.masked) {
            if row.is_checked(field) && !piece.gives_plain_text(insert, row.column(field)?) {
                return None;
            }
        }
        let body = insert.body.start..end_of_body(&insert.body, insert.returning.as_ref());
        let alias = alias(BACKEND, piece.sql, &insert.target);
        let make = |wanted: bool| {
            let mut text = Text::new(BACKEND);
            piece.with(&mut text, insert.with.as_ref());
            text.push("audit_n AS (").piece(piece.sql, &piece.step.parsed, &body).push(" RETURNING ");
            text.push(&row.columns(&alias, "n", &row.all()));
            let items = piece.items(insert.returning.as_ref(), &insert.target).ok()?;
            let items = if wanted { items } else { Vec::new() };
            piece.returned(&mut text, &items);
            text.push("), ");
            row.entries(&mut text, action::CREATE, &row.snapshot("new", "n")?, "TRUE");
            piece.select(&mut text, &items);
            Some(text)
        };
        Some(Self { query: make(true)?, execute: make(false)?, guarded: false, action: action::CREATE })
    }

    pub(super) fn update(piece: Pieces<'_>, update: &Update) -> Option<Self> {
        let row = Row::new(piece)?;
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
        let mut needed = row.identity();
        needed.extend(&changing);
        needed.sort_unstable();
        needed.dedup();
        let alias = alias(BACKEND, piece.sql, &update.target);
        let names: Vec<String> = update.assigned.iter().map(|a| a.column.clone()).collect();
        let mut old = changing.clone();
        old.extend(&identity);
        let suspects = row.suspicious(&old, "o");
        let difference = row.difference(&changing)?;
        let make = |wanted: bool| {
            let mut text = Text::new(BACKEND);
            piece.with(&mut text, update.with.as_ref());
            text.push("audit_o AS (SELECT ").push(&row.keys(&alias));
            if !old.is_empty() {
                text.push(", ").push(&row.columns(&alias, "o", &old));
            }
            piece.rows_of_update(&mut text, update, &alias, &names);
            text.push("), ");
            if let Some(any) = &suspects {
                text.push("audit_g AS (SELECT FROM audit_o WHERE ").push(any).push("), ");
            }
            text.push("audit_n AS (UPDATE ").push(&table(BACKEND, piece.sql, &update.target)).push(" SET ");
            text.piece(piece.sql, &piece.step.parsed, &update.set).push(" FROM ");
            if let Some(from) = &update.from {
                text.piece(piece.sql, &piece.step.parsed, from).push(", ");
            }
            text.push("audit_o WHERE ");
            if let (Some(_), Some(condition)) = (&update.from, &update.condition) {
                text.push("(").piece(piece.sql, &piece.step.parsed, condition).push(") AND ");
            }
            text.push(&piece.same_key(&alias));
            if suspects.is_some() {
                text.push(" AND NOT EXISTS (SELECT FROM audit_g)");
            }
            text.push(" RETURNING ").push(&row.columns(&alias, "n", &needed));
            for at in &changing {
                text.push(&format!(", audit_o.o{at}"));
            }
            let items = piece.items(update.returning.as_ref(), &update.target).ok()?;
            let items = if wanted { items } else { Vec::new() };
            piece.returned(&mut text, &items);
            text.push("), ");
            row.entries(&mut text, action::UPDATE, &difference.0, &difference.1);
            piece.select(&mut text, &items);
            Some(text)
        };
        let guarded = suspects.is_some();
        Some(Self { query: make(true)?, execute: make(false)?, guarded, action: action::UPDATE })
    }

    pub(super) fn delete(piece: Pieces<'_>, delete: &Delete) -> Option<Self> {
        let row = Row::new(piece)?;
        let alias = alias(BACKEND, piece.sql, &delete.target);
        let suspects = row.suspicious(&row.all(), "o");
        if suspects.is_some() && !piece.step.parsed.functions.is_empty() {
            // The condition is evaluated twice, and a function may say something else the second time.
            return None;
        }
        let make = |wanted: bool| {
            let mut text = Text::new(BACKEND);
            piece.with(&mut text, delete.with.as_ref());
            if let Some(any) = &suspects {
                text.push("audit_g AS MATERIALIZED (SELECT bool_or(").push(any);
                text.push(") AS found FROM (SELECT ").push(&row.columns(&alias, "o", &row.all()));
                piece.rows_of_delete(&mut text, delete, &alias);
                text.push(") AS audit_o), ");
            }
            text.push("audit_n AS (DELETE FROM ").push(&table(BACKEND, piece.sql, &delete.target));
            if let Some(using) = &delete.using {
                text.push(" USING ").piece(piece.sql, &piece.step.parsed, using);
            }
            let guard = "NOT COALESCE((SELECT found FROM audit_g), FALSE)";
            match (&delete.condition, suspects.is_none()) {
                (None, true) => {}
                (None, false) => _ = text.push(" WHERE ").push(guard),
                (Some(condition), no_guard) => {
                    text.push(" WHERE (").piece(piece.sql, &piece.step.parsed, condition).push(")");
                    if !no_guard {
                        text.push(" AND ").push(guard);
                    }
                }
            }
            text.push(" RETURNING ").push(&row.columns(&alias, "n", &row.all()));
            let items = piece.items(delete.returning.as_ref(), &delete.target).ok()?;
            let items = if wanted { items } else { Vec::new() };
            piece.returned(&mut text, &items);
            text.push("), ");
            row.entries(&mut text, action::DELETE, &row.snapshot("old", "n")?, "TRUE");
            piece.select(&mut text, &items);
            Some(text)
        };
        let guarded = suspects.is_some();
        Some(Self { query: make(true)?, execute: make(false)?, guarded, action: action::DELETE })
    }

    /// The values that the entries have in common; `None` if a value of the user's has to go through the sanitiser.
    pub(super) fn values(
        &self,
        audit: &Audit,
        context: &AuditContext,
        transaction: &str,
        policy: &ResourcePolicy,
        users: &[Value],
    ) -> Option<Vec<Value>> {
        let sanitizer = audit.sanitizer();
        for value in users {
            if let Value::String(Some(text)) = value
                && (text.len() > policy.max_value_bytes().min(LONGEST_NAME)
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
        entry.transaction_id.get_or_insert_with(|| transaction.to_owned());
        entry.finish();
        Some(common(&entry))
    }
}

/// Names for people are cut to this many characters; a text that is longer is for the program.
const LONGEST_NAME: usize = 16_384;

/// Whether a time lies outside of the years that all write alike.
fn is_far(value: &Value) -> bool {
    use chrono::Datelike;
    let year = match value {
        Value::ChronoDate(Some(date)) => date.year(),
        Value::ChronoDateTime(Some(time)) => time.year(),
        Value::ChronoDateTimeUtc(Some(time)) => time.year(),
        Value::ChronoDateTimeLocal(Some(time)) => time.year(),
        Value::ChronoDateTimeWithTimeZone(Some(time)) => time.year(),
        _ => return false,
    };
    // A day's margin for offsets.
    !(2..9_999).contains(&year)
}

fn common(entry: &Entry) -> Vec<Value> {
    let (high, low) = entry.id.as_u64_pair();
    let mut values: Vec<Value> = vec![
        format!("{high:016x}").into(),
        low.cast_signed().into(),
        Value::from(entry.timestamp),
        entry.digest_input(Some("id"), Some("resource_id")).into(),
        entry.digest_input(Some("is_sensitive"), None).into(),
    ];
    let context = [
        entry.tenant.clone(),
        entry.actor.id.clone(),
        Some(entry.actor.kind.to_string()),
        entry.actor.name.clone(),
        entry.actor.email.clone(),
        entry.ip_address.clone(),
        entry.user_agent.clone(),
        entry.session_id.clone(),
        entry.request_id.clone(),
        entry.request_data.clone(),
        entry.reason.clone(),
        entry.metadata.clone(),
        entry.transaction_id.clone(),
    ];
    values.extend(context.into_iter().map(Value::from));
    values
}

impl Row<'_> {
    /// Whether a value of the column may be one that only the program can render.
    fn is_checked(&self, field: &FieldPolicy) -> bool {
        self.is_text(field)
            || self.column(field).is_some_and(|column| {
                matches!(column.type_name.as_str(), "bytea" | "date" | "timestamp" | "timestamptz")
            })
    }

    /// The condition under which one of these values is for the program: a secret may be in it, it is too long, or the
    /// program may write it differently. `None` if that can't be.
    fn suspicious(&self, fields: &[usize], side: &str) -> Option<String> {
        let cap = self.piece.audited.policy.max_value_bytes();
        let (mut texts, mut conditions) = (Vec::new(), Vec::new());
        for at in fields {
            let Some(field) = self.fields().get(*at) else { continue };
            let Some(column) = self.column(field).filter(|_| !field.masked) else { continue };
            let value = format!("{side}{at}");
            match column.type_name.as_str() {
                "text" | "varchar" | "bpchar" => texts.push(value),
                "bytea" => conditions.push(format!("octet_length({value}) > {}", cap.saturating_sub(2) / 2)),
                "date" | "timestamp" | "timestamptz" => {
                    conditions.push(format!("{value} < '0001-01-01' OR {value} >= '10000-01-01'"));
                }
                _ => {}
            }
        }
        if !texts.is_empty() {
            // All texts of a row are looked at together; a match that goes over the border of two is one too many, and
            // no harm. Only the digits are counted apart again, or ordinary rows would have too many.
            let all = match texts.as_slice() {
                [one] => one.clone(),
                several => format!("concat_ws(E'\\n', {})", several.join(", ")),
            };
            let digits = |text: &str| {
                format!("length({text}) - length(translate({text}, '0123456789', '')) >= {CARD_DIGITS}")
            };
            let each = texts.iter().map(|text| digits(text)).collect::<Vec<_>>().join(" OR ");
            let longest = cap.min(LONGEST_NAME);
            let digits = if texts.len() > 1 { format!("({} AND ({each}))", digits(&all)) } else { each };
            conditions.push(format!("{all} ~ '{SECRETS}' OR {digits} OR octet_length({all}) > {longest}"));
        }
        (!conditions.is_empty()).then(|| conditions.join(" OR "))
    }
}

/// What stands in every text in which the sanitiser finds something by its look, besides the digits of cards.
const SECRETS: &str =
    "=|://.*@|eyJ|BEGIN |[Bb][Ee][Aa][Rr][Ee][Rr][[:blank:]]|[Bb][Aa][Ss][Ii][Cc][[:blank:]]";

/// Digits of the shortest card number.
const CARD_DIGITS: usize = 13;

impl Pieces<'_> {
    /// Whether an expression is nothing but a value of the user's, which is looked at before it is sent.
    fn is_plain(self, range: &std::ops::Range<usize>, text_column: bool) -> bool {
        let text = self.sql.get(range.clone()).unwrap_or_default().trim();
        let param = text.strip_prefix('$').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        // A literal in which nothing can be hidden: one word, too few digits for a card.
        let word = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).is_some_and(|inside| {
            inside.len() <= 64
                && inside.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                && inside.bytes().filter(u8::is_ascii_digit).count() < CARD_DIGITS
        });
        param || (word && text_column) || text.eq_ignore_ascii_case("null")
    }

    /// Whether an INSERT gives a text column only values that have been looked at.
    fn gives_plain_text(self, insert: &Insert, column: &ColumnFacts) -> bool {
        let position = match &insert.columns {
            Some(names) => names.iter().position(|name| *name == column.name),
            None => self.facts.columns.iter().position(|facts| facts.name == column.name),
        };
        if column.generated {
            return false;
        }
        let text_column = matches!(column.type_name.as_str(), "text" | "varchar" | "bpchar");
        let harmless = column.default.as_deref().is_none_or(is_plain_default);
        match (&insert.source, position) {
            (_, None) | (Source::Default, _) => harmless,
            (Source::Query(_), Some(_)) => false,
            (Source::Values(rows), Some(position)) => rows.iter().all(|row| {
                row.get(position).is_some_and(|range| {
                    let text = self.sql.get(range.clone()).unwrap_or_default();
                    self.is_plain(range, text_column)
                        || (harmless && text.trim().eq_ignore_ascii_case("default"))
                })
            }),
        }
    }
}

/// Whether a default is a short constant in which nothing can be hidden: `'new'::character varying`.
fn is_plain_default(expression: &str) -> bool {
    let mut parts = expression.split('\'');
    let (before, value, after) = (parts.next(), parts.next(), parts.next());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.');
    before == Some("")
        && value.is_some_and(|value| value.len() <= 12 && value.chars().all(plain))
        && after.is_some_and(|after| {
            after.starts_with("::") && after.chars().all(|c| plain(c) || matches!(c, ':' | '(' | ')'))
        })
        && parts.next().is_none()
}
