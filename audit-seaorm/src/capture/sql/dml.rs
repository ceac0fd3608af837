//! The pieces of `INSERT`, `UPDATE` and `DELETE`.
//!
//! The clauses are found by their keywords. What is found is then given to the parser twice: as a whole, to see whether
//! it recognises the same clauses with the same contents, and piece by piece, to see whether each is complete in
//! itself. Modifiers that the parser doesn't know are left out of the whole.

mod delete;
mod insert;
mod update;

use std::ops::Range;

use sqlparser::ast::{
    Assignment as Set, AssignmentTarget, Expr, Query, SelectItem, SetExpr, Statement, TableFactor,
    TableWithJoins,
};
use sqlparser::tokenizer::TokenWithSpan;

use super::lex::{Kind, Lang};
use super::piece::{Piece, keyword};
use super::shape::{Fail, INCOMPLETE, Shape};
use super::tree::{self, Seen};
use super::{Assignment, Conflict, Returning, ReturningItem, TableName, Target, With, columns};

/// A place in a statement's tokens.
pub(super) type Span = Range<usize>;

/// The parser doesn't see what was found by keywords.
pub(super) const DISAGREE: Fail = Fail::Unreadable(INCOMPLETE);

/// The `WITH` at the start of a statement, the tokens of its list, and where the next token is.
pub(super) fn with(piece: &Piece<'_>) -> Result<(With, Span, usize), Fail> {
    let recursive = piece.is(1, "RECURSIVE") && piece.kind(2) != Some(Kind::Open) && !piece.is(2, "AS");
    let start = if recursive { 2 } else { 1 };
    let mut at = start;
    let mut names = Vec::new();
    loop {
        let (name, next) = piece.ident(at).ok_or(DISAGREE)?;
        names.push(name);
        at = next;
        if piece.opens(at) {
            at = piece.close(at) + 1;
        }
        at = expect(piece, at, "AS")?;
        if piece.is(at, "MATERIALIZED") {
            at += 1;
        } else if piece.are(at, &["NOT", "MATERIALIZED"]) {
            at += 2;
        }
        if !piece.opens(at) {
            return Err(DISAGREE);
        }
        at = piece.close(at) + 1;
        if piece.kind(at) != Some(Kind::Comma) {
            break;
        }
        at += 1;
    }
    let text = piece.text(start..at).ok_or(DISAGREE)?;
    Ok((With { recursive, text, names }, start..at, at))
}

/// What comes before the statement itself.
pub(super) struct Front {
    pub(super) with: Option<With>,
    /// The tokens of `WITH ..`, none if there is no such thing.
    span: Span,
}

/// Where clauses are, in tokens.
#[derive(Default)]
pub(super) struct Clauses {
    pub(super) condition: Option<Span>,
    pub(super) tail: Option<Span>,
    pub(super) returning: Option<Span>,
}

/// What may follow a table in an `UPDATE` of MySQL's.
pub(super) const TABLE_ENDS: [&str; 12] = [
    "SET",
    "JOIN",
    "INNER",
    "LEFT",
    "CROSS",
    "RIGHT",
    "NATURAL",
    "STRAIGHT_JOIN",
    "PARTITION",
    "USE",
    "FORCE",
    "IGNORE",
];

/// Reads the statement whose verb is at `at`.
pub(super) fn dml(piece: &Piece<'_>, with: Option<With>, at: usize) -> Result<Shape, Fail> {
    let front = Front { with, span: 0..at };
    if piece.is(at, "UPDATE") {
        update::read(piece, front, at)
    } else if piece.is(at, "DELETE") {
        delete::read(piece, front, at)
    } else {
        insert::read(piece, front, at)
    }
}

fn expect(piece: &Piece<'_>, at: usize, keyword: &str) -> Result<usize, Fail> {
    if piece.is(at, keyword) { Ok(at + 1) } else { Err(DISAGREE) }
}

/// SQLite's `OR ..`, and where the next token is.
fn or(piece: &Piece<'_>, at: usize) -> Result<(Conflict, usize), Fail> {
    if piece.lang != Lang::Lite || !piece.is(at, "OR") {
        return Ok((Conflict::None, at));
    }
    let or = match piece.word(at + 1).map(str::to_ascii_uppercase).as_deref() {
        Some("REPLACE") => Conflict::Replace,
        Some("IGNORE") => Conflict::Nothing,
        Some("ABORT" | "FAIL" | "ROLLBACK") => Conflict::Abort,
        _ => return Err(DISAGREE),
    };
    Ok((or, at + 2))
}

/// Skips MySQL's modifiers after a verb.
fn modifiers(piece: &Piece<'_>, at: usize, known: &[&str]) -> (Conflict, usize) {
    let mut at = at;
    let mut or = Conflict::None;
    while piece.lang == Lang::My && piece.is_any(at, known) {
        if piece.is(at, "IGNORE") {
            or = Conflict::Nothing;
        }
        at += 1;
    }
    (or, at)
}

/// The target, its tokens, and where the next token is. `ends` are the words that may follow it.
pub(super) fn target(piece: &Piece<'_>, at: usize, ends: &[&str]) -> Result<(Target, Span, usize), Fail> {
    let only = piece.lang == Lang::Pg && piece.is(at, "ONLY");
    let start = if only { at + 1 } else { at };
    if piece.opens(start) {
        return Err(Fail::other("a write to a table in parentheses"));
    }
    let (name, mut at) = piece.table(start).ok_or(DISAGREE)?;
    let span = start..at;
    let alias = if piece.is(at, "AS") {
        at += 1;
        true
    } else {
        piece.kind(at).is_some_and(|kind| matches!(kind, Kind::Word | Kind::Quoted))
            && !piece.is_any(at, ends)
    };
    let alias = if alias {
        let (_, next) = piece.ident(at).ok_or(DISAGREE)?;
        let alias = piece.text(at..next);
        at = next;
        alias
    } else {
        None
    };
    let text = piece.text(span.clone()).ok_or(DISAGREE)?;
    Ok((Target { name, text, alias, only }, span, at))
}

/// Splits what follows the assignments or the table: `WHERE`, `RETURNING` and `ORDER BY .. LIMIT ..`, of which SQLite
/// has the last two the other way around than MariaDB.
pub(super) fn clauses(piece: &Piece<'_>, at: usize) -> Result<(usize, Clauses), Fail> {
    let end = piece.toks.len();
    let starts =
        |at: usize| piece.is_any(at, &["WHERE", "RETURNING", "LIMIT"]) || piece.are(at, &["ORDER", "BY"]);
    let mut clauses = Clauses::default();
    let Some(first) = piece.find(at, end, starts) else { return Ok((end, clauses)) };
    let mut at = first;
    while at < end {
        let is_tail = piece.is_any(at, &["ORDER", "LIMIT"]);
        let body = at + 1;
        let next =
            piece.find(body, end, |at| starts(at) && !(is_tail && piece.is(at, "LIMIT"))).unwrap_or(end);
        let (slot, span) = if piece.is(at, "WHERE") {
            if clauses.tail.is_some() || clauses.returning.is_some() {
                return Err(DISAGREE);
            }
            (&mut clauses.condition, body..next)
        } else if piece.is(at, "RETURNING") {
            (&mut clauses.returning, at..next)
        } else {
            (&mut clauses.tail, at..next)
        };
        if slot.is_some() || next <= body {
            return Err(DISAGREE);
        }
        *slot = Some(span);
        at = next;
    }
    if clauses.tail.is_some() && piece.lang == Lang::Pg {
        return Err(DISAGREE);
    }
    Ok((first, clauses))
}

/// The expression that the tokens are.
fn expression(piece: &Piece<'_>, span: &Span) -> Result<Expr, Fail> {
    tree::expression(piece.lang, piece.feed(span.clone())).ok_or(Fail::SYNTAX)
}

/// The columns and values of `a = 1, (b, c) = ..`, compared with those of the parser.
fn assignments(piece: &Piece<'_>, span: &Span, sets: &[Set]) -> Result<Vec<Assignment>, Fail> {
    let parts = piece.parts(span.clone());
    if parts.len() != sets.len() {
        return Err(DISAGREE);
    }
    let mut all = Vec::new();
    for (part, set) in parts.into_iter().zip(sets) {
        let (columns, at) = if piece.opens(part.start) {
            let close = piece.close(part.start);
            let mut columns = Vec::new();
            for column in piece.parts(part.start + 1..close) {
                columns.push(column_of(piece, &column)?);
            }
            (columns, close + 1)
        } else {
            let (_, at) = piece.chain(part.start).ok_or(DISAGREE)?;
            (vec![column_of(piece, &(part.start..at))?], at)
        };
        if !piece.is_op(at, "=") || at + 1 >= part.end {
            return Err(DISAGREE);
        }
        let value = at + 1..part.end;
        let expr = expression(piece, &value)?;
        let names = match &set.target {
            AssignmentTarget::ColumnName(name) => vec![name],
            AssignmentTarget::Tuple(names) => names.iter().collect(),
        };
        let same = names.len() == columns.len()
            && names.iter().zip(&columns).all(|(name, column)| {
                tree::names(piece.lang, name).is_some_and(|parts| parts.contains(column))
            });
        if !same || expr != set.value {
            return Err(DISAGREE);
        }
        let single = !piece.opens(part.start);
        for column in columns {
            let value = if single { piece.text(value.clone()) } else { None };
            all.push(Assignment { column, value });
        }
    }
    Ok(all)
}

/// The column that a name before `=` means: on PostgreSQL what follows a dot is a part of the column, elsewhere what
/// precedes it is the table.
fn column_of(piece: &Piece<'_>, span: &Span) -> Result<String, Fail> {
    let (mut names, at) = piece.chain(span.start).ok_or(DISAGREE)?;
    if at != span.end {
        return Err(DISAGREE);
    }
    if piece.lang == Lang::Pg {
        names.truncate(1);
    }
    names.pop().ok_or(DISAGREE)
}

/// The `RETURNING` clause.
fn returning(
    piece: &Piece<'_>,
    span: Option<&Span>,
    names: &[String],
    seen: &mut Seen,
) -> Result<Option<Returning>, Fail> {
    let Some(span) = span else { return Ok(None) };
    let mut items = Vec::new();
    for part in piece.parts(span.start + 1..span.end) {
        let item = tree::item(piece.lang, piece.feed(part.clone())).ok_or(Fail::SYNTAX)?;
        let end = match &item {
            SelectItem::ExprWithAlias { expr, .. } => {
                let end = part.end.saturating_sub(1);
                let end = if piece.is(end.saturating_sub(1), "AS") { end - 1 } else { end };
                if end <= part.start || expression(piece, &(part.start..end))? != *expr {
                    return Err(DISAGREE);
                }
                end
            }
            SelectItem::UnnamedExpr(_) => part.end,
            SelectItem::Wildcard(_) if part.len() == 1 => part.end,
            SelectItem::QualifiedWildcard(..) => part.end,
            _ => return Err(Fail::SYNTAX),
        };
        seen.visit_within(names, &item);
        let text = piece.text(part.start..end).ok_or(DISAGREE)?;
        items.push(ReturningItem { text, output: columns::output(piece.lang, &item) });
    }
    let clause = piece.text(span.clone()).ok_or(DISAGREE)?;
    Ok(Some(Returning { clause, items }))
}

/// `ORDER BY .. LIMIT ..`
fn tail(
    piece: &Piece<'_>,
    span: Option<&Span>,
    names: &[String],
    seen: &mut Seen,
) -> Result<Option<Range<usize>>, Fail> {
    let Some(span) = span else { return Ok(None) };
    let mut tokens = vec![keyword("SELECT"), keyword("x"), keyword("FROM"), keyword("x")];
    tokens.extend(piece.feed(span.clone()));
    let query = tree::query(piece.lang, tokens).ok_or(Fail::SYNTAX)?;
    seen.visit_within(names, &query.order_by);
    seen.visit_within(names, &query.limit_clause);
    Ok(piece.text(span.clone()))
}

/// What the parser makes of the whole; the last of the statements in it is the write itself.
pub(super) fn whole(piece: &Piece<'_>, front: &Front, tokens: Vec<TokenWithSpan>) -> Result<Statement, Fail> {
    let mut all = piece.feed(front.span.clone());
    all.extend(tokens);
    tree::statement(piece.lang, all).ok_or(Fail::SYNTAX)
}

/// The statement within a `WITH`.
pub(super) fn inner(statement: &Statement) -> &Statement {
    if let Statement::Query(query) = statement
        && let SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner) = query.body.as_ref()
        && is_bare(query)
    {
        return inner;
    }
    statement
}

/// Whether a query is nothing but its body and perhaps a `WITH`.
fn is_bare(query: &Query) -> bool {
    query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
}

/// What is read and called, once it is sure that there is one write and that it goes to the target.
pub(super) fn check(
    piece: &Piece<'_>,
    front: &Front,
    target: &Target,
    statement: &Statement,
    written: Option<TableName>,
) -> Result<Seen, Fail> {
    let mut seen = Seen::new(piece.lang, Some(target.text.start));
    seen.visit(statement);
    if seen.writes.len() > 1 {
        let tables = seen.writes.into_iter().flatten().collect();
        return Err(Fail::Other("several writes in one statement", tables));
    }
    let parser = match statement {
        Statement::Query(query) => query.with.as_ref(),
        _ => None,
    };
    let names = |with: &sqlparser::ast::With| {
        with.cte_tables
            .iter()
            .map(|cte| super::piece::fold_ident(piece.lang, &cte.alias.name))
            .collect::<Vec<_>>()
    };
    if seen.odd
        || written.as_ref() != Some(&target.name)
        || parser.map(names) != front.with.as_ref().map(|with| with.names.clone())
        || parser
            .is_some_and(|parser| Some(parser.recursive) != front.with.as_ref().map(|with| with.recursive))
    {
        return Err(DISAGREE);
    }
    Ok(seen)
}

pub(super) fn same(piece: &Piece<'_>, span: Option<&Span>, expr: Option<&Expr>) -> Result<(), Fail> {
    let sliced = span.map(|span| expression(piece, span)).transpose()?;
    if sliced.as_ref() == expr { Ok(()) } else { Err(DISAGREE) }
}

fn names_of(front: &Front) -> Vec<String> {
    front.with.as_ref().map(|with| with.names.clone()).unwrap_or_default()
}

fn no_cursor(piece: &Piece<'_>, condition: Option<&Span>) -> Result<(), Fail> {
    match condition {
        Some(span) if piece.are(span.start, &["CURRENT", "OF"]) => Err(Fail::other("a write by a cursor")),
        _ => Ok(()),
    }
}

/// Checks that a list of tables is complete in itself, and the same.
pub(super) fn sources(
    piece: &Piece<'_>,
    tokens: Vec<TokenWithSpan>,
    tables: &[TableWithJoins],
) -> Result<(), Fail> {
    let query = tree::query(piece.lang, tokens).ok_or(Fail::SYNTAX)?;
    match query.body.as_ref() {
        SetExpr::Select(select) if select.from == tables && select.selection.is_none() && is_bare(&query) => {
            Ok(())
        }
        _ => Err(DISAGREE),
    }
}

/// Whether the table has an alias.
fn has_alias(table: &TableWithJoins) -> bool {
    matches!(&table.relation, TableFactor::Table { alias: Some(_), .. })
}
