//! How entries are written in SQL: what the statement returns for them, and the part that inserts them.

use std::fmt::Write as _;

use audit_core::{action, digest_field};

use super::super::text::Text;
use super::one_trip::{CONTEXT, Present, added};
use super::rendering::{Changed, Names, Row, Sensitive, quoted};

/// What the part that writes the entries is made of.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    pub(super) action: &'static str,
    pub(super) changed: &'a Changed,
    /// Which rows make entries; all, if there is none.
    pub(super) condition: Option<&'a str>,
    /// Whether there is one row at most.
    pub(super) one: bool,
    pub(super) context: Present,
}

impl Row<'_> {
    /// The part that writes the entries, from what [`returned`](Self::returned) has.
    ///
    /// Each column, each function and each layer of it is set up anew with each statement, which costs more than to
    /// compute them: what is NULL has no column here, and what is known before comes in one piece.
    pub(super) fn entries(&self, text: &mut Text, entries: &Entries<'_>) {
        let policy = &self.piece.audited.policy;
        let Entries { action, changed, condition, one, context } = *entries;
        let restricted = policy.classification >= audit_core::Classification::Restricted;
        let sensitive = if restricted { &Sensitive::Always } else { &changed.sensitive };
        let name = policy.name_field.and_then(|at| self.name(at));
        let fields = match &changed.fields {
            Names::Fixed(names) => audit_core::list_json(names).map(|list| quoted(&list)),
            Names::Varying(_) => Some("fields".to_owned()),
        };
        let deleted = action == action::DELETE;
        let severity = if deleted { quoted("medium") } else { sensitive.choose("'medium'", "'low'") };

        let (sql, constant) = (|sql: &str| Cell::Sql(sql.to_owned()), |text: &str| Cell::Sql(quoted(text)));
        let id = if one { Cell::Added(added::ID, "uuid") } else { sql("id") };
        let mut cells = vec![("id", id), ("timestamp", Cell::Added(added::TIMESTAMP, "timestamptz"))];
        let known = CONTEXT.iter().enumerate().filter(|(at, _)| context.has(*at));
        cells.extend(known.map(|(at, column)| (*column, Cell::Added(added::CONTEXT + at, "text"))));
        cells.extend([("action", constant(action)), ("resource_type", constant(&policy.resource))]);
        cells.extend(policy.module.as_deref().map(|module| ("module", constant(module))));
        cells.push(("resource_id", sql("audit_id")));
        cells.extend(name.is_some().then(|| ("resource_name", sql("audit_name"))));
        cells.extend([
            ("status", constant("success")),
            ("severity", sql(&severity)),
            ("changes", sql("changes")),
        ]);
        cells.extend(fields.as_deref().map(|fields| ("changed_fields", sql(fields))));
        cells.extend(audit_core::list_json(&policy.frameworks).map(|list| ("frameworks", constant(&list))));
        cells.push(("classification", constant(policy.classification.as_str())));
        cells.push((
            "is_sensitive",
            sql(match sensitive {
                Sensitive::Always => "TRUE",
                Sensitive::Never => "FALSE",
                Sensitive::If(_) => "secret",
            }),
        ));

        // What `Entry::digest` hashes of what isn't known before.
        let mut input = Input::default();
        if !one {
            input.field("id", "id::text");
        }
        input.field("resource_id", "audit_id");
        if name.is_some() {
            input.field("resource_name", "audit_name");
        }
        let flags = |severity: &str, sensitive: &str| {
            digest_field("severity", severity) + &digest_field("is_sensitive", sensitive)
        };
        let usual = if deleted { "medium" } else { "low" };
        match sensitive {
            Sensitive::Always => input.known.push_str(&flags("medium", "true")),
            Sensitive::Never => input.known.push_str(&flags(usual, "false")),
            Sensitive::If(_) => input
                .push(&sensitive.choose(&quoted(&flags("medium", "true")), &quoted(&flags(usual, "false")))),
        }
        input.field("changes", "changes");
        match &changed.fields {
            Names::Fixed(names) => {
                let list = audit_core::list_json(names);
                input.known.extend(list.map(|list| digest_field("changed_fields", &list)));
            }
            Names::Varying(_) => input.field("changed_fields", "fields"),
        }

        text.push("audit_l AS (INSERT INTO audit_log (");
        for (column, _) in &cells {
            text.push(column).push(", ");
        }
        text.push("integrity_hash) SELECT ");
        for (_, cell) in &cells {
            match cell {
                Cell::Sql(sql) => text.push(sql),
                Cell::Added(index, kind) => text.added(*index).push("::").push(kind),
            };
            text.push(", ");
        }
        text.push("sha256(convert_to(concat(").added(added::HEAD).push("::text").push(&input.finish());
        text.push("), 'UTF8')) FROM ");
        let condition = condition.map_or("", |_| " WHERE changed");
        if one {
            text.push("audit_n").push(condition);
        } else {
            // OFFSET keeps PostgreSQL from making the id in both places where it is used.
            text.push("(SELECT *, (").added(added::PREFIX).push("::text || to_hex(");
            text.added(added::FIRST).push("::int8 + row_number() OVER () - 1))::uuid AS id FROM audit_n");
            text.push(condition).push(" OFFSET 0) AS audit_e");
        }
        text.push(") ");
    }

    /// What the statement itself has to return for its entries. It is rendered here, in the rows as they are written,
    /// and not in a layer of its own.
    pub(super) fn returned(&self, entries: &Entries<'_>) -> String {
        let policy = &self.piece.audited.policy;
        let changed = entries.changed;
        let name = policy.name_field.and_then(|at| self.name(at));
        let restricted = policy.classification >= audit_core::Classification::Restricted;
        let mut columns = format!("{} AS audit_id, {} AS changes", self.id(), changed.changes);
        for (expression, column) in [
            (name.as_deref(), "audit_name"),
            (changed.fields.varying(), "fields"),
            (changed.sensitive.condition().filter(|_| !restricted), "secret"),
            (entries.condition, "changed"),
        ] {
            if let Some(expression) = expression {
                _ = write!(columns, ", {expression} AS {column}");
            }
        }
        columns
    }
}

/// A column's value.
enum Cell {
    Sql(String),
    /// A value that the program adds, and its type.
    Added(usize, &'static str),
}

/// Arguments of `concat` that make the input of the hash, each after a comma.
#[derive(Default)]
struct Input {
    arguments: String,
    /// Text that wasn't put among them yet.
    known: String,
}

impl Input {
    /// A field whose content is an expression.
    fn field(&mut self, name: &str, content: &str) {
        self.known.push_str(&format!("{name}="));
        self.push(&format!("octet_length({content})"));
        self.known.push(':');
        self.push(content);
        self.known.push('\n');
    }

    fn push(&mut self, expression: &str) {
        if !self.known.is_empty() {
            _ = write!(self.arguments, ", {}", quoted(&std::mem::take(&mut self.known)));
        }
        _ = write!(self.arguments, ", {expression}");
    }

    fn finish(mut self) -> String {
        if !self.known.is_empty() {
            _ = write!(self.arguments, ", {}", quoted(&self.known));
        }
        self.arguments
    }
}
