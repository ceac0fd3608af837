//! Sorts statements by what they are.
//!
//! Statements that can't write rows are known by their form: for each there is a first word, and what may follow it is
//! limited so far that nothing can hide there. Queries and writes are checked by the parser as well.

use std::ops::Range;

use sqlparser::ast::Statement;
use sqlparser::tokenizer::Token;

use super::dml;
use super::lex::{Kind, Lang, Reason, Tok};
use super::piece::{Piece, keyword};
use super::tree::{self, Seen};
use super::{TableName, What, Words};

/// What a statement is.
#[derive(Debug)]
pub(super) struct Shape {
    /// What it does.
    pub(super) what: What,
    /// What it reads.
    pub(super) reads: Vec<TableName>,
    /// What it calls.
    pub(super) functions: Vec<String>,
}

impl Shape {
    fn plain(what: What) -> Result<Self, Fail> {
        Ok(Self { what, reads: Vec::new(), functions: Vec::new() })
    }

    /// With what the parser's tree says.
    pub(super) fn seen(what: What, seen: Seen) -> Result<Self, Fail> {
        Ok(Self { what, reads: seen.reads, functions: seen.functions })
    }
}

/// Why a statement isn't understood that the parser doesn't take.
pub(super) const SYNTAX: Reason =
    "its syntax isn't known (look at its spelling first, and at this database's dialect)";

/// Why one isn't understood in which the parser sees other clauses.
pub(super) const INCOMPLETE: Reason = "a clause isn't complete, or isn't known there";

/// Why a statement can't be followed.
#[derive(Debug)]
pub(super) enum Fail {
    /// It isn't understood.
    Unreadable(Reason),
    /// It is [`What::Other`], and may write these tables.
    Other(Reason, Vec<TableName>),
}

impl Fail {
    /// The parser doesn't take it.
    pub(super) const SYNTAX: Fail = Fail::Unreadable(SYNTAX);

    /// Something whose tables aren't known.
    pub(super) fn other(reason: Reason) -> Fail {
        Fail::Other(reason, Vec::new())
    }
}

/// Says what the statement is.
pub(super) fn shape(piece: &Piece<'_>) -> Result<Shape, Reason> {
    if piece.depth > tree::LONGEST {
        return Err("it contains an expression that is too long");
    }
    match tree::with_stack(piece.depth, || sort(piece)) {
        Ok(shape) => Ok(shape),
        Err(Fail::Unreadable(reason)) => Err(reason),
        Err(Fail::Other(reason, tables)) => {
            let text = piece.text(0..piece.toks.len()).and_then(|text| piece.sql.get(text));
            let words = Words::of(text.unwrap_or(piece.sql));
            let what = What::Other { reason: reason.to_owned(), tables, words };
            Ok(Shape { what, reads: Vec::new(), functions: Vec::new() })
        }
    }
}

/// Whether these tokens, up to a semicolon, are of a definition that may go on behind it.
pub(super) fn has_body(lang: Lang, toks: &[Tok]) -> bool {
    let is = |tok: Option<&Tok>, words: &[&str]| {
        tok.is_some_and(|tok| {
            matches!(&tok.raw.token, Token::Word(found) if tok.kind == Kind::Word
                && words.iter().any(|word| found.value.eq_ignore_ascii_case(word)))
        })
    };
    let any = |words: &[&str]| toks.iter().any(|tok| is(Some(tok), words));
    match lang {
        // Exactly where it is: what follows is taken for its body and not for statements.
        Lang::Lite => {
            let at = if is(toks.get(1), &["TEMP", "TEMPORARY"]) { 2 } else { 1 };
            is(toks.first(), &["CREATE"]) && is(toks.get(at), &["TRIGGER"])
        }
        // Anything that looks like it: it is refused.
        Lang::Pg => is(toks.first(), &["CREATE"]) && any(&["BEGIN"]),
        Lang::My => {
            is(toks.first(), &["CREATE", "ALTER"])
                && any(&["EVENT", "FUNCTION", "PACKAGE", "PROCEDURE", "TRIGGER"])
                && any(&["BEGIN", "CASE", "FOR", "IF", "LOOP", "REPEAT", "WHILE"])
        }
    }
}

fn sort(piece: &Piece<'_>) -> Result<Shape, Fail> {
    use Lang::{Lite, My, Pg};
    let Some(first) = piece.word(0) else {
        return if piece.opens(0) { query(piece) } else { Err(Fail::SYNTAX) };
    };
    match (first.to_ascii_uppercase().as_str(), piece.lang) {
        ("SELECT" | "VALUES" | "TABLE", _) => query(piece),
        ("WITH", _) => {
            let (with, _, at) = dml::with(piece)?;
            if piece.is(at, "MERGE") {
                Err(merge(piece))
            } else if piece.is_any(at, &["INSERT", "REPLACE", "UPDATE", "DELETE"]) {
                write(piece, Some(with), at)
            } else {
                query(piece)
            }
        }
        ("INSERT" | "UPDATE" | "DELETE", _) | ("REPLACE", My | Lite) => write(piece, None, 0),
        ("EXPLAIN", _) | ("DESCRIBE" | "DESC", My) => explain(piece),
        // Its condition may have a query in it, which the parser doesn't know.
        ("SHOW", My) if piece.find_all("SELECT").next().is_some() => {
            Ok(Shape { what: What::Read, reads: mentioned(piece), functions: piece.called() })
        }
        ("SHOW", Pg | My) => Shape::plain(What::Read),
        ("BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE", _)
        | ("END", Pg | Lite)
        | ("ABORT", Pg) => transaction(piece),
        ("PREPARE", Pg) if piece.is(1, "TRANSACTION") => Shape::plain(What::Transaction),
        ("SET", Pg) => set_pg(piece),
        ("SET", My) => set_my(piece),
        ("RESET", Pg) => {
            let name =
                if piece.is(1, "SESSION") { "session_authorization".to_owned() } else { name_of(piece, 1)? };
            simple(piece, What::Setting(vec![name]))
        }
        ("DISCARD", Pg) => simple(piece, What::Setting(vec!["discard".to_owned()])),
        ("USE", My) => simple(piece, What::Setting(vec!["use".to_owned()])),
        ("PRAGMA", Lite) => pragma(piece),
        ("TRUNCATE", Pg | My) => truncate(piece),
        ("CREATE" | "ALTER" | "DROP", _) | ("RENAME", My) => define(piece),
        (
            "ANALYSE" | "ANALYZE" | "CHECKPOINT" | "CLOSE" | "CLUSTER" | "COMMENT" | "DEALLOCATE" | "LISTEN"
            | "NOTIFY" | "REINDEX" | "UNLISTEN" | "VACUUM",
            Pg,
        )
        | ("ANALYZE" | "REINDEX" | "VACUUM", Lite)
        | ("DEALLOCATE" | "KILL" | "UNLOCK", My) => simple(piece, What::Upkeep),
        ("ANALYZE" | "CHECK" | "CHECKSUM" | "OPTIMIZE" | "REPAIR", My)
            if piece.is_any(1, &["TABLE", "TABLES"])
                || piece.is_any(1, &["LOCAL", "NO_WRITE_TO_BINLOG"]) && piece.is(2, "TABLE") =>
        {
            simple(piece, What::Upkeep)
        }
        // MariaDB's, which runs the statement behind it.
        ("ANALYZE", My) => explain(piece),
        ("MERGE", Pg) => Err(merge(piece)),
        ("COPY", Pg) => Err(Fail::Other("COPY", mentioned(piece))),
        ("CALL", Pg | My) => Err(Fail::other("CALL, which runs a stored procedure")),
        ("DO", Pg | My) => Err(Fail::other("DO, which runs code")),
        ("EXECUTE", Pg | My) => Err(Fail::other("EXECUTE, which runs a prepared statement")),
        ("PREPARE", Pg | My) => Err(Fail::Other("PREPARE", mentioned(piece))),
        ("DECLARE" | "FETCH" | "MOVE", Pg) => Err(Fail::other("use of a cursor")),
        // Behind what is granted, with its columns.
        ("GRANT" | "REVOKE", Pg | My) => {
            let on = piece.find_all("ON").next().map_or(1, |on| on + 1);
            Shape::plain(What::Define(piece.mentioned(on..piece.toks.len())))
        }
        ("REASSIGN" | "SECURITY", Pg) => Err(Fail::other("a change of rights")),
        ("LOCK", Pg) => Shape::plain(What::Upkeep),
        // Then only the tables that it names can be used, and the audit's aren't among them.
        ("LOCK", My) => Err(Fail::Other("LOCK", mentioned(piece))),
        ("REFRESH", Pg) => Err(Fail::Other("a refresh of a materialized view", mentioned(piece))),
        ("IMPORT", Pg | My) => Err(Fail::other("IMPORT")),
        ("LOAD", Pg | My) => Err(Fail::Other("LOAD", mentioned(piece))),
        ("HANDLER", My) => Err(Fail::Other("HANDLER", mentioned(piece))),
        ("XA", My) => Err(Fail::other("a distributed transaction")),
        ("FLUSH" | "RESET" | "CHANGE" | "STOP" | "PURGE" | "INSTALL" | "UNINSTALL" | "SHUTDOWN", My) => {
            Err(Fail::other("administration of the server"))
        }
        ("ATTACH" | "DETACH", Lite) => Err(Fail::other("ATTACH or DETACH")),
        _ => Err(Fail::SYNTAX),
    }
}

fn mentioned(piece: &Piece<'_>) -> Vec<TableName> {
    piece.mentioned(1..piece.toks.len())
}

fn merge(piece: &Piece<'_>) -> Fail {
    Fail::Other("MERGE", mentioned(piece))
}

/// Where words stand that could start a write.
fn writes(piece: &Piece<'_>) -> Vec<usize> {
    let starts = |at: &usize| {
        let at = *at;
        if piece.after_dot(at) {
            return false;
        }
        let before = |words: &[&str]| at >= words.len() && piece.are(at - words.len(), words);
        if piece.is_any(at, &["INSERT", "REPLACE"]) {
            // The functions of these names, and SQLite's `INSERT OR REPLACE`.
            return !piece.opens(at + 1) && !before(&["INSERT", "OR"]) && !before(&["UPDATE", "OR"]);
        }
        let lock = before(&["FOR"]) || before(&["FOR", "NO", "KEY"]);
        let conflict = before(&["DO"]) || before(&["DUPLICATE", "KEY"]);
        piece.is_any(at, &["DELETE", "MERGE"]) || piece.is(at, "UPDATE") && !lock && !conflict
    };
    (0..piece.toks.len()).filter(starts).collect()
}

fn parse(piece: &Piece<'_>) -> Result<Statement, Fail> {
    tree::statement(piece.lang, piece.feed(0..piece.toks.len())).ok_or(Fail::SYNTAX)
}

/// A write whose verb is at `at`.
fn write(piece: &Piece<'_>, with: Option<super::With>, at: usize) -> Result<Shape, Fail> {
    if writes(piece).iter().any(|found| *found != at) {
        let mut seen = Seen::new(piece.lang, None);
        seen.visit(&parse(piece)?);
        let mut tables: Vec<_> = seen.writes.into_iter().flatten().collect();
        tables.extend(piece.mentioned(0..piece.toks.len()));
        return Err(Fail::Other(
            "several writes in one statement, or a name such as \"delete\" without quotes",
            tables,
        ));
    }
    if piece.find_all("INTO").any(|into| !into_of(piece, at, into)) {
        return Err(Fail::SYNTAX);
    }
    dml::dml(piece, with, at)
}

/// Whether an `INTO` belongs to the verb at `at`: only modifiers are between them.
fn into_of(piece: &Piece<'_>, at: usize, into: usize) -> bool {
    const BETWEEN: &[&str] =
        &["OR", "REPLACE", "IGNORE", "ABORT", "FAIL", "ROLLBACK", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED"];
    into > at && (at + 1..into).all(|between| piece.is_any(between, BETWEEN))
}

/// `SELECT`, `VALUES`, `TABLE`, with or without `WITH` and parentheses.
fn query(piece: &Piece<'_>) -> Result<Shape, Fail> {
    let into = piece.find_all("INTO").next();
    if !writes(piece).is_empty() {
        let mut seen = Seen::new(piece.lang, None);
        seen.visit(&parse(piece)?);
        let mut tables: Vec<_> = seen.writes.into_iter().flatten().collect();
        if tables.is_empty() {
            tables = piece.mentioned(0..piece.toks.len());
        }
        let reason = "a query with a write in its WITH, or with a name such as \"delete\" without quotes";
        return Err(Fail::Other(reason, tables));
    }
    // Variables of the session are no rows. The parser doesn't know them there.
    let variables = into.filter(|_| piece.lang == Lang::My && piece.find_all("INTO").count() == 1);
    let variables = variables.and_then(|into| into_variables(piece, into));
    if let Some(into) = into.filter(|_| variables.is_none()) {
        return match piece.lang {
            Lang::Pg => {
                let mut at = into + 1;
                while piece.is_any(at, &["TEMP", "TEMPORARY", "LOCAL", "GLOBAL", "UNLOGGED", "TABLE"]) {
                    at += 1;
                }
                let (table, _) = piece.table(at).ok_or(Fail::SYNTAX)?;
                Shape::plain(What::Define(vec![table]))
            }
            Lang::My => Err(Fail::other("SELECT .. INTO, which writes files or program variables")),
            Lang::Lite => Err(Fail::SYNTAX),
        };
    }
    // The parser knows `TABLE` within other queries only.
    let all = piece.toks.len();
    let mut tokens = match variables {
        Some(variables) => [piece.feed(0..variables.start), piece.feed(variables.end..all)].concat(),
        None => piece.feed(0..all),
    };
    if piece.is(0, "TABLE") {
        tokens.splice(0..1, [keyword("SELECT"), keyword("x"), keyword("FROM")]);
    }
    if let Some(statement @ Statement::Query(_)) = tree::statement(piece.lang, tokens) {
        let mut seen = Seen::new(piece.lang, None);
        seen.visit(&statement);
        if !seen.odd && seen.writes.is_empty() {
            return Shape::seen(What::Read, seen);
        }
    }
    // The parser doesn't know all that databases do. Without any of the words that writes need it is a read all the
    // same; what it reads and calls are then names in places where tables and functions may stand.
    let reads = mentioned(piece);
    Ok(Shape { what: What::Read, reads, functions: piece.called() })
}

/// Where MySQL's `INTO @a, @b` is, if there is nothing else behind an `INTO`.
fn into_variables(piece: &Piece<'_>, into: usize) -> Option<Range<usize>> {
    let mut at = into + 1;
    loop {
        let (names, next) = piece.chain(at)?;
        let [name] = names.as_slice() else { return None };
        if !name.starts_with('@') || name.starts_with("@@") {
            return None;
        }
        if piece.kind(next) != Some(Kind::Comma) {
            return Some(into..next);
        }
        at = next + 1;
    }
}

fn explain(piece: &Piece<'_>) -> Result<Shape, Fail> {
    // A PRAGMA may do its work while it is prepared.
    if piece.lang == Lang::Lite {
        let at = if piece.are(1, &["QUERY", "PLAN"]) { 3 } else { 1 };
        return if piece.is(at, "PRAGMA") { Err(Fail::SYNTAX) } else { Shape::plain(What::Read) };
    }
    let runs = piece.toks.iter().any(|tok| {
        matches!(&tok.raw.token, Token::Word(word)
            if word.value.eq_ignore_ascii_case("analyze") || word.value.eq_ignore_ascii_case("analyse"))
    });
    if !runs {
        return Shape::plain(What::Read);
    }
    // `ANALYZE` may be the first word.
    let mut at = if piece.is(0, "ANALYZE") { 0 } else { 1 };
    loop {
        if piece.is_any(at, &["ANALYZE", "ANALYSE", "VERBOSE", "EXTENDED", "PARTITIONS"]) {
            at += 1;
        } else if piece.is(at, "FORMAT") && piece.is_op(at + 1, "=") {
            at += 3;
        } else if at == 1 && piece.lang == Lang::Pg && piece.opens(at) {
            at = piece.close(at) + 1;
        } else {
            break;
        }
    }
    let toks = piece.toks.get(at..).unwrap_or_default();
    let inner = Piece::new(piece.sql, piece.lang, toks).map_err(Fail::Unreadable)?;
    let inner = sort(&inner)?;
    let tables = match inner.what {
        What::Read => return Ok(inner),
        What::Insert(insert) => vec![insert.target.name],
        What::Update(update) => vec![update.target.name],
        What::Delete(delete) => vec![delete.target.name],
        What::Truncate(tables) | What::Define(tables) => tables,
        _ => Vec::new(),
    };
    Err(Fail::Other("EXPLAIN ANALYZE, which runs the statement", tables))
}

/// A statement of words, names and constants only.
fn simple(piece: &Piece<'_>, what: What) -> Result<Shape, Fail> {
    if writes(piece).is_empty() { Shape::plain(what) } else { Err(Fail::SYNTAX) }
}

fn transaction(piece: &Piece<'_>) -> Result<Shape, Fail> {
    const WORDS: &[&str] = &[
        "AND",
        "CHAIN",
        "COMMITTED",
        "CONCURRENT",
        "CONSISTENT",
        "DEFERRABLE",
        "DEFERRED",
        "EXCLUSIVE",
        "IMMEDIATE",
        "ISOLATION",
        "LEVEL",
        "NO",
        "NOT",
        "ONLY",
        "PREPARED",
        "READ",
        "RELEASE",
        "REPEATABLE",
        "SAVEPOINT",
        "SERIALIZABLE",
        "SNAPSHOT",
        "TO",
        "TRANSACTION",
        "UNCOMMITTED",
        "WITH",
        "WORK",
        "WRITE",
    ];
    let last = piece.toks.len() - 1;
    if piece.is(0, "START") && !piece.is(1, "TRANSACTION") {
        return Err(Fail::SYNTAX);
    }
    for at in 1..=last {
        let name = at == last
            && (piece.ident(at).is_some() && piece.is_any(at - 1, &["SAVEPOINT", "TO", "RELEASE"])
                || piece.kind(at) == Some(Kind::Str) && piece.is(at - 1, "PREPARED"));
        if !name && !piece.is_any(at, WORDS) && piece.kind(at) != Some(Kind::Comma) {
            return Err(Fail::SYNTAX);
        }
    }
    Shape::plain(What::Transaction)
}

/// The name of a setting, in lower case.
fn name_of(piece: &Piece<'_>, at: usize) -> Result<String, Fail> {
    let (names, _) = piece.chain(at).ok_or(Fail::SYNTAX)?;
    Ok(names.join(".").to_lowercase())
}

fn set_pg(piece: &Piece<'_>) -> Result<Shape, Fail> {
    let mut at = 1;
    if piece.is(at, "LOCAL")
        || piece.is(at, "SESSION") && !piece.is_any(2, &["AUTHORIZATION", "CHARACTERISTICS"])
    {
        at += 1;
    }
    let has_value = |at: usize| piece.is(at, "TO") || piece.is_op(at, "=");
    let known = match piece.word(at).map(str::to_ascii_uppercase).as_deref() {
        _ if has_value(at + 1) => None,
        Some("TIME") if piece.is(at + 1, "ZONE") => Some("timezone"),
        Some("SCHEMA") => Some("search_path"),
        Some("NAMES") => Some("client_encoding"),
        Some("ROLE") => Some("role"),
        Some("SESSION") if piece.is(at + 1, "AUTHORIZATION") => Some("session_authorization"),
        Some("SESSION") if piece.is(at + 1, "CHARACTERISTICS") => Some("transaction"),
        Some("TRANSACTION") => Some("transaction"),
        Some("CONSTRAINTS") => Some("constraints"),
        Some("XML") => Some("xmloption"),
        _ => None,
    };
    let name = match known {
        Some(known) => known.to_owned(),
        None => {
            let (names, next) = piece.chain(at).ok_or(Fail::SYNTAX)?;
            if !has_value(next) {
                return Err(Fail::SYNTAX);
            }
            names.join(".").to_lowercase()
        }
    };
    if piece.toks.iter().any(|tok| tok.kind == Kind::Open) {
        return Err(Fail::SYNTAX);
    }
    Shape::plain(What::Setting(vec![name]))
}

fn set_my(piece: &Piece<'_>) -> Result<Shape, Fail> {
    if piece.is(1, "STATEMENT") {
        return Err(Fail::Other("SET STATEMENT, which runs a statement", mentioned(piece)));
    }
    if piece.is(1, "PASSWORD") {
        return Err(Fail::other("a change of rights"));
    }
    if !writes(piece).is_empty() || piece.find_all("INTO").next().is_some() {
        return Err(Fail::SYNTAX);
    }
    let mut seen = Seen::new(piece.lang, None);
    let mut names = Vec::new();
    for part in piece.parts(1..piece.toks.len()) {
        let mut at = part.start;
        if piece.is_any(at, &["GLOBAL", "SESSION", "LOCAL", "PERSIST", "PERSIST_ONLY"]) {
            at += 1;
        }
        let known = match piece.word(at).map(str::to_ascii_uppercase).as_deref() {
            Some("NAMES") => Some("names"),
            Some("CHARSET") => Some("character set"),
            Some("CHARACTER") if piece.is(at + 1, "SET") => Some("character set"),
            Some("TRANSACTION") => Some("transaction"),
            Some("ROLE") => Some("role"),
            Some("DEFAULT") if piece.is(at + 1, "ROLE") => Some("role"),
            _ => None,
        };
        if let Some(known) = known {
            if piece.toks.get(part).unwrap_or_default().iter().any(|tok| tok.kind == Kind::Open) {
                return Err(Fail::SYNTAX);
            }
            names.push(known.to_owned());
            continue;
        }
        let (mut chain, next) = piece.chain(at).ok_or(Fail::SYNTAX)?;
        let scope = |first: &String| {
            ["@@global", "@@session", "@@local", "@@persist", "@@persist_only"]
                .iter()
                .any(|scope| first.eq_ignore_ascii_case(scope))
        };
        if chain.len() > 1 && chain.first().is_some_and(scope) {
            chain.remove(0);
        }
        let name = chain.join(".").to_lowercase();
        names.push(name.strip_prefix("@@").unwrap_or(&name).to_owned());
        if !piece.is_op(next, "=") && !piece.is_op(next, ":=") || next + 1 >= part.end {
            return Err(Fail::SYNTAX);
        }
        let value = next + 1..part.end;
        if piece.toks.get(value.clone()).unwrap_or_default().iter().any(|tok| tok.kind == Kind::Open) {
            seen.visit(&tree::expression(piece.lang, piece.feed(value)).ok_or(Fail::SYNTAX)?);
        }
    }
    if seen.odd || !seen.writes.is_empty() {
        return Err(Fail::SYNTAX);
    }
    Shape::seen(What::Setting(names), seen)
}

/// `PRAGMA [schema.] name [= value]` or `(value)`
fn pragma(piece: &Piece<'_>) -> Result<Shape, Fail> {
    let (mut names, at) = piece.chain(1).ok_or(Fail::SYNTAX)?;
    let name = names.pop().ok_or(Fail::SYNTAX)?.to_lowercase();
    let end = piece.toks.len();
    let value = if at == end {
        at..end
    } else if piece.opens(at) && piece.close(at) == end - 1 {
        at + 1..end - 1
    } else if piece.is_op(at, "=") {
        at + 1..end
    } else {
        return Err(Fail::SYNTAX);
    };
    // A name, a string or a number with a sign.
    if value.len() > 2 {
        return Err(Fail::SYNTAX);
    }
    Shape::plain(What::Setting(vec![name]))
}

fn truncate(piece: &Piece<'_>) -> Result<Shape, Fail> {
    let mut at = if piece.is(1, "TABLE") && piece.toks.len() > 2 { 2 } else { 1 };
    let mut tables = Vec::new();
    loop {
        if piece.lang == Lang::Pg && piece.is(at, "ONLY") {
            at += 1;
        }
        let (table, next) = piece.table(at).ok_or(Fail::SYNTAX)?;
        tables.push(table);
        at = if piece.is_op(next, "*") { next + 1 } else { next };
        if piece.kind(at) != Some(Kind::Comma) {
            break;
        }
        at += 1;
    }
    let rest = at..piece.toks.len();
    if rest.clone().any(|at| piece.is(at, "CASCADE")) {
        return Err(Fail::Other("TRUNCATE .. CASCADE, which empties tables that it doesn't name", tables));
    }
    let known = ["RESTART", "CONTINUE", "IDENTITY", "RESTRICT", "WAIT", "NOWAIT"];
    for at in rest {
        if !piece.is_any(at, &known) && piece.kind(at) != Some(Kind::Number) {
            return Err(Fail::SYNTAX);
        }
    }
    Shape::plain(What::Truncate(tables))
}

fn define(piece: &Piece<'_>) -> Result<Shape, Fail> {
    const PROGRAMS: &[&str] = &["EVENT", "FUNCTION", "PACKAGE", "POLICY", "PROCEDURE", "RULE", "TRIGGER"];
    let mut tables = mentioned(piece);
    if piece.is(0, "DROP") && piece.is_any(1, &["DATABASE", "SCHEMA", "OWNED", "TABLESPACE"]) {
        return Err(Fail::Other("DROP of more than one table", tables));
    }
    if piece.is_any(0, &["CREATE", "ALTER"])
        && piece.find_all("EVENT").any(|at| at < 8)
        && piece.lang == Lang::My
    {
        return Err(Fail::Other("a definition of an event", tables));
    }
    // Where the definition is of a program, it may contain writes, which don't run now.
    let kind = (1..piece.toks.len().min(10))
        .find(|at| piece.is_any(*at, PROGRAMS) || piece.is_any(*at, &["TABLE", "VIEW", "INDEX", "SCHEMA"]));
    if let Some(kind) = kind
        && piece.is(kind, "TABLE")
    {
        let mut at = kind + 1;
        while piece.is_any(at, &["IF", "NOT", "EXISTS", "ONLY"]) {
            at += 1;
        }
        if piece.ident(at).is_none() {
            return Err(Fail::SYNTAX);
        }
    }
    let program = kind.filter(|at| piece.is_any(*at, PROGRAMS));
    if let Some(kind) = program {
        // Its own name: tables have guards.
        let mut at = kind + 1;
        while piece.is_any(at, &["IF", "NOT", "EXISTS"]) {
            at += 1;
        }
        tables.extend(piece.table(at).map(|(name, _)| name).filter(|name| !tables.contains(name)));
    } else {
        let after_bracket = |at: usize| {
            at.checked_sub(1)
                .and_then(|before| piece.kind(before))
                .is_some_and(|kind| matches!(kind, Kind::Open | Kind::Close))
        };
        if writes(piece).into_iter().any(after_bracket) || piece.find_all("EXECUTE").next().is_some() {
            return Err(Fail::Other("a definition that runs a write", tables));
        }
    }
    Shape::plain(What::Define(tables))
}

impl Piece<'_> {
    /// All places of a keyword, also within brackets.
    fn find_all(&self, keyword: &str) -> impl Iterator<Item = usize> {
        (0..self.toks.len()).filter(move |at| self.is(*at, keyword) && !self.after_dot(*at))
    }

    /// Names before parentheses.
    fn called(&self) -> Vec<String> {
        let mut functions = Vec::new();
        for at in (0..self.toks.len()).filter(|at| !self.after_dot(*at)) {
            if let Some((names, next)) = self.chain(at)
                && self.opens(next)
            {
                let name = names.join(".").to_lowercase();
                if !functions.contains(&name) {
                    functions.push(name);
                }
            }
        }
        functions
    }

    /// Names in places where those of tables stand, in statements that aren't looked at more closely.
    pub(super) fn mentioned(&self, range: Range<usize>) -> Vec<TableName> {
        const BEFORE: &[&str] = &[
            "CONCURRENTLY",
            "COPY",
            "DELETE",
            "EXISTS",
            "FROM",
            "HANDLER",
            "IGNORE",
            "IN",
            "INHERIT",
            "INHERITS",
            "INTO",
            "JOIN",
            "LIKE",
            "LOCK",
            "LOW_PRIORITY",
            "OF",
            "ON",
            "ONLY",
            "PARTITION",
            "QUICK",
            "REFERENCES",
            "STRAIGHT_JOIN",
            "TABLE",
            "TABLES",
            "TO",
            "UPDATE",
            "USING",
            "VIEW",
            "WITH",
        ];
        const NEVER: &[&str] = &[
            "ADD",
            "ALL",
            "ALTER",
            "CASCADE",
            "COLUMN",
            "CONSTRAINT",
            "DELETE",
            "DROP",
            "EXISTS",
            "FROM",
            "IF",
            "INSERT",
            "NO",
            "NOT",
            "NULL",
            "ONLY",
            "RESTRICT",
            "SELECT",
            "SET",
            "TABLE",
            "UPDATE",
            "WHERE",
        ];
        let mut tables = Vec::new();
        let introduces = |at: usize| self.is_any(at, BEFORE) || self.kind(at) == Some(Kind::Comma);
        let first = |at: usize| {
            let mut at = at;
            while at > 0 && self.opens(at - 1) {
                at -= 1;
            }
            at > 0 && introduces(at - 1)
        };
        for at in range.clone() {
            if self.after_dot(at) || !first(at) || self.is_any(at, NEVER) {
                continue;
            }
            // A name that ends in `.*` still names its table.
            let found = self.table(at).map(|(table, _)| table).or_else(|| {
                let (name, _) = self.ident(at)?;
                Some(TableName { schema: None, name })
            });
            if let Some(table) = found
                && !tables.contains(&table)
            {
                tables.push(table);
            }
        }
        tables
    }
}
