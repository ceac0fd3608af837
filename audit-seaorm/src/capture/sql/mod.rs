//! What a text of SQL does, as far as capture has to know: which rows of which table a statement may write, and where
//! in the text its pieces are, so that they can be used again word for word.
//!
//! Purely syntactic; no I/O, and nothing of the registry. [`lex`] cuts the text by the rules of the database, [`shape`]
//! sorts statements by what they are, [`dml`] finds the pieces of those that write rows, [`tree`] asks `sqlparser` what
//! is read and whether it sees the same statement. [`columns`] names what `RETURNING` gives.
//!
//! **Invariant:** when in doubt, a statement is [`What::Other`] or [`What::Unreadable`]. A text that the database would
//! write rows with is never [`What::Read`], [`What::Transaction`], [`What::Setting`] or [`What::Upkeep`], except for
//! what functions do that it calls; for these see [`Parsed::functions`].

mod columns;
pub(crate) mod definition;
mod dml;
mod joined;
mod lex;
mod piece;
pub(crate) mod question;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;
use std::ops::Range;

use sea_orm::DbBackend;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use lex::{Kind, Lang, Reason, Tok};
use piece::Piece;

/// A text of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// Its statements in order; none if it is blank or has comments only.
    pub(crate) statements: Vec<Parsed>,
    /// Whether a setting of the server decides how it is read: `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES` in MySQL's
    /// `sql_mode`, PostgreSQL's `standard_conforming_strings`. It was read by the defaults.
    pub(crate) depends_on_sql_mode: bool,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// Where it is in the text, without `;` and the blanks and comments around it.
    pub(crate) range: Range<usize>,
    /// What it does.
    pub(crate) what: What,
    /// The tables it reads, without CTEs and without the target of the write. Empty where `what` is none of `Read`,
    /// `Insert`, `Update`, `Delete`. Of a read that the parser doesn't know, every name that may be a table's.
    pub(crate) reads: Vec<TableName>,
    /// The functions it calls, at any depth, in lower case and with their schema where one is written. What operators,
    /// casts, defaults and views call isn't seen. Filled where `reads` is, and for settings of MySQL.
    pub(crate) functions: Vec<String>,
    /// Its placeholders, by position.
    pub(crate) params: Vec<Param>,
    /// Where it names variables of MySQL.
    pub(crate) variables: Vec<usize>,
    /// Where a query begins, its own or one within it.
    pub(crate) queries: Vec<usize>,
}

/// A placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param {
    /// Where it is.
    pub(crate) range: Range<usize>,
    /// Which of the values it stands for, from 0. A bare `?` counts those of the whole text.
    pub(crate) index: usize,
}

/// The name of a table as the database would look it up: unquoted names are folded to lower case on PostgreSQL and kept
/// elsewhere, and of three parts the first is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableName {
    /// The schema (a database on MySQL), where one is written.
    pub(crate) schema: Option<String>,
    /// The table.
    pub(crate) name: String,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Writes nothing, apart from what its functions do.
    Read,
    /// Adds rows to a table.
    Insert(Box<Insert>),
    /// Changes rows of a table.
    Update(Box<Update>),
    /// Deletes rows of a table.
    Delete(Box<Delete>),
    /// Empties tables.
    Truncate(Vec<TableName>),
    /// Defines something. The names are those in places where tables stand; some may be of other things.
    Define(Vec<TableName>),
    /// Starts, ends or divides a transaction.
    Transaction,
    /// Changes settings of the connection: their names in lower case, `@x` for variables of MySQL. `pragma` calls and
    /// `use`, `discard` are among them.
    Setting(Vec<String>),
    /// Changes no row of any table: `VACUUM`, `ANALYZE`, `LISTEN` ..
    Upkeep,
    /// Understood, and may write, but not in a way that could be followed.
    Other {
        /// What it is, for users.
        reason: String,
        /// The tables that it may write, as far as its text tells; some may only be read.
        tables: Vec<TableName>,
        /// Every word in it.
        words: Words,
    },
    /// Not understood. It is then the only statement of the text.
    Unreadable {
        /// Why, for users; contains nothing of the text.
        reason: String,
        /// Every word in it.
        words: Words,
    },
}

/// The words of a text, in lower case, also those in strings, comments and names in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// The words.
    pub(crate) found: BTreeSet<String>,
    /// Whether the text can mean a table without containing its name: it has escapes for letters, or runs statements
    /// that it puts together or that are stored elsewhere.
    pub(crate) incomplete: bool,
}

impl Words {
    pub(crate) fn of(text: &str) -> Self {
        const RUNS: &[&str] = &["call", "do", "exec", "execute", "immediate", "load", "prepare", "source"];
        let mut found = BTreeSet::new();
        for word in split_words(text) {
            // What PostgreSQL makes of a name that is too long.
            if word.len() > PG_NAME {
                found.insert(shortened(word).to_lowercase());
            }
            found.insert(word.to_lowercase());
        }
        let lower = text.to_ascii_lowercase();
        let incomplete = lower.contains("u&") || RUNS.iter().any(|word| found.contains(*word));
        Self { found, incomplete }
    }

    /// Whether the text may mean a table of this name; without its schema.
    pub(crate) fn may_mean(&self, table: &str) -> bool {
        self.incomplete || self.has(table)
    }

    /// Whether a table's name is in the text; without its schema.
    pub(crate) fn has(&self, table: &str) -> bool {
        split_words(table).all(|word| self.found.contains(&word.to_lowercase()))
    }
}

/// The words of a definition as SQLite keeps it, keywords and names, in lower case and without quotes; `None` if it can't be
/// read.
pub(crate) fn words_of_definition(sql: &str) -> Option<Vec<String>> {
    lex::words(sql, lex::Lang::Lite)
}

/// The bytes that PostgreSQL keeps of a name.
const PG_NAME: usize = 63;

/// A name as PostgreSQL would cut it off.
fn shortened(name: &str) -> &str {
    let end = (0..=PG_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or(name)
}

fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').filter(|word| !word.is_empty())
}

/// The table that a statement writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: TableName,
    /// The name as written, with schema and quotes.
    pub(crate) text: Range<usize>,
    /// The alias as written, without `AS`.
    pub(crate) alias: Option<Range<usize>>,
    /// Whether tables that inherit from it are left out.
    pub(crate) only: bool,
}

/// The common table expressions in front of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct With {
    /// Whether it is `WITH RECURSIVE`.
    pub(crate) recursive: bool,
    /// The list, without `WITH [RECURSIVE]`.
    pub(crate) text: Range<usize>,
    /// The names in it, folded like those of tables.
    pub(crate) names: Vec<String>,
}

/// A `RETURNING` clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returning {
    /// All of it, from the keyword on.
    pub(crate) clause: Range<usize>,
    /// What it gives.
    pub(crate) items: Vec<ReturningItem>,
}

/// An item of a `RETURNING` clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturningItem {
    /// The expression without its alias.
    pub(crate) text: Range<usize>,
    /// What the database calls it.
    pub(crate) output: Output,
}

/// The columns that an item of a list gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// One of this name.
    Named(String),
    /// `*`
    All,
    /// `t.*`
    AllOf(String),
    /// One whose name depends on the database's version or on its tables.
    Unknown,
}

/// A column that gets a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The column, folded as tables are.
    pub(crate) column: String,
    /// The value as written; none where several columns are set to one row of values.
    pub(crate) value: Option<Range<usize>>,
}

/// `INSERT` and `REPLACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insert {
    /// What stands before it.
    pub(crate) with: Option<With>,
    /// From `INSERT` to the end.
    pub(crate) body: Range<usize>,
    /// The table.
    pub(crate) target: Target,
    /// The columns, where they are listed.
    pub(crate) columns: Option<Vec<String>>,
    /// The rows.
    pub(crate) source: Source,
    /// MySQL's alias for the new row, with its columns and without `AS`.
    pub(crate) row_alias: Option<Range<usize>>,
    /// What happens to rows that are there already.
    pub(crate) conflict: Conflict,
    /// What it gives back.
    pub(crate) returning: Option<Returning>,
}

/// Where new rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Each expression's text, row by row; MySQL's `INSERT .. SET`, too.
    Values(Vec<Vec<Range<usize>>>),
    /// A query.
    Query(Range<usize>),
    /// One row of defaults.
    Default,
}

/// What an `INSERT` does with rows that are there already, or an `UPDATE` with ones in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// It fails.
    None,
    /// It leaves them: `ON CONFLICT .. DO NOTHING`, `OR IGNORE`, `IGNORE`.
    Nothing,
    /// It changes them: `ON CONFLICT .. DO UPDATE`, `ON DUPLICATE KEY UPDATE`.
    Update {
        /// The conflict target, with its parentheses and its `WHERE`, or with `ON CONSTRAINT`.
        target: Option<Range<usize>>,
        /// The columns of the target, if it is nothing but a list of columns.
        columns: Vec<String>,
        /// The columns that are set.
        assigned: Vec<Assignment>,
        /// What follows the `WHERE` after the assignments.
        condition: Option<Range<usize>>,
        /// The whole clause.
        clause: Range<usize>,
    },
    /// It deletes them: `REPLACE`, `OR REPLACE`.
    Replace,
    /// It fails in its own way: SQLite's `OR ABORT`, `OR FAIL`, `OR ROLLBACK`.
    Abort,
}

/// `UPDATE` of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// What stands before it.
    pub(crate) with: Option<With>,
    /// From `UPDATE` to the end.
    pub(crate) body: Range<usize>,
    /// The table.
    pub(crate) target: Target,
    /// What MySQL has between the table and `SET`: joins with tables of which nothing is changed.
    pub(crate) join: Option<Range<usize>>,
    /// What follows `SET`, up to the next clause.
    pub(crate) set: Range<usize>,
    /// The same column by column.
    pub(crate) assigned: Vec<Assignment>,
    /// What follows `FROM`.
    pub(crate) from: Option<Range<usize>>,
    /// What follows `WHERE`.
    pub(crate) condition: Option<Range<usize>>,
    /// `ORDER BY .. LIMIT ..` of MySQL and SQLite.
    pub(crate) tail: Option<Range<usize>>,
    /// What happens to rows in its way.
    pub(crate) or: Conflict,
    /// What it gives back.
    pub(crate) returning: Option<Returning>,
}

/// `DELETE` from one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delete {
    /// What stands before it.
    pub(crate) with: Option<With>,
    /// From `DELETE` to the end.
    pub(crate) body: Range<usize>,
    /// The table.
    pub(crate) target: Target,
    /// What follows the table in MySQL's `DELETE t FROM t JOIN ..`: joins with tables of which nothing is deleted.
    pub(crate) join: Option<Range<usize>>,
    /// What follows `USING`.
    pub(crate) using: Option<Range<usize>>,
    /// What follows `WHERE`.
    pub(crate) condition: Option<Range<usize>>,
    /// `ORDER BY .. LIMIT ..` of MySQL and SQLite.
    pub(crate) tail: Option<Range<usize>>,
    /// `Nothing` for MySQL's `DELETE IGNORE`.
    pub(crate) or: Conflict,
    /// What it gives back.
    pub(crate) returning: Option<Returning>,
}

/// What may be said of a text in which values stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The word that it begins with, in upper case, if that is one of SQL's.
    pub(crate) verb: Option<String>,
    /// Its tokens with a space between them, and `?` for strings, numbers and placeholders; without comments. `None` if it
    /// isn't made of known tokens.
    pub(crate) text: Option<String>,
}

/// What may be said of a text.
pub(crate) fn outline(sql: &str, backend: DbBackend) -> Outline {
    let Some(Ok(lexed)) = lang_of(backend).map(|lang| lex::lex(sql, lang)) else {
        return Outline { verb: None, text: None };
    };
    let verb = lexed.toks.first().and_then(|tok| match &tok.raw.token {
        Token::Word(word) if tok.kind == Kind::Word && word.keyword != Keyword::NoKeyword => {
            Some(word.value.to_ascii_uppercase())
        }
        _ => None,
    });
    if lexed.depends_on_sql_mode {
        return Outline { verb, text: None };
    }
    let shown = lexed.toks.iter().map(|tok| match tok.kind {
        Kind::Str | Kind::Number | Kind::Param => "?",
        _ => sql.get(tok.range.clone()).unwrap_or_default(),
    });
    Outline { verb, text: Some(shown.collect::<Vec<_>>().join(" ")) }
}

fn lang_of(backend: DbBackend) -> Option<Lang> {
    match backend {
        DbBackend::Postgres => Some(Lang::Pg),
        DbBackend::MySql => Some(Lang::My),
        DbBackend::Sqlite => Some(Lang::Lite),
        #[allow(unreachable_patterns)] // databases that SeaORM may add
        _ => None,
    }
}

/// Reads a text of SQL.
pub(crate) fn read(sql: &str, backend: DbBackend) -> Script {
    let Some(lang) = lang_of(backend) else {
        return unreadable(sql, "the database isn't known", true);
    };
    let lexed = match lex::lex(sql, lang) {
        Ok(lexed) => lexed,
        Err(reason) => return unreadable(sql, reason, true),
    };
    match statements(sql, lang, &lexed.toks) {
        Ok(statements) => Script { statements, depends_on_sql_mode: lexed.depends_on_sql_mode },
        Err(reason) if [shape::SYNTAX, shape::INCOMPLETE].contains(&reason) => {
            unreadable(sql, &format!("{}{reason}", place(sql, lang, &lexed.toks)), lexed.depends_on_sql_mode)
        }
        Err(reason) => unreadable(sql, reason, lexed.depends_on_sql_mode),
    }
}

/// Where in a text the parser doesn't go on, for users.
fn place(sql: &str, lang: Lang, toks: &[Tok]) -> String {
    let raw = toks.iter().map(|tok| tok.raw.clone()).collect();
    let Some(place) = tree::with_stack(toks.len(), || tree::stuck(lang, raw)) else { return String::new() };
    match lex::offset(place).and_then(|offset| sql.get(..offset)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("near line {line}, column {column} ")
        }
        None => "at its end ".to_owned(),
    }
}

fn statements(sql: &str, lang: Lang, toks: &[Tok]) -> Result<Vec<Parsed>, Reason> {
    let mut statements = Vec::new();
    let mut bare = 0;
    for toks in split(lang, toks)? {
        let (Some(first), Some(last)) = (toks.first(), toks.last()) else { continue };
        let range = first.range.start..last.range.end;
        let params = params(sql, toks, &mut bare)?;
        let piece = Piece::new(sql, lang, toks)?;
        let shape::Shape { what, reads, functions } = shape::shape(&piece)?;
        let places = |found: fn(&str, Kind) -> bool| {
            let found = |tok: &&Tok| sql.get(tok.range.clone()).is_some_and(|text| found(text, tok.kind));
            toks.iter().filter(found).map(|tok| tok.range.start).collect()
        };
        let variables = match lang {
            // With a name in quotes, the sign stands by itself.
            Lang::My => places(|text, kind| matches!(kind, Kind::Word | Kind::Op) && text.contains('@')),
            _ => Vec::new(),
        };
        let queries = places(|text, kind| {
            kind == Kind::Word && ["SELECT", "TABLE"].iter().any(|word| word.eq_ignore_ascii_case(text))
        });
        statements.push(Parsed { range, what, reads, functions, params, variables, queries });
    }
    Ok(statements)
}

/// Cuts at semicolons, except for those within the body of a trigger or function.
fn split(lang: Lang, toks: &[Tok]) -> Result<Vec<&[Tok]>, Reason> {
    let mut all: Vec<&[Tok]> = Vec::new();
    let mut rest = toks;
    while !rest.is_empty() {
        let mut end = rest.iter().position(|tok| tok.kind == Kind::Semi).unwrap_or(rest.len());
        if shape::has_body(lang, rest.get(..end).unwrap_or_default()) {
            // SQLite's body ends where a statement of it would start with END. Elsewhere there are blocks in blocks,
            // and so there is no telling without knowing all of the language.
            if lang == Lang::Lite {
                let is_end = |pair: &[Tok]| {
                    matches!(pair, [semi, tok] if semi.kind == Kind::Semi && tok.kind == Kind::Word
                        && matches!(&tok.raw.token, Token::Word(word) if word.value.eq_ignore_ascii_case("end")))
                };
                end = rest.windows(2).position(is_end).ok_or("the body of a definition has no end")? + 2;
                if rest.get(end).is_some_and(|tok| tok.kind != Kind::Semi) {
                    return Err("the body of a definition goes on after its end");
                }
            } else if end + 1 < rest.len() {
                return Err("it contains a stored program of several statements");
            }
        }
        all.push(rest.get(..end).unwrap_or_default());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Ok(all)
}

fn params(sql: &str, toks: &[Tok], bare: &mut usize) -> Result<Vec<Param>, Reason> {
    let mut params = Vec::new();
    for tok in toks.iter().filter(|tok| tok.kind == Kind::Param) {
        let digits = sql.get(tok.range.start + 1..tok.range.end).unwrap_or_default();
        let index = if digits.is_empty() {
            *bare += 1;
            *bare - 1
        } else {
            let number = digits.parse::<usize>().ok();
            number.and_then(|number| number.checked_sub(1)).ok_or("a placeholder has an odd number")?
        };
        params.push(Param { range: tok.range.clone(), index });
    }
    Ok(params)
}

fn unreadable(sql: &str, reason: &str, depends_on_sql_mode: bool) -> Script {
    let text = sql.trim();
    let start = sql.len() - sql.trim_start().len();
    let what = What::Unreadable { reason: reason.to_owned(), words: Words::of(sql) };
    let range = start..start + text.len();
    let parsed = Parsed {
        range,
        what,
        reads: Vec::new(),
        functions: Vec::new(),
        params: Vec::new(),
        variables: Vec::new(),
        queries: Vec::new(),
    };
    Script { statements: vec![parsed], depends_on_sql_mode }
}
