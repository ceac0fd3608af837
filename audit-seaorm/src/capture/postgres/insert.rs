//! Inserts and upserts: the rows that may stand in their way are locked and read before.

use super::super::cascades::Change;
use super::super::sql::{Assignment, Conflict, Insert, Source};
use super::super::text::{Text, alias, quote, table};
use super::BACKEND;
use super::one_trip::OneTrip;
use super::pieces::{Pieces, end_of_body};
use super::rewritten::{MADE, NEW, OLD, Rewritten};

impl Pieces<'_> {
    pub(super) fn insert(self, insert: &Insert) -> Result<Rewritten, String> {
        let parsed = &self.step.parsed;
        let body = insert.body.start..end_of_body(&insert.body, insert.returning.as_ref());
        let alias = alias(BACKEND, self.sql, &insert.target);
        let conflicting = match &insert.conflict {
            // A trigger before it may change or replace the row that is there.
            Conflict::None | Conflict::Nothing if self.facts.before_triggers => {
                let fields = self.audited.policy.fields.iter().filter(|field| field.key);
                let columns: Vec<String> = fields.map(|field| field.column.clone()).collect();
                self.conflicting(insert, &columns, &alias).ok()
            }
            Conflict::None | Conflict::Nothing => None,
            Conflict::Update { columns, assigned, .. } => {
                let is_key = |column: &String| {
                    self.audited.policy.fields.iter().any(|field| field.key && field.column == *column)
                };
                // `SET id = excluded.id`, where `id` is what the conflict is about, changes nothing.
                let itself = |assignment: &Assignment| {
                    let text =
                        assignment.value.clone().and_then(|value| self.sql.get(value)).unwrap_or_default();
                    let text = text.replace('"', "").to_lowercase();
                    columns.contains(&assignment.column)
                        && text.trim() == format!("excluded.{}", assignment.column.to_lowercase())
                };
                if let Some(moved) = assigned.iter().find(|a| is_key(&a.column) && !itself(a)) {
                    return Err(format!(
                        "its ON CONFLICT sets the key column `{}`; leave it out",
                        moved.column
                    ));
                }
                Some(self.conflicting(insert, columns, &alias)?)
            }
            Conflict::Replace | Conflict::Abort => return Err("it isn't PostgreSQL's".into()),
        };
        let mut text = Text::new(BACKEND);
        self.with(&mut text, insert.with.as_ref());
        text.push("audit_n AS (").piece(self.sql, parsed, &body).push(" RETURNING ");
        self.image(&mut text, &alias, NEW);
        let tells_made = matches!(insert.conflict, Conflict::Update { .. }) && !self.facts.partitioned;
        if tells_made {
            text.push(", (").push(&alias).push(".xmax = 0) AS ").push(MADE);
        }
        let items = self.items(insert.returning.as_ref(), &insert.target)?;
        self.finish(&mut text, &items, [false, true], tells_made);
        let one_trip = if conflicting.is_none() { OneTrip::of(self) } else { None };
        let change = match &insert.conflict {
            Conflict::Update { assigned, .. } => {
                Some(Change::Updated(assigned.iter().map(|assignment| assignment.column.clone()).collect()))
            }
            _ => None,
        };
        Ok(Rewritten { one_trip, text, old: false, new: true, before: None, change, conflicting, tells_made })
    }

    /// Locks and reads the rows that an upsert may update: those with the conflict key of a proposed row.
    pub(super) fn conflicting(
        self,
        insert: &Insert,
        columns: &[String],
        alias: &str,
    ) -> Result<Text, String> {
        let parsed = &self.step.parsed;
        if columns.is_empty() {
            return Err(
                "its ON CONFLICT names a constraint or an expression; name the columns of the key".into()
            );
        }
        let names: Vec<String> = match &insert.columns {
            Some(names) => names.clone(),
            None => self.facts.columns.iter().map(|column| column.name.clone()).collect(),
        };
        let positions: Vec<Option<usize>> =
            columns.iter().map(|column| names.iter().position(|name| name == column)).collect();
        // What a column is given that the statement leaves out; `None` if no row can have it already, or else the race is found out
        // afterwards: a number from a sequence, say.
        let default = |column: &String| {
            let facts = self.facts.columns.iter().find(|facts| facts.name == *column)?;
            facts.default.as_deref().filter(|default| !self.varies(default))
        };
        let generated = |name: &&String| self.facts.columns.iter().any(|c| c.generated && c.name == **name);
        if let Some(name) = columns.iter().find(generated) {
            return Err(format!(
                "its ON CONFLICT names `{name}`, which the database generates; UPDATE such rows instead"
            ));
        }
        let mut text = Text::new(BACKEND);
        if let Some(with) = &insert.with {
            text.push(if with.recursive { "WITH RECURSIVE " } else { "WITH " });
            text.piece(self.sql, parsed, &with.text).push(" ");
        }
        text.push("SELECT ");
        self.image(&mut text, alias, OLD);
        text.push(" FROM ").push(&table(BACKEND, self.sql, &insert.target)).push(" WHERE ");
        let column = |name: &String| format!("{alias}.{}", quote(BACKEND, name));
        match &insert.source {
            Source::Default => _ = text.push("FALSE"),
            Source::Values(rows) => {
                let mut any = false;
                for row in rows {
                    let mut parts = Vec::with_capacity(columns.len());
                    for (name, position) in columns.iter().zip(&positions) {
                        let value = match position {
                            Some(at) => Some(row.get(*at).ok_or("its rows have different lengths")?),
                            None => None,
                        };
                        let given = value.and_then(|value| self.sql.get(value.clone())).unwrap_or("default");
                        if self.varies(given) && self.calls(given) {
                            return Err(format!(
                                "the value of its key column `{name}` is another one each time; ask for it before, and pass it"
                            ));
                        }
                        match value {
                            _ if given.trim().eq_ignore_ascii_case("default") => {
                                parts.extend(default(name).map(|default| (name, None, default)));
                            }
                            value => parts.push((name, value, given)),
                        }
                    }
                    if parts.len() < columns.len() {
                        continue;
                    }
                    text.push(if any { ") OR (" } else { "(" });
                    any = true;
                    for (at, (name, value, given)) in parts.into_iter().enumerate() {
                        text.push(if at == 0 { "" } else { " AND " }).push(&column(name)).push(" = ");
                        match value {
                            Some(value) => _ = text.piece(self.sql, parsed, value),
                            None => _ = text.push(given),
                        }
                    }
                }
                text.push(if any { ")" } else { "FALSE" });
            }
            Source::Query(_) if positions.iter().any(Option::is_none) => _ = text.push("FALSE"),
            Source::Query(query) => {
                let list = |of: &str| -> String {
                    let names: Vec<String> =
                        columns.iter().map(|name| format!("{of}.{}", quote(BACKEND, name))).collect();
                    names.join(", ")
                };
                text.push("(")
                    .push(&list(alias))
                    .push(") IN (SELECT ")
                    .push(&list("audit_p"))
                    .push(" FROM (");
                text.piece(self.sql, parsed, query).push(") AS audit_p (");
                let all: Vec<String> = names.iter().map(|name| quote(BACKEND, name)).collect();
                text.push(&all.join(", ")).push("))");
            }
        }
        text.push(" FOR UPDATE OF ").push(alias);
        Ok(text)
    }

    /// Whether a function of the statement's that may say something else each time stands in this piece of it.
    pub(super) fn calls(self, text: &str) -> bool {
        let text = text.to_lowercase();
        let called = self.step.parsed.functions.iter().map(|name| name.rsplit('.').next().unwrap_or(name));
        called.into_iter().any(|name| self.catalogue.varies(name) && text.contains(name))
    }

    /// Whether an expression calls a function that may say something else each time.
    pub(super) fn varies(self, text: &str) -> bool {
        let mut before = text.split('(');
        // What is behind the last bracket isn't called.
        _ = before.next_back();
        let called = before.filter_map(|text| {
            let text = text.trim_end().trim_end_matches('"');
            text.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').next()
        });
        called.into_iter().any(|name| self.catalogue.varies(name))
    }
}
