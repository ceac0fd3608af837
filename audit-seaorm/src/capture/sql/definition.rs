//! What a definition changes: the sort of each change and the names in it. Never an expression, which may hold a value.

use sea_orm::DbBackend;
use serde::Serialize;
use sqlparser::ast::{AlterColumnOperation, AlterTableOperation, Ident, Statement, TableConstraint};

use super::lex::{self, Kind};
use super::piece::Piece;
use super::{Parsed, lang_of, tree};

/// What a statement defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Definition {
    /// Its first two words, such as `ALTER TABLE`.
    pub(crate) statement: String,
    /// What it changes, where the parser tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<Alteration>,
}

/// A change of a table's definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Alteration {
    /// Its sort, as `add column`.
    pub(crate) change: &'static str,
    /// The columns that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) columns: Vec<String>,
    /// What else is named: a constraint, a trigger, an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

/// What a statement of a text defines; `None` if it isn't even made of known words.
pub(crate) fn definition(sql: &str, backend: DbBackend, parsed: &Parsed) -> Option<Definition> {
    let lang = lang_of(backend)?;
    let lexed = lex::lex(sql, lang).ok()?;
    let inside = |tok: &&lex::Tok| parsed.range.start <= tok.range.start && tok.range.end <= parsed.range.end;
    let toks: Vec<_> = lexed.toks.iter().filter(inside).cloned().collect();
    let words = toks.iter().take(2).filter(|tok| tok.kind == Kind::Word);
    let words: Vec<String> =
        words.filter_map(|tok| sql.get(tok.range.clone())).map(str::to_ascii_uppercase).collect();
    let piece = Piece::new(sql, lang, &toks).ok()?;
    let changes = tree::with_stack(piece.depth, || match tree::statement(lang, piece.feed(0..toks.len())) {
        Some(Statement::AlterTable(alter)) => alter.operations.iter().map(alteration).collect(),
        _ => Vec::new(),
    });
    Some(Definition { statement: words.join(" "), changes })
}

fn alteration(operation: &AlterTableOperation) -> Alteration {
    use AlterTableOperation as Op;
    let name = |ident: &Ident| ident.value.clone();
    let of = |change, columns: Vec<String>| Alteration { change, columns, ..Alteration::default() };
    let named =
        |change, ident: &Ident| Alteration { change, name: Some(name(ident)), ..Alteration::default() };
    let plain = |change| Alteration { change, ..Alteration::default() };
    match operation {
        Op::AddColumn { column_def, .. } => of("add column", vec![name(&column_def.name)]),
        Op::DropColumn { column_names, .. } => of("drop column", column_names.iter().map(name).collect()),
        Op::RenameColumn { old_column_name, new_column_name } => {
            Alteration { to: Some(name(new_column_name)), ..of("rename column", vec![name(old_column_name)]) }
        }
        Op::ChangeColumn { old_name, new_name, .. } => {
            Alteration { to: Some(name(new_name)), ..of("change column", vec![name(old_name)]) }
        }
        Op::ModifyColumn { col_name, .. } => of("modify column", vec![name(col_name)]),
        Op::AlterColumn { column_name, op } => {
            let change = match op {
                AlterColumnOperation::SetNotNull => "set not null",
                AlterColumnOperation::DropNotNull => "drop not null",
                AlterColumnOperation::SetDefault { .. } => "set default",
                AlterColumnOperation::DropDefault => "drop default",
                AlterColumnOperation::SetDataType { .. } => "set type",
                AlterColumnOperation::AddGenerated { .. } => "add generated",
            };
            of(change, vec![name(column_name)])
        }
        Op::RenameTable { .. } => plain("rename table"),
        Op::AddConstraint { constraint, .. } => constraint_added(constraint),
        Op::DropConstraint { name, .. } => named("drop constraint", name),
        Op::RenameConstraint { old_name, new_name } => {
            Alteration { to: Some(name(new_name)), ..named("rename constraint", old_name) }
        }
        Op::ValidateConstraint { name } => named("validate constraint", name),
        Op::DropPrimaryKey { .. } => plain("drop primary key"),
        Op::DropForeignKey { name, .. } => named("drop foreign key", name),
        Op::DropIndex { name } => named("drop index", name),
        Op::DisableTrigger { name } => named("disable trigger", name),
        Op::EnableTrigger { name } | Op::EnableAlwaysTrigger { name } | Op::EnableReplicaTrigger { name } => {
            named("enable trigger", name)
        }
        Op::DisableRule { name } => named("disable rule", name),
        Op::EnableRule { name } | Op::EnableAlwaysRule { name } | Op::EnableReplicaRule { name } => {
            named("enable rule", name)
        }
        Op::DisableRowLevelSecurity => plain("disable row level security"),
        Op::EnableRowLevelSecurity => plain("enable row level security"),
        Op::ForceRowLevelSecurity => plain("force row level security"),
        Op::NoForceRowLevelSecurity => plain("no force row level security"),
        Op::OwnerTo { .. } => plain("set owner"),
        _ => plain("other"),
    }
}

fn constraint_added(constraint: &TableConstraint) -> Alteration {
    let (change, name) = match constraint {
        TableConstraint::PrimaryKey(key) => ("add primary key", key.name.as_ref()),
        TableConstraint::Unique(key) => ("add unique key", key.name.as_ref()),
        TableConstraint::ForeignKey(key) => ("add foreign key", key.name.as_ref()),
        TableConstraint::Check(check) => ("add check", check.name.as_ref()),
        TableConstraint::Index(index) => ("add index", index.name.as_ref()),
        _ => ("add constraint", None),
    };
    Alteration { change, name: name.map(|ident| ident.value.clone()), ..Alteration::default() }
}
