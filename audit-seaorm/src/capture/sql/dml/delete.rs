//! The pieces of a `DELETE`.

use sqlparser::ast::Statement;

use super::{
    DISAGREE, Front, check, clauses, has_alias, inner, modifiers, names_of, no_cursor, returning, same,
    sources, tail, target, whole,
};
use crate::capture::sql::lex::Lang;
use crate::capture::sql::piece::{Piece, keyword};
use crate::capture::sql::shape::{Fail, Shape};
use crate::capture::sql::{Delete, What, joined, tree};

pub(super) fn read(piece: &Piece<'_>, front: Front, verb: usize) -> Result<Shape, Fail> {
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
        sqlparser::ast::FromTable::WithFromKeyword(from) => from.first().is_some_and(has_alias),
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
