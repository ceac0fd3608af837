//! Text search: `LIKE`, with its wildcards escaped.

use audit_core::Error;
use sea_orm::sea_query::{BinOper, Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition};

use crate::entity::audit_log::Column;

/// Longest text to search for, in characters: databases refuse patterns that are much longer.
const MAX_SEARCH: usize = 1_000;

const ESCAPE: char = '!';

/// As texts are stored: PostgreSQL has none with NUL.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A pattern for texts that contain this one, as it is.
pub(super) fn containing(text: &str) -> LikeExpr {
    LikeExpr::new(pattern(text)).escape(ESCAPE)
}

fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in without_nul(text).chars() {
        if matches!(c, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Entries in which the text is, whatever its case.
///
/// Not full text, and no trigrams, unless the database's administrator makes an index of them: either costs every audited
/// write more than all other indexes together, and finds words instead of texts (`192.0.2` in an address).
///
/// # Errors
/// [`Error::Filter`] if it is too long.
pub(super) fn search(text: &str) -> Result<Option<Condition>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.chars().nth(MAX_SEARCH).is_some() {
        return Err(Error::Filter(format!("the text to search for has more than {MAX_SEARCH} characters")));
    }
    let searched = [
        Column::Action,
        Column::ActorId,
        Column::ActorName,
        Column::ActorEmail,
        Column::ResourceType,
        Column::ResourceId,
        Column::ResourceName,
        Column::Details,
    ];
    // Folded by the database on both sides: each has its own idea of letters, and SQLite knows those of ASCII alone.
    let folded = Expr::expr(Func::lower(Expr::val(pattern(text))));
    let pattern = folded.binary(BinOper::Escape, Expr::cust(format!("'{ESCAPE}'")));
    let any = searched.into_iter().fold(Condition::any(), |condition, column| {
        let column = Expr::expr(Func::lower(Expr::col(column.as_column_ref())));
        condition.add(column.binary(BinOper::Like, pattern.clone()))
    });
    Ok(Some(any))
}
