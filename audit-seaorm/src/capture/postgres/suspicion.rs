//! What is for the program and not for SQL: texts in which a secret may stand, and values that it writes differently.
//!
//! The conditions are true for too many values rather than too few.

use audit_core::FieldPolicy;
use sea_orm::Value;

use super::super::catalogue::ColumnFacts;
use super::super::sql::{Insert, Source};
use super::pieces::Pieces;
use super::rendering::Row;

/// Names for people are cut to this many characters; a text that is longer is for the program.
pub(super) const LONGEST_NAME: usize = 16_384;

/// Longest text, in bytes, that fits into an id as one of so many parts, however much of it has to be escaped.
pub(super) fn longest_key(parts: usize) -> usize {
    audit_core::MAX_ID_BYTES / parts.max(1) / 2 - 1
}

/// Whether a time lies outside of the years that all write alike.
pub(super) fn is_far(value: &Value) -> bool {
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

impl Row<'_> {
    /// Whether a value of the column may be one that only the program can render.
    pub(super) fn is_checked(&self, field: &FieldPolicy) -> bool {
        self.is_text(field)
            || self.column(field).is_some_and(|column| {
                matches!(column.type_name.as_str(), "bytea" | "date" | "timestamp" | "timestamptz")
            })
    }

    /// The condition under which one of these values is for the program: a secret may be in it, it is too long, or the
    /// program may write it differently. `None` if that can't be.
    pub(super) fn suspicious(&self, fields: &[usize], value: &dyn Fn(usize) -> String) -> Option<String> {
        let cap = self.piece.audited.policy.max_value_bytes();
        let keys = self.fields().iter().filter(|field| field.key).count();
        let (mut texts, mut conditions) = (Vec::new(), Vec::new());
        for at in fields {
            let Some(field) = self.fields().get(*at) else { continue };
            let Some(column) = self.column(field).filter(|_| !field.masked) else { continue };
            let value = value(*at);
            match column.type_name.as_str() {
                "text" | "varchar" | "bpchar" => {
                    if field.key {
                        conditions.push(format!("octet_length({value}) > {}", longest_key(keys)));
                    }
                    texts.push(value);
                }
                "bytea" => conditions.push(format!("octet_length({value}) > {}", cap.saturating_sub(2) / 2)),
                "date" | "timestamp" | "timestamptz" => {
                    conditions.push(format!("{value} < '0001-01-01' OR {value} >= '10000-01-01'"));
                }
                _ => {}
            }
        }
        if !texts.is_empty() {
            // All texts of a row are looked at together; a match that goes over the border of two is one too many, and
            // no harm.
            let all = match texts.as_slice() {
                [one] => one.clone(),
                several => format!("concat_ws(E'\\n', {})", several.join(", ")),
            };
            let longest = cap.min(LONGEST_NAME);
            conditions.push(format!("{all} ~ '{SECRETS}' OR octet_length({all}) > {longest}"));
        }
        (!conditions.is_empty()).then(|| conditions.join(" OR "))
    }
}

/// What matches every text in which the sanitiser finds something by its look; the digits at the end are those of the
/// shortest card number. One expression: to count digits otherwise takes twice as long as all of it.
const SECRETS: &str = "=|://.*@|eyJ|BEGIN |[Bb][Ee][Aa][Rr][Ee][Rr][[:blank:]]|[Bb][Aa][Ss][Ii][Cc][[:blank:]]|[0-9](?:[ -]?[0-9]){12}";

/// Digits of the shortest card number.
const CARD_DIGITS: usize = 13;

impl Pieces<'_> {
    /// Whether an expression is nothing but a value of the user's, which is looked at before it is sent.
    pub(super) fn is_plain(self, range: &std::ops::Range<usize>, text_column: bool) -> bool {
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
    pub(super) fn gives_plain_text(self, insert: &Insert, column: &ColumnFacts) -> bool {
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
