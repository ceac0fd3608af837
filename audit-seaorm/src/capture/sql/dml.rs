//! The pieces of `INSERT`, `UPDATE` and `DELETE`.
//!
//! The clauses are found by their keywords. What is found is then given to the parser twice: as a whole, to see whether
//! it recognises the same clauses with the same contents, and piece by piece, to see whether each is complete in
//! itself. Modifiers that the parser doesn't know are left out of the whole.

use std::ops::Range;

use sqlparser::ast::{
    Assignment as Set, AssignmentTarget, ConflictTarget, Expr, OnConflictAction, OnInsert, Query, SelectItem,
    SetExpr, Statement, UpdateTableFromKind,
};
use sqlparser::tokenizer::TokenWithSpan;

use super::joined;
use super::lex::{Kind, Lang};
use super::piece::{Piece, keyword};
use super::shape::{Fail, Shape};
use super::tree::{self, Seen};
use super::{
    Assignment, Conflict, Delete, Insert, Returning, ReturningItem, Source, TableName, Target, Update, What,
    With, columns,
};

/// A place in a statement's tokens.
pub(super) type Span = Range<usize>;

/// The parser doesn't see what was found by keywords.
pub(super) const DISAGREE: Fail = Fail::Unreadable("a clause isn't complete, or isn't known there");

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
        update(piece, front, at)
    } else if piece.is(at, "DELETE") {
        delete(piece, front, at)
    } else {
        insert(piece, front, at)
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

fn update(piece: &Piece<'_>, front: Front, verb: usize) -> Result<Shape, Fail> {
    let (mut action, at) = or(piece, verb + 1)?;
    let (ignore, at) = modifiers(piece, at, &["LOW_PRIORITY", "IGNORE"]);
    if ignore != Conflict::None {
        action = ignore;
    }
    let start = at;
    let ends: &[&str] = if piece.lang == Lang::My { &TABLE_ENDS } else { &["SET"] };
    let (target, name, at) = target(piece, at, ends)?;
    // MySQL takes lists and joins of tables there.
    let several = || {
        Fail::Other(
            "an UPDATE of several tables, or of a partition",
            piece.mentioned(start..piece.toks.len()),
        )
    };
    let (join, at) = match piece.find(at, piece.toks.len(), |at| piece.is(at, "SET")) {
        Some(set) if set == at => (None, set),
        Some(set) if piece.lang == Lang::My && joined::begins(piece, at) => (Some(at..set), set),
        Some(_) if piece.lang == Lang::My => return Err(several()),
        _ => return Err(Fail::SYNTAX),
    };
    let set = at + 1;
    let (end, clauses) = clauses(piece, set)?;
    let is_from = |at: usize| {
        piece.is(at, "FROM")
            && !(at > set
                && piece.is(at - 1, "DISTINCT")
                && (piece.is(at - 2, "IS") || piece.are(at.saturating_sub(3), &["IS", "NOT"])))
    };
    let from = piece.find(set, end, is_from);
    let (set, from) = match from {
        Some(from) => (set..from, Some(from + 1..end)),
        None => (set..end, None),
    };
    no_cursor(piece, clauses.condition.as_ref())?;
    if set.is_empty() || from.as_ref().is_some_and(|from| from.is_empty()) {
        return Err(DISAGREE);
    }
    if join.is_some() && !joined::sets_only(piece, &set, &target) {
        return Err(several());
    }

    let end = clauses.condition.as_ref().map_or(end, |condition| condition.end);
    let mut tokens = vec![keyword("UPDATE")];
    tokens.extend(piece.feed(name.start..end));
    let statement = whole(piece, &front, tokens)?;
    let Statement::Update(parsed) = inner(&statement) else { return Err(DISAGREE) };
    let alias = parsed.table.relation_alias();
    if alias != target.alias.is_some() || parsed.or.is_some() || parsed.output.is_some() {
        return Err(DISAGREE);
    }
    if !parsed.order_by.is_empty() || parsed.limit.is_some() || parsed.returning.is_some() {
        return Err(DISAGREE);
    }
    let mut seen = check(piece, &front, &target, &statement, tree::updated(piece.lang, parsed))?;
    same(piece, clauses.condition.as_ref(), parsed.selection.as_ref())?;
    match (&from, &parsed.from) {
        (None, None) => {}
        (Some(from), Some(UpdateTableFromKind::AfterSet(tables))) => {
            let mut tokens = vec![keyword("SELECT"), keyword("x"), keyword("FROM")];
            tokens.extend(piece.feed(from.clone()));
            sources(piece, tokens, tables)?;
        }
        _ => return Err(DISAGREE),
    }
    if let Some(join) = &join {
        if !joined::is_plain(piece, &target, &parsed.table) {
            return Err(several());
        }
        let mut tokens = vec![keyword("SELECT"), keyword("x"), keyword("FROM")];
        tokens.extend(piece.feed(name.start..join.end));
        sources(piece, tokens, std::slice::from_ref(&parsed.table))?;
    }
    let assigned = assignments(piece, &set, &parsed.assignments)?;
    let names = names_of(&front);
    let returning = returning(piece, clauses.returning.as_ref(), &names, &mut seen)?;
    let tail = tail(piece, clauses.tail.as_ref(), &names, &mut seen)?;
    let update = Update {
        with: front.with,
        body: piece.text(verb..piece.toks.len()).ok_or(DISAGREE)?,
        target,
        join: join.and_then(|join| piece.text(join)),
        set: piece.text(set).ok_or(DISAGREE)?,
        assigned,
        from: from.and_then(|from| piece.text(from)),
        condition: clauses.condition.and_then(|condition| piece.text(condition)),
        tail,
        or: action,
        returning,
    };
    Shape::seen(What::Update(Box::new(update)), seen)
}

/// Checks that a list of tables is complete in itself, and the same.
pub(super) fn sources(
    piece: &Piece<'_>,
    tokens: Vec<TokenWithSpan>,
    tables: &[sqlparser::ast::TableWithJoins],
) -> Result<(), Fail> {
    let query = tree::query(piece.lang, tokens).ok_or(Fail::SYNTAX)?;
    match query.body.as_ref() {
        SetExpr::Select(select) if select.from == tables && select.selection.is_none() && is_bare(&query) => {
            Ok(())
        }
        _ => Err(DISAGREE),
    }
}

/// Whether there is an alias.
trait Aliased {
    fn relation_alias(&self) -> bool;
}

impl Aliased for sqlparser::ast::TableWithJoins {
    fn relation_alias(&self) -> bool {
        matches!(&self.relation, sqlparser::ast::TableFactor::Table { alias: Some(_), .. })
    }
}

fn delete(piece: &Piece<'_>, front: Front, verb: usize) -> Result<Shape, Fail> {
    let (action, at) = modifiers(piece, verb + 1, &["LOW_PRIORITY", "QUICK", "IGNORE"]);
    let several = || {
        let tables = piece.mentioned(verb + 1..piece.toks.len());
        Fail::Other("a DELETE from several tables, or from a partition", tables)
    };
    if !piece.is(at, "FROM") {
        return if piece.lang == Lang::My {
            joined::delete(piece, front, verb, (action, at)).unwrap_or_else(|| Err(several()))
        } else {
            Err(Fail::SYNTAX)
        };
    }
    const ENDS: &[&str] = &["USING", "WHERE", "ORDER", "LIMIT", "RETURNING"];
    let (target, name, at) = match target(piece, at + 1, ENDS) {
        Err(_) if piece.lang == Lang::My => return Err(several()),
        found => found?,
    };
    if at < piece.toks.len() && !piece.is_any(at, ENDS) || piece.lang == Lang::My && piece.is(at, "USING") {
        return Err(if piece.lang == Lang::My { several() } else { Fail::SYNTAX });
    }
    let (end, clauses) = clauses(piece, at)?;
    no_cursor(piece, clauses.condition.as_ref())?;
    let using = if piece.is(at, "USING") { Some(at + 1..end) } else { None };
    if using.as_ref().is_some_and(|using| using.is_empty()) || using.is_none() && end != at {
        return Err(DISAGREE);
    }

    let end = clauses.condition.as_ref().map_or(end, |condition| condition.end);
    let mut tokens = vec![keyword("DELETE"), keyword("FROM")];
    tokens.extend(piece.feed(name.start..end));
    let statement = whole(piece, &front, tokens)?;
    let Statement::Delete(parsed) = inner(&statement) else { return Err(DISAGREE) };
    let alias = match &parsed.from {
        sqlparser::ast::FromTable::WithFromKeyword(from) => from.first().is_some_and(Aliased::relation_alias),
        sqlparser::ast::FromTable::WithoutKeyword(_) => return Err(DISAGREE),
    };
    if alias != target.alias.is_some() || parsed.output.is_some() {
        return Err(DISAGREE);
    }
    if !parsed.order_by.is_empty() || parsed.limit.is_some() || parsed.returning.is_some() {
        return Err(DISAGREE);
    }
    let mut seen = check(piece, &front, &target, &statement, tree::deleted(piece.lang, parsed))?;
    same(piece, clauses.condition.as_ref(), parsed.selection.as_ref())?;
    match (&using, &parsed.using) {
        (None, None) => {}
        (Some(using), Some(tables)) => {
            let mut tokens = vec![keyword("SELECT"), keyword("x"), keyword("FROM")];
            tokens.extend(piece.feed(using.clone()));
            sources(piece, tokens, tables)?;
        }
        _ => return Err(DISAGREE),
    }
    let names = names_of(&front);
    let returning = returning(piece, clauses.returning.as_ref(), &names, &mut seen)?;
    let tail = tail(piece, clauses.tail.as_ref(), &names, &mut seen)?;
    let delete = Delete {
        with: front.with,
        body: piece.text(verb..piece.toks.len()).ok_or(DISAGREE)?,
        target,
        join: None,
        using: using.and_then(|using| piece.text(using)),
        condition: clauses.condition.and_then(|condition| piece.text(condition)),
        tail,
        or: action,
        returning,
    };
    Shape::seen(What::Delete(Box::new(delete)), seen)
}

/// Where the parts of an `ON CONFLICT` or `ON DUPLICATE KEY` are, in tokens.
#[derive(Default)]
struct OnConflict {
    all: Span,
    target: Option<Span>,
    columns: Option<Vec<String>>,
    /// The predicate of the target.
    predicate: Option<Span>,
    /// None for `DO NOTHING`.
    set: Option<Span>,
    condition: Option<Span>,
}

fn insert(piece: &Piece<'_>, front: Front, verb: usize) -> Result<Shape, Fail> {
    let replaces = piece.is(verb, "REPLACE");
    let (mut conflict, at) = if replaces { (Conflict::Replace, verb + 1) } else { or(piece, verb + 1)? };
    if piece.lang == Lang::My && piece.is(at, "DELAYED") {
        return Err(Fail::other("an INSERT DELAYED"));
    }
    let (ignore, at) = modifiers(piece, at, &["LOW_PRIORITY", "HIGH_PRIORITY", "IGNORE"]);
    if ignore != Conflict::None && !replaces {
        conflict = ignore;
    }
    // Only MySQL goes without.
    let at = if piece.lang == Lang::My && !piece.is(at, "INTO") { at } else { expect(piece, at, "INTO")? };
    const ENDS: &[&str] =
        &["DEFAULT", "OVERRIDING", "PARTITION", "SELECT", "SET", "TABLE", "VALUE", "VALUES", "WITH"];
    let (target, name, mut at) = target(piece, at, ENDS)?;
    if target.only {
        return Err(DISAGREE);
    }
    if piece.is(at, "PARTITION") {
        return Err(Fail::Other("an INSERT into a partition", vec![target.name]));
    }
    let mut tokens = vec![keyword("INSERT"), keyword("INTO")];
    tokens.extend(piece.feed(name.clone()));

    let mut columns = None;
    if piece.opens(at) && !starts_query(piece, at + 1) {
        let close = piece.close(at);
        let mut list = Vec::new();
        if close > at + 1 {
            for part in piece.parts(at + 1..close) {
                list.push(column_of(piece, &part)?);
            }
        }
        columns = Some(list);
        tokens.extend(piece.feed(at..close + 1));
        at = close + 1;
    }
    if piece.is(at, "OVERRIDING") {
        if piece.lang != Lang::Pg || !piece.is_any(at + 1, &["SYSTEM", "USER"]) {
            return Err(DISAGREE);
        }
        at = expect(piece, at + 2, "VALUE")?;
    }

    // The clauses after the rows.
    let end = piece.toks.len();
    let is_conflict =
        |at: usize| piece.are(at, &["ON", "CONFLICT"]) || piece.are(at, &["ON", "DUPLICATE", "KEY"]);
    let returns = piece.find(at, end, |at| piece.is(at, "RETURNING"));
    let before = returns.unwrap_or(end);
    let on = piece.find(at, before, |at| {
        is_conflict(at) && (piece.opens(at + 2) || piece.is_any(at + 2, &["DO", "ON", "KEY"]))
    });
    let on = on.map(|on| on_conflict(piece, on..before)).transpose()?;
    let rows = at..on.as_ref().map_or(before, |on| on.all.start);
    let (rows, row_alias) = row_alias(piece, rows)?;
    if rows.is_empty() {
        return Err(DISAGREE);
    }

    tokens.extend(piece.feed(rows.clone()));
    let statement = whole(piece, &front, tokens)?;
    let Statement::Insert(parsed) = inner(&statement) else { return Err(DISAGREE) };
    let odd = parsed.overwrite
        || parsed.or.is_some()
        || parsed.ignore
        || parsed.table_alias.is_some()
        || parsed.has_table_keyword
        || parsed.partitioned.is_some()
        || parsed.returning.is_some()
        || parsed.output.is_some()
        || parsed.insert_alias.is_some()
        || parsed.on.is_some()
        || parsed.settings.is_some()
        || parsed.format_clause.is_some()
        || parsed.multi_table_insert_type.is_some()
        || parsed.columns.len() != columns.as_ref().map_or(0, Vec::len);
    if odd {
        return Err(DISAGREE);
    }
    let mut seen = check(piece, &front, &target, &statement, tree::inserted(piece.lang, parsed))?;
    let source = source(piece, &rows, parsed, &mut columns)?;
    let names = names_of(&front);
    if let Some(on) = &on {
        if conflict != Conflict::None && conflict != Conflict::Abort {
            // SQLite takes both: which of them counts depends on the constraint.
            if piece.lang != Lang::My || replaces {
                return Err(Fail::Other("an INSERT with two ways to treat conflicts", vec![target.name]));
            }
        }
        let parsed = conflict_clause(piece, on)?;
        seen.visit_within(&names, &parsed);
        conflict = conflicting(piece, on, &parsed, &names, &mut seen)?;
    }
    let returning = returning(piece, returns.map(|returns| returns..end).as_ref(), &names, &mut seen)?;
    let insert = Insert {
        with: front.with,
        body: piece.text(verb..end).ok_or(DISAGREE)?,
        target,
        columns,
        source,
        row_alias: row_alias.and_then(|alias| piece.text(alias)),
        conflict,
        returning,
    };
    Shape::seen(What::Insert(Box::new(insert)), seen)
}

/// Whether a parenthesis before this place holds a query.
fn starts_query(piece: &Piece<'_>, at: usize) -> bool {
    let mut at = at;
    while piece.opens(at) {
        at += 1;
    }
    piece.is_any(at, &["SELECT", "WITH", "VALUES", "TABLE"])
}

/// Cuts off MySQL's `AS new (a, b)` behind the rows.
fn row_alias(piece: &Piece<'_>, rows: Span) -> Result<(Span, Option<Span>), Fail> {
    let has_rows = piece.is_any(rows.start, &["VALUES", "VALUE", "SET"]);
    if piece.lang != Lang::My || !has_rows {
        return Ok((rows, None));
    }
    let Some(at) = piece.find(rows.start, rows.end, |at| piece.is(at, "AS")) else { return Ok((rows, None)) };
    let (_, mut next) = piece.ident(at + 1).ok_or(DISAGREE)?;
    if piece.opens(next) {
        next = piece.close(next) + 1;
    }
    if next != rows.end {
        return Err(DISAGREE);
    }
    Ok((rows.start..at, Some(at + 1..next)))
}

/// The rows, compared with what the parser says.
fn source(
    piece: &Piece<'_>,
    rows: &Span,
    parsed: &sqlparser::ast::Insert,
    columns: &mut Option<Vec<String>>,
) -> Result<Source, Fail> {
    if piece.are(rows.start, &["DEFAULT", "VALUES"]) && rows.len() == 2 {
        let none = parsed.source.is_none() && parsed.assignments.is_empty() && columns.is_none();
        return if none { Ok(Source::Default) } else { Err(DISAGREE) };
    }
    if piece.lang == Lang::My && piece.is(rows.start, "SET") {
        let assigned = assignments(piece, &(rows.start + 1..rows.end), &parsed.assignments)?;
        if columns.is_some() || parsed.source.is_some() {
            return Err(DISAGREE);
        }
        let mut names = Vec::new();
        let mut row = Vec::new();
        for Assignment { column, value } in assigned {
            names.push(column);
            row.push(value.ok_or(DISAGREE)?);
        }
        *columns = Some(names);
        return Ok(Source::Values(vec![row]));
    }
    let query = parsed.source.as_ref().ok_or(DISAGREE)?;
    if !parsed.assignments.is_empty() {
        return Err(DISAGREE);
    }
    if let Some(values) = value_rows(piece, rows) {
        let SetExpr::Values(parsed) = query.body.as_ref() else { return Err(DISAGREE) };
        let same = values.len() == parsed.rows.len()
            && values.iter().zip(&parsed.rows).all(|(row, parsed)| row.len() == parsed.content.len())
            && !parsed.explicit_row
            && query.with.is_none()
            && is_bare(query);
        if !same {
            return Err(DISAGREE);
        }
        // SeaORM says `VALUES (DEFAULT)` on PostgreSQL, where columns without a value get their defaults, too.
        let is_default = |value: &Span| value.len() == 1 && piece.is(value.start, "DEFAULT");
        let all_default = |row: &[Span]| row.iter().all(is_default) && piece.lang != Lang::Lite;
        if matches!(values.as_slice(), [row] if all_default(row))
            && columns.as_ref().is_none_or(Vec::is_empty)
        {
            return Ok(Source::Default);
        }
        let text =
            |row: Vec<Span>| row.into_iter().map(|value| piece.text(value)).collect::<Option<Vec<_>>>();
        let values = values.into_iter().map(text).collect::<Option<Vec<_>>>();
        return Ok(Source::Values(values.ok_or(DISAGREE)?));
    }
    let sliced = tree::query(piece.lang, piece.feed(rows.clone())).ok_or(Fail::SYNTAX)?;
    if sliced != *query {
        return Err(DISAGREE);
    }
    Ok(Source::Query(piece.text(rows.clone()).ok_or(DISAGREE)?))
}

/// `VALUES (..), (..)`, if it is that and nothing else.
fn value_rows(piece: &Piece<'_>, rows: &Span) -> Option<Vec<Vec<Span>>> {
    let known = piece.is(rows.start, "VALUES") || piece.lang == Lang::My && piece.is(rows.start, "VALUE");
    if !known {
        return None;
    }
    let mut all = Vec::new();
    for row in piece.parts(rows.start + 1..rows.end) {
        if row.is_empty() || !piece.opens(row.start) || piece.close(row.start) + 1 != row.end {
            return None;
        }
        let inside = row.start + 1..row.end - 1;
        all.push(if inside.is_empty() { Vec::new() } else { piece.parts(inside) });
    }
    Some(all)
}

/// Finds the parts of an `ON ..` clause.
fn on_conflict(piece: &Piece<'_>, all: Span) -> Result<OnConflict, Fail> {
    let mut on = OnConflict { all: all.clone(), ..OnConflict::default() };
    let mut at = all.start + 2;
    if piece.is(all.start + 1, "DUPLICATE") {
        if piece.lang != Lang::My {
            return Err(DISAGREE);
        }
        at = expect(piece, at, "KEY")?;
        at = expect(piece, at, "UPDATE")?;
        on.set = Some(at..all.end);
        return Ok(on);
    }
    if piece.lang == Lang::My {
        return Err(DISAGREE);
    }
    if piece.find(at, all.end, |at| piece.are(at, &["ON", "CONFLICT"])).is_some() {
        return Err(Fail::other("an INSERT with several ON CONFLICT"));
    }
    let start = at;
    if piece.opens(at) {
        let close = piece.close(at);
        on.columns = piece.parts(at + 1..close).iter().map(|part| column_of(piece, part).ok()).collect();
        at = close + 1;
        if piece.is(at, "WHERE") {
            let end = piece.find(at, all.end, |at| piece.is(at, "DO")).ok_or(DISAGREE)?;
            on.columns = None;
            on.predicate = Some(at + 1..end);
            at = end;
        }
        on.target = Some(start..at);
    } else if piece.are(at, &["ON", "CONSTRAINT"]) {
        let (_, next) = piece.ident(at + 2).ok_or(DISAGREE)?;
        at = next;
        on.target = Some(start..at);
    }
    at = expect(piece, at, "DO")?;
    if piece.is(at, "NOTHING") {
        return if at + 1 == all.end { Ok(on) } else { Err(DISAGREE) };
    }
    at = expect(piece, at, "UPDATE")?;
    at = expect(piece, at, "SET")?;
    let condition = piece.find(at, all.end, |at| piece.is(at, "WHERE"));
    on.set = Some(at..condition.unwrap_or(all.end));
    on.condition = condition.map(|at| at + 1..all.end);
    Ok(on)
}

/// What the parser makes of the clause, after rows where it can't take `ON` for anything else. It knows plain columns
/// as a target only.
fn conflict_clause(piece: &Piece<'_>, on: &OnConflict) -> Result<OnInsert, Fail> {
    let mut tokens =
        vec![keyword("INSERT"), keyword("INTO"), keyword("x"), keyword("DEFAULT"), keyword("VALUES")];
    match (&on.target, &on.columns) {
        (Some(target), None) => {
            tokens.extend(piece.feed(on.all.start..target.start));
            tokens.extend(piece.feed(target.end..on.all.end));
        }
        _ => tokens.extend(piece.feed(on.all.clone())),
    }
    match tree::statement(piece.lang, tokens) {
        Some(Statement::Insert(insert)) if insert.returning.is_none() => insert.on.ok_or(DISAGREE),
        _ => Err(Fail::SYNTAX),
    }
}

/// What the clause does, compared with what the parser says.
fn conflicting(
    piece: &Piece<'_>,
    on: &OnConflict,
    parsed: &OnInsert,
    names: &[String],
    seen: &mut Seen,
) -> Result<Conflict, Fail> {
    if let Some(predicate) = &on.predicate {
        seen.visit_within(names, &expression(piece, predicate)?);
    }
    let (sets, condition) = match parsed {
        OnInsert::OnConflict(parsed) => {
            let same = match (&parsed.conflict_target, &on.columns) {
                (Some(ConflictTarget::Columns(parsed)), Some(columns)) => parsed
                    .iter()
                    .map(|ident| super::piece::fold_ident(piece.lang, ident))
                    .eq(columns.iter().cloned()),
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Err(DISAGREE);
            }
            match (&parsed.action, &on.set) {
                (OnConflictAction::DoNothing, None) => return Ok(Conflict::Nothing),
                (OnConflictAction::DoUpdate(update), Some(_)) => {
                    (&update.assignments, update.selection.as_ref())
                }
                _ => return Err(DISAGREE),
            }
        }
        OnInsert::DuplicateKeyUpdate(sets) => (sets, None),
        _ => return Err(DISAGREE),
    };
    let set = on.set.as_ref().ok_or(DISAGREE)?;
    same(piece, on.condition.as_ref(), condition)?;
    Ok(Conflict::Update {
        target: on.target.clone().and_then(|target| piece.text(target)),
        columns: on.columns.clone().unwrap_or_default(),
        assigned: assignments(piece, set, sets)?,
        condition: on.condition.clone().and_then(|condition| piece.text(condition)),
        clause: piece.text(on.all.clone()).ok_or(DISAGREE)?,
    })
}
