//! MySQL's writes to one table of a join.
//!
//! Of `UPDATE t JOIN ..` and `DELETE t FROM t JOIN ..` only those are taken apart that surely change rows of the first table and of no
//! other, and whose joins leave none of its rows out of the result that the write itself would reach.

use sqlparser::ast::{
    FromTable, JoinConstraint, JoinOperator, ObjectName, Statement, TableFactor, TableWithJoins,
};

use super::dml::{
    Clauses, DISAGREE, Front, Span, TABLE_ENDS, check, clauses, inner, same, sources, target, whole,
};
use super::lex::Lang;
use super::piece::{Piece, fold_ident, keyword};
use super::shape::{Fail, Shape};
use super::{Conflict, Delete, Target, What, tree};

/// Whether joins begin there.
pub(super) fn begins(piece: &Piece<'_>, at: usize) -> bool {
    piece.is_any(at, &["JOIN", "INNER", "LEFT", "CROSS"])
}

/// What the statement calls its target.
fn called(piece: &Piece<'_>, target: &Target) -> String {
    let alias = target.alias.clone().and_then(|alias| piece.sql.get(alias));
    match alias.map(|alias| (alias, alias.strip_prefix('`').and_then(|name| name.strip_suffix('`')))) {
        Some((_, Some(quoted))) => quoted.replace("``", "`"),
        Some((alias, None)) => alias.to_owned(),
        None => target.name.name.clone(),
    }
}

/// Whether every column that is set is said to be the target's.
pub(super) fn sets_only(piece: &Piece<'_>, set: &Span, target: &Target) -> bool {
    let called = called(piece, target);
    let is_targets = |part: Span| matches!(piece.chain(part.start), Some((names, _)) if matches!(&names[..], [table, _] if *table == called));
    piece.parts(set.clone()).into_iter().all(is_targets)
}

/// Whether the target is joined to tables of other names, in ways that show all rows of it that are meant.
pub(super) fn is_plain(piece: &Piece<'_>, target: &Target, table: &TableWithJoins) -> bool {
    let called = called(piece, target);
    let is_other = |factor: &TableFactor| {
        let name = match factor {
            TableFactor::Table { alias: Some(alias), args: None, .. }
            | TableFactor::Derived { alias: Some(alias), .. } => Some(fold_ident(Lang::My, &alias.name)),
            TableFactor::Table { name, alias: None, args: None, .. } => last(name),
            _ => None,
        };
        name.is_some_and(|name| !name.eq_ignore_ascii_case(&called))
    };
    table.joins.iter().all(|join| {
        let constraint = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::CrossJoin(constraint) => constraint,
            _ => return false,
        };
        !join.global && !matches!(constraint, JoinConstraint::Natural) && is_other(&join.relation)
    })
}

fn last(name: &ObjectName) -> Option<String> {
    tree::names(Lang::My, name)?.pop()
}

/// `DELETE t FROM t JOIN .. WHERE ..`, also without a join, of which `at` is where `t` stands. `None` if it is another statement on several tables.
pub(super) fn delete(
    piece: &Piece<'_>,
    front: Front,
    verb: usize,
    (or, at): (Conflict, usize),
) -> Option<Result<Shape, Fail>> {
    let (deleted, from) = piece.ident(at)?;
    if !piece.is(from, "FROM") {
        return None;
    }
    const ENDS: [&str; 4] = ["WHERE", "ORDER", "LIMIT", "RETURNING"];
    let ends: Vec<&str> = TABLE_ENDS.into_iter().chain(ENDS).collect();
    let (target, name, join) = target(piece, from + 1, &ends).ok()?;
    let alone = join >= piece.toks.len() || piece.is(join, "WHERE");
    if !(alone || begins(piece, join)) || called(piece, &target) != deleted {
        return None;
    }
    let (end, found) = clauses(piece, join).ok()?;
    let Clauses { condition, tail: None, returning: None } = found else { return None };
    let shape = || -> Result<Option<Shape>, Fail> {
        let last = condition.as_ref().map_or(end, |condition| condition.end);
        let statement = whole(piece, &front, {
            let mut tokens = vec![keyword("DELETE")];
            tokens.extend(piece.feed(at..last));
            tokens
        })?;
        let Statement::Delete(parsed) = inner(&statement) else { return Err(DISAGREE) };
        let FromTable::WithFromKeyword(tables) = &parsed.from else { return Err(DISAGREE) };
        let [table] = tables.as_slice() else { return Ok(None) };
        let odd = parsed.output.is_some()
            || parsed.using.is_some()
            || parsed.returning.is_some()
            || parsed.limit.is_some()
            || !parsed.order_by.is_empty();
        if odd || !is_plain(piece, &target, table) {
            return Ok(None);
        }
        let seen = check(piece, &front, &target, &statement, tree::deleted(piece.lang, parsed))?;
        same(piece, condition.as_ref(), parsed.selection.as_ref())?;
        let mut tokens = vec![keyword("SELECT"), keyword("x"), keyword("FROM")];
        tokens.extend(piece.feed(name.start..end));
        sources(piece, tokens, tables)?;
        let delete = Delete {
            with: front.with.clone(),
            body: piece.text(verb..piece.toks.len()).ok_or(DISAGREE)?,
            target: target.clone(),
            join: if alone { None } else { piece.text(join..end) },
            using: None,
            condition: condition.clone().and_then(|condition| piece.text(condition)),
            tail: None,
            or,
            returning: None,
        };
        Shape::seen(What::Delete(Box::new(delete)), seen).map(Some)
    };
    shape().transpose()
}
