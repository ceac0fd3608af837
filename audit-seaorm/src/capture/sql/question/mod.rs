//! What a statement asks of the tables that it reads: which columns, by which conditions.
//!
//! For the record of a read, which is for people: what isn't understood here is shown as an expression without its
//! values, and nothing depends on it being complete. *That* a table is read is [`Parsed::reads`]' business.

mod expressions;
mod reader;

use audit_core::QueryType;
use sea_orm::DbBackend;
use sqlparser::tokenizer::Token;

use super::lex;
use super::piece::Piece;
use super::{Parsed, TableName, tree};
use reader::Reader;

/// What a statement asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// What for.
    pub(crate) kind: QueryType,
    /// Which columns of which tables, each table once.
    pub(crate) asked: Vec<Asked>,
    /// By which conditions.
    pub(crate) filter: Option<Filter>,
}

/// What is asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) table: TableName,
    /// Whether all columns are.
    pub(crate) all: bool,
    /// Columns by name. Of one that stands for itself in a query of several tables it isn't known whose it is.
    pub(crate) columns: Vec<String>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// A column against something.
    Compare {
        column: Column,
        op: String,
        with: Operand,
    },
    /// Anything else: its text with `?` for each value.
    Expression {
        text: String,
        values: Vec<Scalar>,
        columns: Vec<Column>,
    },
}

/// A column and the tables that it may be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) tables: Vec<TableName>,
    pub(crate) name: String,
    /// Whether it names its table.
    pub(crate) qualified: bool,
    /// Whether it may be something else: a column of another query, or a name that this one gives.
    pub(crate) loose: bool,
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Nothing,
    One(Scalar),
    List(Vec<Scalar>),
    Column(Column),
    Query(Option<Box<Filter>>),
}

/// A value in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// The parameter with this index, from 0.
    Param(usize),
    Text(String),
    Number(String),
    Bool(bool),
    Null,
}

/// Reads what a statement of a text asks; `None` if the parser doesn't know it.
pub(crate) fn question(sql: &str, backend: DbBackend, parsed: &Parsed) -> Option<Question> {
    let lang = super::lang_of(backend)?;
    let lexed = lex::lex(sql, lang).ok()?;
    let inside = |tok: &&lex::Tok| parsed.range.start <= tok.range.start && tok.range.end <= parsed.range.end;
    let toks: Vec<_> = lexed.toks.iter().filter(inside).cloned().collect();
    let piece = Piece::new(sql, lang, &toks).ok()?;
    let mut tokens = piece.feed(0..toks.len());
    // A placeholder is numbered, so that the tree says which value it stands for.
    for token in &mut tokens {
        if let Token::Placeholder(_) = token.token {
            let at = lex::offset(token.span.start)?;
            let param = parsed.params.iter().find(|param| param.range.start == at)?;
            token.token = Token::Placeholder(format!("${}", param.index));
        }
    }
    tree::with_stack(piece.depth, || {
        let statement = tree::statement(lang, tokens)?;
        let (kind, filter, mut asked) = Reader::read(lang, &statement)?;
        if matches!(kind, QueryType::Count | QueryType::Exists) {
            asked.iter_mut().for_each(|asked| (asked.all, asked.columns) = (false, Vec::new()));
        }
        Some(Question { kind, asked, filter })
    })
}
