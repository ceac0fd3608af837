//! What all rewritten statements are made of: the user's parts, the images of the rows, what he asked to have returned.

use std::ops::Range;

use sea_orm::sea_query::{Alias, Expr, PostgresQueryBuilder, Query};

use super::super::catalogue::{Catalogue, TableFacts};
use super::super::plan::Step;
use super::super::sql::{Output, Returning, Target, What, With};
use super::super::text::{Text, alias, quote};
use super::BACKEND;
use super::rewritten::{MADE, NEW, OLD};
use crate::registry::Audited;

/// What a rewritten statement is made of.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a> {
    pub(super) step: &'a Step,
    pub(super) sql: &'a str,
    pub(super) audited: &'a Audited,
    pub(super) facts: &'a TableFacts,
    pub(super) catalogue: &'a Catalogue,
}

impl Pieces<'_> {
    /// Refuses what can't be a part of a `WITH` with further parts.
    pub(super) fn check(self) -> Result<(), String> {
        if self.facts.ruled {
            return Err("a rule of the table rewrites what is written to it; use a trigger".into());
        }
        let (target, with) = match &self.step.parsed.what {
            What::Insert(insert) => (&insert.target, &insert.with),
            What::Update(update) => (&update.target, &update.with),
            What::Delete(delete) => (&delete.target, &delete.with),
            _ => return Ok(()),
        };
        let hides = |with: &With| with.names.contains(&target.name.name);
        if target.name.schema.is_none() && with.as_ref().is_some_and(hides) {
            return Err("a part of its WITH has the name of the table; give it another".into());
        }
        Ok(())
    }

    pub(super) fn with(self, text: &mut Text, with: Option<&With>) {
        match with {
            None => _ = text.push("WITH "),
            Some(with) => {
                text.push(if with.recursive { "WITH RECURSIVE " } else { "WITH " });
                text.piece(self.sql, &self.step.parsed, &with.text).push(", ");
            }
        }
    }

    /// The entity's columns of a row, as SeaORM reads them, named behind a prefix.
    pub(super) fn image(self, text: &mut Text, alias: &str, prefix: &str) {
        let source = |column: &str| Expr::col((Alias::new("audit_alias"), Alias::new(column)));
        for (at, (column, expr)) in self.audited.select(&source).into_iter().enumerate() {
            let expr = Query::select().expr(expr).to_string(PostgresQueryBuilder);
            let expr = expr.trim_start_matches("SELECT ").replace("\"audit_alias\".", &format!("{alias}."));
            let name = quote(BACKEND, &format!("{prefix}{column}"));
            text.push(&format!("{}{expr} AS {name}", if at == 0 { "" } else { ", " }));
        }
    }

    /// What the user's RETURNING asks for: expressions with the names of their columns.
    pub(super) fn items(self, returning: Option<&Returning>, target: &Target) -> Result<Vec<Item>, String> {
        let joined = match &self.step.parsed.what {
            What::Update(update) => update.from.is_some(),
            What::Delete(delete) => delete.using.is_some(),
            _ => false,
        };
        let mut items = Vec::new();
        let alias = alias(BACKEND, self.sql, target);
        for item in returning.iter().flat_map(|returning| &returning.items) {
            let all = match &item.output {
                Output::Named(name) => {
                    items.push(Item { source: ItemSource::Piece(item.text.clone()), name: name.clone() });
                    continue;
                }
                // It would have the columns of the other tables as well.
                Output::All => !joined,
                Output::AllOf(of) => quote(BACKEND, of) == alias || *of == alias,
                Output::Unknown => false,
            };
            if !all {
                return Err("its RETURNING has columns whose names aren't known here; list them, and name expressions by AS".into());
            }
            for column in &self.facts.columns {
                let source = ItemSource::Text(format!("{alias}.{}", quote(BACKEND, &column.name)));
                items.push(Item { source, name: column.name.clone() });
            }
        }
        Ok(items)
    }

    /// The part of a RETURNING that is the user's.
    pub(super) fn returned(self, text: &mut Text, items: &[Item]) {
        for (at, item) in items.iter().enumerate() {
            text.push(", ");
            match &item.source {
                ItemSource::Piece(range) => _ = text.piece(self.sql, &self.step.parsed, range),
                ItemSource::Text(source) => _ = text.push(source),
            }
            text.push(&format!(" AS audit_r{at}"));
        }
    }

    /// Selects what is the user's.
    pub(super) fn select(self, text: &mut Text, items: &[Item]) {
        let column = |(at, item): (usize, &Item)| format!("audit_r{at} AS {}", quote(BACKEND, &item.name));
        let columns: Vec<String> = items.iter().enumerate().map(column).collect();
        text.push("SELECT ").push(&columns.join(", ")).push(" FROM audit_n");
    }

    pub(super) fn finish(self, text: &mut Text, items: &[Item], [old, new]: [bool; 2], upsert: bool) {
        self.returned(text, items);
        text.push(") SELECT ");
        let mut columns: Vec<String> = items
            .iter()
            .enumerate()
            .map(|(at, item)| format!("audit_r{at} AS {}", quote(BACKEND, &item.name)))
            .collect();
        for (there, prefix) in [(old, OLD), (new, NEW)] {
            if there {
                let fields = &self.audited.policy.fields;
                columns.extend(fields.iter().map(|f| quote(BACKEND, &format!("{prefix}{}", f.column))));
            }
        }
        if upsert {
            columns.push(MADE.to_owned());
        }
        text.push(&columns.join(", ")).push(" FROM audit_n");
    }
}

/// A column that the user asked for.
pub(super) struct Item {
    pub(super) source: ItemSource,
    pub(super) name: String,
}

pub(super) enum ItemSource {
    Piece(Range<usize>),
    Text(String),
}

pub(super) fn end_of_body(body: &Range<usize>, returning: Option<&Returning>) -> usize {
    returning.map_or(body.end, |returning| returning.clause.start)
}
