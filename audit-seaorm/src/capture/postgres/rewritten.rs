//! A statement made to say what it changed, and the rows that it says.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{DbErr, QueryResult};

use super::super::cascades::{self, Change};
use super::super::catalogue::{Catalogue, TableFacts};
use super::super::images::{Image, key};
use super::super::plan::Step;
use super::super::refusal::{VARIES, in_between};
use super::super::sql::What;
use super::super::text::Text;
use super::one_trip::OneTrip;
use super::pieces::Pieces;
use crate::registry::{Audited, Row};

/// Prefixes of the columns of images.
pub(super) const OLD: &str = "o.";
pub(super) const NEW: &str = "n.";
/// Whether an upsert made the row.
pub(super) const MADE: &str = "audit_made";

/// A user's statement that also says what it changed.
#[derive(Debug)]
pub(in crate::capture) struct Rewritten {
    /// The same, if the statement can write its entries as well.
    pub(super) one_trip: Option<OneTrip>,
    pub(super) text: Text,
    pub(super) old: bool,
    pub(super) new: bool,
    /// Reads and locks the rows that it will change.
    pub(super) before: Option<Text>,
    /// What it does to them.
    pub(super) change: Option<Change>,
    /// Reads and locks the rows that an upsert may update.
    pub(super) conflicting: Option<Text>,
    /// Whether an upsert's rows say whether it made them.
    pub(super) tells_made: bool,
}

impl Rewritten {
    /// The rewritten form of a plan's statement; made once.
    pub(super) fn of<'a>(
        step: &'a Step,
        sql: &str,
        audited: &Audited,
        facts: &TableFacts,
        catalogue: &Catalogue,
    ) -> Result<&'a Self, &'a str> {
        let rewritten = step.rewritten.get_or_init(|| {
            let piece = Pieces { step, sql, audited, facts, catalogue };
            piece.check()?;
            let mut rewritten = match &step.parsed.what {
                What::Insert(insert) => piece.insert(insert),
                What::Update(update) => piece.update(update),
                What::Delete(delete) => piece.delete(delete),
                _ => Err("it is none that can be rewritten".into()),
            }?;
            let reaches =
                rewritten.change.as_ref().is_some_and(|change| cascades::any(catalogue, &facts.id, change));
            if reaches {
                rewritten.one_trip = None;
            }
            // Before the statement, or for the rows before it and for itself.
            let twice = reaches || matches!(&step.parsed.what, What::Update(update) if update.from.is_some());
            if twice && chooses_by_volatile(step, sql, catalogue) {
                return Err(VARIES.into());
            }
            Ok(rewritten)
        });
        rewritten.as_ref().map_err(String::as_str)
    }

    /// The rows as they were and are, and those known before that the statement doesn't tell of.
    pub(super) fn images(
        &self,
        audited: &Arc<Audited>,
        rows: &[QueryResult],
        known: Vec<Row>,
    ) -> Result<(Vec<Image>, Vec<Row>), DbErr> {
        let mut known: HashMap<String, Row> =
            known.into_iter().map(|row| (key(audited, &*row), row)).collect();
        let mut images = Vec::with_capacity(rows.len());
        for row in rows {
            let mut old = if self.old { Some(audited.decode(row, OLD)?) } else { None };
            let new = if self.new { Some(audited.decode(row, NEW)?) } else { None };
            if self.conflicting.is_some()
                && let Some(new) = &new
            {
                old = known.remove(&key(audited, &**new));
                if self.tells_made && old.is_none() && !row.try_get::<bool>("", MADE)? {
                    // Somebody inserted it after the look at what is there.
                    return Err(in_between(&audited.policy.resource));
                }
            }
            if let Some(old) = &old {
                known.remove(&key(audited, &**old));
            }
            images.push(Image::new(audited, old, new));
        }
        let mut left: Vec<(String, Row)> = known.into_iter().collect();
        left.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
        Ok((images, left.into_iter().map(|(_, row)| row).collect()))
    }
}

/// Whether a function that may say something else each time chooses the rows.
pub(in crate::capture) fn chooses_by_volatile(step: &Step, sql: &str, catalogue: &Catalogue) -> bool {
    let pieces = match &step.parsed.what {
        What::Update(update) => [&update.from, &update.condition],
        What::Delete(delete) => [&delete.using, &delete.condition],
        _ => return false,
    };
    let pieces = pieces.into_iter().flatten();
    let texts: Vec<String> =
        pieces.map(|range| sql.get(range.clone()).unwrap_or_default().to_lowercase()).collect();
    let names = |text: &str, name: &str| {
        // With escapes for letters a name isn't seen.
        text.contains("u&")
            || text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').any(|word| word == name)
    };
    let called = step.parsed.functions.iter().map(|name| name.rsplit('.').next().unwrap_or(name));
    called.filter(|name| catalogue.varies(name)).any(|name| texts.iter().any(|text| names(text, name)))
}
