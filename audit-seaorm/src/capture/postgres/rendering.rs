//! How a row of a table looks as an entry, in SQL.
//!
//! What these expressions make is byte for byte what the program would have made of the row; where SQL can't promise
//! that, there is none.

use std::fmt::Write as _;

use audit_core::{FieldPolicy, Value as Rendered};
use sea_orm::sea_query::{Alias, Expr, PostgresQueryBuilder, Query};

use super::super::catalogue::{ColumnFacts, TableFacts};
use super::super::sql::Target;
use super::super::text::{alias, quote};
use super::BACKEND;
use super::pieces::Pieces;
use super::suspicion::LONGEST_NAME;

/// How a table's rows look in SQL.
pub(super) struct Row<'a> {
    pub(super) piece: Pieces<'a>,
    /// What the statement calls the table.
    alias: String,
}

impl<'a> Row<'a> {
    /// `None` if the rows, or entries about them, can't be rendered by the database.
    pub(super) fn new(piece: Pieces<'a>, target: &Target) -> Option<Self> {
        let policy = &piece.audited.policy;
        let row = Self { piece, alias: alias(BACKEND, piece.sql, target) };
        let usual = !policy.snapshot && !piece.facts.triggers;
        // What is longer is cut by the program.
        let short = policy.resource.len() <= 255 && policy.module.as_deref().is_none_or(|m| m.len() <= 100);
        let keys = policy.fields.iter().filter(|field| field.key).all(|field| {
            let kind = row.column(field).map(|column| column.type_name.as_str());
            !field.masked
                && !field.excluded
                && matches!(kind, Some("int2" | "int4" | "int8" | "uuid" | "text" | "varchar"))
        });
        (usual && short && keys && row.plain_columns()).then_some(row)
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

    /// `t."a" AS o0, t."b" AS o1`.
    pub(super) fn columns(&self, fields: &[usize]) -> String {
        fields.iter().map(|at| format!("{} AS o{at}", self.value("n", *at))).collect::<Vec<_>>().join(", ")
    }

    /// A column, in what the statement returns: of the row as it is there (`n`), or as it was in `audit_o`.
    pub(super) fn value(&self, side: &str, at: usize) -> String {
        let column = self.fields().get(at).map(|field| quote(BACKEND, &field.column)).unwrap_or_default();
        if side == "o" { format!("audit_o.o{at}") } else { format!("{}.{column}", self.alias) }
    }

    /// A value as RECORD_FORMAT has it, as arguments of `concat`, which writes whatever they are; `None` if the database
    /// can't render it so. As few functions and casts as possible: see [`entries`](Self::entries).
    fn render(&self, at: usize, side: &str) -> Option<String> {
        let field = self.fields().get(at)?;
        let column = self.column(field)?;
        if field.masked {
            return Some("'\"***\"'".to_owned());
        }
        if field.transformed {
            return None;
        }
        let value = self.value(side, at);
        let quoted = |value: &str| format!("'\"', {value}, '\"'");
        let or_null = |value: &str| format!("COALESCE({value}, 'null')");
        let json = format!("to_json({value})");
        let instant = format!("rtrim(to_json({value} AT TIME ZONE 'UTC')::text, '\"')");
        let [required, optional] = match column.type_name.as_str() {
            "int2" | "int4" | "int8" => [value, or_null(&json)],
            // It quotes floats that aren't numbers, and nothing else of them.
            "bool" | "float4" | "float8" | "text" | "varchar" | "date" | "timestamp" | "time" => {
                [json.clone(), or_null(&json)]
            }
            // A value of the user's is measured before it is filled up.
            "bpchar" if !self.is_far_filled(column) => [json.clone(), or_null(&json)],
            "uuid" => [quoted(&value), or_null(&json)],
            "numeric"
                if column.scale.is_some()
                    && column.scale == field.scale.and_then(|s| i32::try_from(s).ok()) =>
            {
                [quoted(&value), or_null(&format!("to_json({value}::text)"))]
            }
            "timestamptz" => [format!("{instant}, 'Z\"'"), or_null(&format!("{instant} || 'Z\"'"))],
            "bytea" => {
                let hex = format!("encode({value}, 'hex')");
                [format!("'\"0x', {hex}, '\"'"), or_null(&format!("'\"0x' || {hex} || '\"'"))]
            }
            _ if column.enumerated => {
                let label = format!("to_json({value}::text)");
                [label.clone(), or_null(&label)]
            }
            _ => return None,
        };
        Some(if column.required { required } else { optional })
    }

    /// Whether texts of the column are filled up with blanks to more than one entry keeps of them.
    fn is_far_filled(&self, column: &ColumnFacts) -> bool {
        const BYTES_OF_A_CHARACTER: usize = 4;
        let length = column.filled.and_then(|length| usize::try_from(length).ok());
        let most = self.piece.audited.policy.max_value_bytes().min(LONGEST_NAME);
        length.is_some_and(|length| length.saturating_mul(BYTES_OF_A_CHARACTER) > most)
    }

    /// Whether two values are recorded differently.
    fn differs(&self, at: usize) -> Option<String> {
        let column = self.column(self.fields().get(at)?)?;
        let (o, n) = (self.value("o", at), self.value("n", at));
        Some(match column.type_name.as_str() {
            // Equal, and yet not alike: 0 and -0.
            "float4" | "float8" => format!("{o}::text IS DISTINCT FROM {n}::text"),
            // Without a length it keeps blanks at its end and yet compares without them.
            "bpchar" => format!("to_json({o})::text IS DISTINCT FROM to_json({n})::text"),
            "text" | "varchar" => {
                format!("{o} COLLATE \"C\" IS DISTINCT FROM {n} COLLATE \"C\"")
            }
            _ => format!("{o} IS DISTINCT FROM {n}"),
        })
    }

    /// The changes and changed fields of an entry about a row that begins or ends.
    pub(super) fn snapshot(&self, word: &str) -> Option<Changed> {
        let (mut changes, mut names) = (String::from("concat('{"), Vec::new());
        for (at, field) in self.fields().iter().enumerate().filter(|(_, field)| field.tracked) {
            let comma = if names.is_empty() { "" } else { "}," };
            let name = json(&field.name);
            _ = write!(
                changes,
                "{}', {}, '",
                literal(&format!("{comma}{name}:{{\"{word}\":")),
                self.render(at, "n")?
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
        let sensitive = if secret.is_empty() {
            Sensitive::Never
        } else {
            Sensitive::If(format!("({})", secret.join(" OR ")))
        };
        Some((Changed { changes, fields, sensitive }, loud.join(" OR ")))
    }

    fn sensitive(&self, fields: Vec<usize>) -> bool {
        fields.iter().filter_map(|at| self.fields().get(*at)).any(|field| field.tracked && field.sensitive)
    }

    /// The resource's id.
    pub(super) fn id(&self) -> String {
        let keys: Vec<usize> = (0..self.fields().len())
            .filter(|at| self.fields().get(*at).is_some_and(|field| field.key))
            .collect();
        let part = |at: &usize| {
            let value = format!("{}::text", self.value("n", *at));
            if keys.len() == 1 { value } else { format!(r"replace(replace({value}, '\', '\\'), '/', '\/')") }
        };
        keys.iter().map(part).collect::<Vec<_>>().join(" || '/' || ")
    }

    /// The name for people.
    pub(super) fn name(&self, at: usize) -> Option<String> {
        let value = self.value("n", at);
        let is_text = self.fields().get(at).is_some_and(|field| self.is_text(field));
        if is_text {
            // An unknown name is recorded as an empty text. A cast would take away the blanks at the end of a `char(n)`.
            return Some(format!("concat({value})"));
        }
        // As in JSON, without quotes.
        let rendered = self.render(at, "n")?;
        Some(format!("CASE WHEN {value} IS NULL THEN '' ELSE trim(both '\"' FROM concat({rendered})) END"))
    }
}

/// What changed, as SQL.
pub(super) struct Changed {
    pub(super) changes: String,
    pub(super) fields: Names,
    pub(super) sensitive: Sensitive,
}

/// The names of the fields that changed.
pub(super) enum Names {
    Fixed(Vec<String>),
    Varying(String),
}

impl Names {
    pub(super) fn varying(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Varying(expression) => Some(expression),
        }
    }
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

    /// What the column `secret` is, where it is needed.
    pub(super) fn condition(&self) -> Option<&str> {
        match self {
            Self::If(condition) => Some(condition),
            _ => None,
        }
    }

    /// One of two expressions, by the column `secret`.
    pub(super) fn choose(&self, yes: &str, no: &str) -> String {
        match self {
            Self::Always => yes.to_owned(),
            Self::Never => no.to_owned(),
            Self::If(_) => format!("CASE WHEN secret THEN {yes} ELSE {no} END"),
        }
    }
}

fn json(name: &str) -> String {
    Rendered::Text(name.to_owned()).to_json()
}

/// The inside of a string literal.
fn literal(text: &str) -> String {
    text.replace('\'', "''")
}

pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", literal(text))
}
