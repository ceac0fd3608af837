//! The pieces of an `UPDATE`.

use sqlparser::ast::{Statement, UpdateTableFromKind};

use super::{
    DISAGREE, Front, TABLE_ENDS, assignments, check, clauses, has_alias, inner, modifiers, names_of,
    no_cursor, or, returning, same, sources, tail, target, whole,
};
use crate::capture::sql::lex::Lang;
use crate::capture::sql::piece::{Piece, keyword};
use crate::capture::sql::shape::{Fail, Shape};
use crate::capture::sql::{Conflict, Update, What, joined, tree};

pub(super) fn read(piece: &Piece<'_>, front: Front, verb: usize) -> Result<Shape, Fail> {
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
    let alias = has_alias(&parsed.table);
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
