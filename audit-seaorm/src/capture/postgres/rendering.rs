//! How a row of a table looks as an entry, in SQL.
//!
//! What these expressions make is byte for byte what the program would have made of the row; where SQL can't promise
//! that, there is none.

use std::fmt::Write as _;

use audit_core::{FieldPolicy, Value as Rendered, action};
use sea_orm::sea_query::{Alias, Expr, PostgresQueryBuilder, Query};

use super::super::catalogue::{ColumnFacts, TableFacts};
use super::super::text::{Text, quote};
use super::one_trip::{CONTEXT, added};
use super::{BACKEND, Pieces};

/// How a table's rows look in SQL.
pub(super) struct Row<'a> {
    pub(super) piece: Pieces<'a>,
}

impl<'a> Row<'a> {
    /// `None` if the rows, or entries about them, can't be rendered by the database.
    pub(super) fn new(piece: Pieces<'a>) -> Option<Self> {
        let policy = &piece.audited.policy;
        let row = Self { piece };
        let usual = !policy.snapshot && !piece.facts.triggers;
        let keys = policy.fields.iter().filter(|field| field.key).all(|field| {
            let kind = row.column(field).map(|column| column.type_name.as_str());
            !field.masked
                && !field.excluded
                && matches!(kind, Some("int2" | "int4" | "int8" | "uuid" | "text" | "varchar"))
        });
        (usual && keys && row.plain_columns()).then_some(row)
    }

    /// Whether every column is read as it is, or as the text of an enum.
    fn plain_columns(&self) -> bool {
        let source = |column: &str| Expr::col(Alias::new(column));
        self.piece.audited.select(&source).into_iter().all(|(column, expr)| {
            let read = Query::select().expr(expr).to_string(PostgresQueryBuilder);
            let name = quote(BACKEND, &column);
            let facts = self.facts().columns.iter().find(|facts| facts.name == column);
            let enumerated = facts.is_some_and(|facts| facts.enumerated);
            read == format!("SELECT {name}")
                || (enumerated
                    && read.to_lowercase() == format!("select cast({} as \"text\")", name.to_lowercase()))
                || (enumerated
                    && read.to_lowercase() == format!("select cast({} as text)", name.to_lowercase()))
        })
    }

    fn facts(&self) -> &TableFacts {
        self.piece.facts
    }

    pub(super) fn column(&self, field: &FieldPolicy) -> Option<&ColumnFacts> {
        self.facts().columns.iter().find(|column| column.name == field.column)
    }

    pub(super) fn fields(&self) -> &[FieldPolicy] {
        &self.piece.audited.policy.fields
    }

    /// Whether a secret may stand in the column.
    pub(super) fn is_text(&self, field: &FieldPolicy) -> bool {
        self.column(field)
            .is_some_and(|column| matches!(column.type_name.as_str(), "text" | "varchar" | "bpchar"))
    }

    /// The fields of an entry about a whole row.
    pub(super) fn all(&self) -> Vec<usize> {
        let identity = self.identity();
        (0..self.fields().len())
            .filter(|at| identity.contains(at) || self.fields().get(*at).is_some_and(|field| field.tracked))
            .collect()
    }

    /// The fields that say which row it is.
    pub(super) fn identity(&self) -> Vec<usize> {
        let name = self.piece.audited.policy.name_field;
        (0..self.fields().len())
            .filter(|at| Some(*at) == name || self.fields().get(*at).is_some_and(|field| field.key))
            .collect()
    }

    /// `t."a" AS n0, t."b" AS n1`.
    pub(super) fn columns(&self, alias: &str, side: &str, fields: &[usize]) -> String {
        let column = |at: &usize| {
            let field = self.fields().get(*at)?;
            Some(format!("{alias}.{} AS {side}{at}", quote(BACKEND, &field.column)))
        };
        fields.iter().filter_map(column).collect::<Vec<_>>().join(", ")
    }

    /// `t."id" AS audit_k0`.
    pub(super) fn keys(&self, alias: &str) -> String {
        let keys = self.fields().iter().filter(|field| field.key).enumerate();
        keys.map(|(at, field)| format!("{alias}.{} AS audit_k{at}", quote(BACKEND, &field.column)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// A value as RECORD_FORMAT has it, for `concat`; `None` if the database can't render it so.
    fn render(&self, at: usize, side: &str) -> Option<String> {
        let field = self.fields().get(at)?;
        let column = self.column(field)?;
        if field.masked {
            return Some("'\"***\"'".to_owned());
        }
        if field.transformed {
            return None;
        }
        let value = format!("{side}{at}");
        let text = match column.type_name.as_str() {
            "bool" | "int2" | "int4" | "int8" => format!("{value}::text"),
            "float4" | "float8" => format!(
                "CASE WHEN {value} IN ('NaN', 'Infinity', '-Infinity') THEN '\"' || {value}::text || '\"' ELSE {value}::text END"
            ),
            "numeric"
                if column.scale.is_some()
                    && column.scale == field.scale.and_then(|s| i32::try_from(s).ok()) =>
            {
                format!("'\"' || {value}::text || '\"'")
            }
            "text" | "varchar" | "bpchar" | "date" | "timestamp" | "time" => {
                format!("to_json({value})::text")
            }
            _ if column.enumerated => format!("to_json({value}::text)::text"),
            "timestamptz" => format!("rtrim(to_json({value} AT TIME ZONE 'UTC')::text, '\"') || 'Z\"'"),
            "uuid" => format!("'\"' || {value}::text || '\"'"),
            "bytea" => format!("'\"0x' || encode({value}, 'hex') || '\"'"),
            _ => return None,
        };
        Some(if column.required { text } else { format!("COALESCE({text}, 'null')") })
    }

    /// Whether two values are recorded differently.
    fn differs(&self, at: usize) -> Option<String> {
        let column = self.column(self.fields().get(at)?)?;
        Some(match column.type_name.as_str() {
            // Equal, and yet not alike: 0 and -0.
            "float4" | "float8" => format!("o{at}::text IS DISTINCT FROM n{at}::text"),
            "text" | "varchar" | "bpchar" => {
                format!("o{at} COLLATE \"C\" IS DISTINCT FROM n{at} COLLATE \"C\"")
            }
            _ => format!("o{at} IS DISTINCT FROM n{at}"),
        })
    }

    /// The changes and changed fields of an entry about a row that begins or ends.
    pub(super) fn snapshot(&self, word: &str, side: &str) -> Option<Changed> {
        let (mut changes, mut names) = (String::from("concat('{"), Vec::new());
        for (at, field) in self.fields().iter().enumerate().filter(|(_, field)| field.tracked) {
            let comma = if names.is_empty() { "" } else { "}," };
            let name = json(&field.name);
            _ = write!(
                changes,
                "{}', {}, '",
                literal(&format!("{comma}{name}:{{\"{word}\":")),
                self.render(at, side)?
            );
            names.push(field.name.clone());
        }
        changes.push_str(if names.is_empty() { "}')" } else { "}}')" });
        Some(Changed {
            changes,
            fields: Names::Fixed(names),
            sensitive: Sensitive::of(self.sensitive(self.all())),
        })
    }

    /// The changes of an UPDATE, and the condition under which there are any.
    pub(super) fn difference(&self, changing: &[usize]) -> Option<(Changed, String)> {
        let (mut parts, mut names, mut loud, mut secret) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for at in changing {
            let field = self.fields().get(*at)?;
            let (differs, name) = (self.differs(*at)?, literal(&json(&field.name)));
            let (old, new) = (self.render(*at, "o")?, self.render(*at, "n")?);
            parts.push(format!(
                "CASE WHEN {differs} THEN concat(',{name}:{{\"old\":', {old}, ',\"new\":', {new}, '}}') END"
            ));
            names.push(format!("CASE WHEN {differs} THEN ',{name}' END"));
            if !field.silent {
                loud.push(differs.clone());
            }
            if field.sensitive {
                secret.push(differs);
            }
        }
        if loud.is_empty() {
            // Nothing that is set can make an entry.
            return Some((
                Changed {
                    changes: "'{}'".into(),
                    fields: Names::Fixed(Vec::new()),
                    sensitive: Sensitive::Never,
                },
                "FALSE".into(),
            ));
        }
        let changes = format!("concat('{{', substr(concat({}), 2), '}}')", parts.join(", "));
        let fields = Names::Varying(format!("concat('[', substr(concat({}), 2), ']')", names.join(", ")));
        let sensitive = if secret.is_empty() { Sensitive::Never } else { Sensitive::If(secret.join(" OR ")) };
        Some((Changed { changes, fields, sensitive }, loud.join(" OR ")))
    }

    fn sensitive(&self, fields: Vec<usize>) -> bool {
        fields.iter().filter_map(|at| self.fields().get(*at)).any(|field| field.tracked && field.sensitive)
    }

    /// The parts that render and write the entries.
    pub(super) fn entries(&self, text: &mut Text, action: &'static str, changed: &Changed, condition: &str) {
        let policy = &self.piece.audited.policy;
        let restricted = policy.classification >= audit_core::Classification::Restricted;
        let sensitive = if restricted { Sensitive::Always } else { changed.sensitive.clone() };
        let keys: Vec<usize> = (0..self.fields().len())
            .filter(|at| self.fields().get(*at).is_some_and(|field| field.key))
            .collect();
        let part = |at: &usize| {
            let value = format!("n{at}::text");
            if keys.len() == 1 { value } else { format!(r"replace(replace({value}, '\', '\\'), '/', '\/')") }
        };
        let id = keys.iter().map(part).collect::<Vec<_>>().join(" || '/' || ");
        let name = policy.name_field.map_or("NULL::text".to_owned(), |at| self.name(at));
        let fields = match &changed.fields {
            Names::Fixed(names) => format!("{}::text", text_or_null(audit_core::list_json(names))),
            Names::Varying(expression) => expression.clone(),
        };
        text.push("audit_e AS (SELECT ((");
        text.added(added::PREFIX).push("::text || to_hex(");
        text.added(added::FIRST).push("::int8 + row_number() OVER () - 1))::uuid) AS id, ");
        text.push(&format!(
            "{id} AS rid, {name} AS rname, {} AS changes, {fields} AS fields, {} AS secret FROM audit_n WHERE {condition} OFFSET 0), ",
            changed.changes,
            sensitive.sql(),
        ));
        text.push("audit_l AS (INSERT INTO audit_log (id, timestamp, ");
        text.push(&CONTEXT.join(", "));
        text.push(", action, module, resource_type, resource_id, resource_name, status, severity, changes, changed_fields, frameworks, classification, is_sensitive, integrity_hash) SELECT id, ");
        text.added(added::TIMESTAMP).push("::timestamptz");
        for at in 0..CONTEXT.len() {
            text.push(", ").added(added::CONTEXT + at).push("::text");
        }
        let frameworks = audit_core::list_json(&policy.frameworks);
        let class = policy.classification.as_str();
        let severity = if action == action::DELETE {
            "'medium'".to_owned()
        } else {
            sensitive.choose("'medium'", "'low'")
        };
        text.push(&format!(
            ", '{action}', {}, {}, rid, rname, 'success', {severity}, changes, fields, {}, '{class}', secret, sha256(",
            text_or_null(policy.module.clone()),
            text_or_null(Some(policy.resource.clone())),
            text_or_null(frameworks.clone()),
        ));
        // The input of `Entry::digest`, in its order.
        let head = |tag: &str, length: &str| format!("{} || int8send({length}::int8)", bytes(&tagged(tag)));
        let field = |tag: &str, value: &str| {
            format!("{} || convert_to({value}, 'UTF8')", head(tag, &format!("octet_length({value})")))
        };
        let known = |tag: &str, value: &str| {
            let mut out = tagged(tag);
            out.extend((value.len() as u64).to_be_bytes());
            out.extend(value.as_bytes());
            out
        };
        text.push(&format!("{} || uuid_send(id) || ", head("id", "16")));
        text.added(added::HEAD).push("::bytea || ");
        text.push(&field("resource_id", "rid"));
        if policy.name_field.is_some() {
            text.push(&format!(" || COALESCE({}, '')", field("resource_name", "rname")));
        }
        let severity_bytes = if action == action::DELETE {
            bytes(&known("severity", "medium"))
        } else {
            sensitive.choose(&bytes(&known("severity", "medium")), &bytes(&known("severity", "low")))
        };
        text.push(&format!(
            " || {} || {severity_bytes} || {}",
            bytes(&known("status", "success")),
            field("changes", "changes")
        ));
        match &changed.fields {
            Names::Fixed(names) => {
                if let Some(list) = audit_core::list_json(names) {
                    text.push(&format!(" || {}", bytes(&known("changed_fields", &list))));
                }
            }
            Names::Varying(_) => _ = text.push(" || ").push(&field("changed_fields", "fields")),
        }
        let mut rest = frameworks.map_or_else(Vec::new, |list| known("frameworks", &list));
        rest.extend(known("classification", class));
        rest.extend(tagged("is_sensitive"));
        rest.extend(1_u64.to_be_bytes());
        text.push(&format!(
            " || {} || {} || ",
            bytes(&rest),
            sensitive.choose("'\\x01'::bytea", "'\\x00'::bytea")
        ));
        text.added(added::TAIL).push("::bytea) FROM audit_e) ");
    }

    /// The name for people.
    fn name(&self, at: usize) -> String {
        let is_text = self.fields().get(at).is_some_and(|field| self.is_text(field));
        if is_text {
            // An unknown name is recorded as an empty text.
            return format!("COALESCE(n{at}::text, '')");
        }
        // As in JSON, without quotes.
        match self.render(at, "n") {
            Some(rendered) => {
                format!("CASE WHEN n{at} IS NULL THEN '' ELSE trim(both '\"' FROM {rendered}) END")
            }
            None => "NULL::text".to_owned(),
        }
    }
}

/// What changed, as SQL.
pub(super) struct Changed {
    changes: String,
    fields: Names,
    sensitive: Sensitive,
}

pub(super) enum Names {
    Fixed(Vec<String>),
    Varying(String),
}

/// Whether an entry is flagged as sensitive.
#[derive(Clone)]
pub(super) enum Sensitive {
    Always,
    Never,
    If(String),
}

impl Sensitive {
    fn of(always: bool) -> Self {
        if always { Self::Always } else { Self::Never }
    }

    fn sql(&self) -> String {
        match self {
            Self::Always => "TRUE".to_owned(),
            Self::Never => "FALSE".to_owned(),
            Self::If(condition) => format!("({condition})"),
        }
    }

    /// One of two expressions, by the column `secret`.
    fn choose(&self, yes: &str, no: &str) -> String {
        match self {
            Self::Always => yes.to_owned(),
            Self::Never => no.to_owned(),
            Self::If(_) => format!("CASE WHEN secret THEN {yes} ELSE {no} END"),
        }
    }
}

/// A tag as it is hashed.
fn tagged(tag: &str) -> Vec<u8> {
    let mut out = (tag.len() as u64).to_be_bytes().to_vec();
    out.extend(tag.as_bytes());
    out
}

fn bytes(bytes: &[u8]) -> String {
    let mut out = String::from("'\\x");
    for byte in bytes {
        _ = write!(out, "{byte:02x}");
    }
    out.push_str("'::bytea");
    out
}

fn json(name: &str) -> String {
    Rendered::Text(name.to_owned()).to_json()
}

/// The inside of a string literal.
fn literal(text: &str) -> String {
    text.replace('\'', "''")
}

fn text_or_null(text: Option<String>) -> String {
    text.map_or("NULL".to_owned(), |text| format!("'{}'", literal(&text)))
}
