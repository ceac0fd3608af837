//! The pieces of an `INSERT`, and of MySQL's and SQLite's `REPLACE`.

use sqlparser::ast::{ConflictTarget, OnConflictAction, OnInsert, SetExpr, Statement};

use super::{
    DISAGREE, Front, Span, assignments, check, column_of, expect, expression, inner, is_bare, modifiers,
    names_of, or, returning, same, target, whole,
};
use crate::capture::sql::lex::Lang;
use crate::capture::sql::piece::{Piece, fold_ident, keyword};
use crate::capture::sql::shape::{Fail, Shape};
use crate::capture::sql::tree::{self, Seen};
use crate::capture::sql::{Assignment, Conflict, Insert, Source, What};

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

pub(super) fn read(piece: &Piece<'_>, front: Front, verb: usize) -> Result<Shape, Fail> {
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
                (Some(ConflictTarget::Columns(parsed)), Some(columns)) => {
                    parsed.iter().map(|ident| fold_ident(piece.lang, ident)).eq(columns.iter().cloned())
                }
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
