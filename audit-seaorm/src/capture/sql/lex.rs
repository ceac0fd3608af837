//! Tokens of a text as the database itself would see them.
//!
//! A parser that is wrong about where a string or a comment ends is wrong about everything after it. So the text is
//! cut twice, by the rules of the database in question and by `sqlparser`'s tokenizer, and it counts as unreadable
//! unless both agree on every boundary. What only one version or one setting of a database reads in a certain way is
//! refused, too, or reported by [`Lexed::depends_on_sql_mode`].

use std::ops::Range;

use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    /// PostgreSQL.
    Pg,
    /// MariaDB and MySQL.
    My,
    /// SQLite.
    Lite,
}

impl Lang {
    /// The parser's name for it.
    pub(super) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Lang::Pg => &PostgreSqlDialect {},
            Lang::My => &MySqlDialect {},
            Lang::Lite => &SQLiteDialect {},
        }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in quotes.
    Quoted,
    /// A string of any sort.
    Str,
    /// A number.
    Number,
    /// A placeholder.
    Param,
    /// `(`, or `[` on PostgreSQL.
    Open,
    /// `)`, or `]` on PostgreSQL.
    Close,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `;`
    Semi,
    /// Anything else: operators.
    Op,
}

/// A token, without blanks and comments.
#[derive(Debug, Clone)]
pub(super) struct Tok {
    /// What it is.
    pub(super) kind: Kind,
    /// Where it is in the text.
    pub(super) range: Range<usize>,
    /// The same for the parser; its span counts bytes (see [`span`]).
    pub(super) raw: TokenWithSpan,
}

/// A text in tokens.
#[derive(Debug)]
pub(super) struct Lexed {
    /// In order.
    pub(super) toks: Vec<Tok>,
    /// Whether a setting of the server decides where strings end.
    pub(super) depends_on_sql_mode: bool,
}

/// Why a text isn't read.
pub(super) type Reason = &'static str;

/// A span that says bytes: all on line 1, the column is the offset plus one. Trees of the parser then lead back into
/// the text.
pub(super) fn span(range: &Range<usize>) -> Span {
    let at = |offset: usize| Location::new(1, offset as u64 + 1);
    Span::new(at(range.start), at(range.end))
}

/// The offset that a location made by [`span`] stands for.
pub(super) fn offset(location: Location) -> Option<usize> {
    usize::try_from(location.column).ok()?.checked_sub(1)
}

/// Cuts the text, or says why not.
pub(super) fn lex(sql: &str, lang: Lang) -> Result<Lexed, Reason> {
    let mut scanner = Scanner { sql, bytes: sql.as_bytes(), lang, at: 0, sql_mode: false, found: Vec::new() };
    scanner.run()?;
    let Scanner { found, sql_mode, .. } = scanner;
    let tokens = Tokenizer::new(lang.dialect(), sql)
        .tokenize_with_location()
        .map_err(|_| "it can't be cut into tokens")?;
    Ok(Lexed { toks: agree(sql, found, tokens)?, depends_on_sql_mode: sql_mode })
}

/// The words of a text in lower case, without quotes and comments; `None` if it can't be cut into tokens.
pub(super) fn words(sql: &str, lang: Lang) -> Option<Vec<String>> {
    let mut scanner = Scanner { sql, bytes: sql.as_bytes(), lang, at: 0, sql_mode: false, found: Vec::new() };
    scanner.run().ok()?;
    let word = |(kind, range): (Kind, Range<usize>)| {
        let text = sql.get(range)?;
        let mut inner = text.chars();
        match (kind, inner.next(), inner.next_back()) {
            (Kind::Word, ..) => Some(text.to_lowercase()),
            // SQLite takes strings for names where it can.
            (Kind::Quoted | Kind::Str, Some(_), Some(end)) => {
                Some(inner.as_str().replace(&format!("{end}{end}"), &end.to_string()).to_lowercase())
            }
            _ => None,
        }
    };
    Some(scanner.found.into_iter().filter_map(word).collect())
}

/// Brings both readings together: every token of ours is exactly one of the parser's.
fn agree(sql: &str, ours: Vec<(Kind, Range<usize>)>, theirs: Vec<TokenWithSpan>) -> Result<Vec<Tok>, Reason> {
    const DIFFERS: Reason = "databases and tools read it in different ways";
    let mut places = Places { sql, at: 0, line: 1, column: 1 };
    let mut toks = Vec::with_capacity(theirs.len());
    let mut ours = ours.into_iter().peekable();
    for TokenWithSpan { token, span: place } in theirs {
        if matches!(token, Token::Whitespace(_) | Token::EOF) {
            continue;
        }
        let range = places.find(place.start).ok_or(DIFFERS)?..places.find(place.end).ok_or(DIFFERS)?;
        let (kind, expected) = ours.peek_mut().ok_or(DIFFERS)?;
        let kind = *kind;
        if kind == Kind::Op {
            // A run of operator characters may be several operators.
            if range.start != expected.start || range.end > expected.end || range.start >= range.end {
                return Err(DIFFERS);
            }
            expected.start = range.end;
            if expected.start >= expected.end {
                ours.next();
            }
        } else {
            if range != *expected {
                return Err(DIFFERS);
            }
            ours.next();
        }
        let same = match (&token, kind) {
            (Token::Word(word), Kind::Word) => {
                word.quote_style.is_none() && sql.get(range.clone()) == Some(word.value.as_str())
            }
            (Token::Word(word), Kind::Quoted) => word.quote_style.is_some(),
            (
                Token::SingleQuotedString(_)
                | Token::DoubleQuotedString(_)
                | Token::DollarQuotedString(_)
                | Token::SingleQuotedByteStringLiteral(_)
                | Token::NationalStringLiteral(_)
                | Token::EscapedStringLiteral(_)
                | Token::HexStringLiteral(_),
                Kind::Str,
            ) => true,
            (Token::Number(_, false) | Token::HexStringLiteral(_), Kind::Number) => true,
            (Token::Placeholder(_), Kind::Param) => true,
            (Token::LParen | Token::LBracket, Kind::Open) => true,
            (Token::RParen | Token::RBracket, Kind::Close) => true,
            (Token::Comma, Kind::Comma) | (Token::Period, Kind::Dot) | (Token::SemiColon, Kind::Semi) => true,
            (
                Token::Word(_)
                | Token::SingleQuotedString(_)
                | Token::DoubleQuotedString(_)
                | Token::Placeholder(_)
                | Token::Number(..)
                | Token::LParen
                | Token::RParen
                | Token::Comma
                | Token::Period
                | Token::SemiColon
                | Token::Backslash
                | Token::Char(_),
                Kind::Op,
            ) => false,
            (_, Kind::Op) => true,
            _ => false,
        };
        if !same {
            return Err(DIFFERS);
        }
        toks.push(Tok { kind, raw: TokenWithSpan::new(token, span(&range)), range });
    }
    match ours.next() {
        Some(_) => Err(DIFFERS),
        None => Ok(toks),
    }
}

/// Finds offsets of the tokenizer's lines and columns, going forward only.
struct Places<'a> {
    sql: &'a str,
    at: usize,
    line: u64,
    column: u64,
}

impl Places<'_> {
    fn find(&mut self, place: Location) -> Option<usize> {
        while (self.line, self.column) < (place.line, place.column) {
            let next = self.sql.get(self.at..)?.chars().next()?;
            self.at += next.len_utf8();
            if next == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        ((self.line, self.column) == (place.line, place.column)).then_some(self.at)
    }
}

/// Cuts by the rules of the database.
struct Scanner<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    lang: Lang,
    at: usize,
    sql_mode: bool,
    found: Vec<(Kind, Range<usize>)>,
}

/// Whether names may contain it without quotes.
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || (!c.is_ascii() && c.is_alphanumeric())
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        match (kind, self.found.last_mut()) {
            (Kind::Op, Some((Kind::Op, last))) if last.end == start => last.end = self.at,
            _ => self.found.push((kind, start..self.at)),
        }
    }

    fn run(&mut self) -> Result<(), Reason> {
        if self.bytes.contains(&0) {
            return Err("it contains a NUL character, where some databases stop reading");
        }
        while let Some(byte) = self.peek(0) {
            let start = self.at;
            let next = self.peek(1);
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
                b'-' if next == Some(b'-') && self.starts_comment() => self.line_comment()?,
                b'#' if self.lang == Lang::My => self.line_comment()?,
                b'/' if next == Some(b'*') => self.block_comment()?,
                b'\'' => self.string(b'\'', start)?,
                b'"' if self.lang == Lang::My => {
                    // With ANSI_QUOTES it is a name.
                    self.sql_mode = true;
                    self.string(b'"', start)?;
                }
                b'"' => self.quoted(b'"')?,
                b'`' if self.lang != Lang::Pg => self.quoted(b'`')?,
                b'[' if self.lang == Lang::Lite => self.quoted(b']')?,
                b'[' | b']' if self.lang != Lang::Pg => return Err("a bracket has no meaning there"),
                b'0'..=b'9' => self.number()?,
                b'.' if matches!(next, Some(b'0'..=b'9')) => self.number()?,
                b'$' => self.dollar()?,
                b'?' if self.lang != Lang::Pg => self.question()?,
                b'@' if self.lang == Lang::My => self.variable()?,
                b':' | b'@' | b'#' if self.lang == Lang::Lite => {
                    return Err("placeholders with names aren't supported");
                }
                b'(' | b'[' => {
                    self.at += 1;
                    self.push(Kind::Open, start);
                }
                b')' | b']' => {
                    self.at += 1;
                    self.push(Kind::Close, start);
                }
                b',' => {
                    self.at += 1;
                    self.push(Kind::Comma, start);
                }
                b'.' => {
                    self.at += 1;
                    self.push(Kind::Dot, start);
                }
                b';' => {
                    self.at += 1;
                    self.push(Kind::Semi, start);
                }
                b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^'
                | b'&' | b'|' | b':' | b'?' => {
                    self.at += 1;
                    self.push(Kind::Op, start);
                }
                _ => self.word()?,
            }
        }
        Ok(())
    }

    /// Whether the `--` here starts a comment: on MySQL it needs something blank after it.
    fn starts_comment(&self) -> bool {
        self.lang != Lang::My || self.peek(2).is_none_or(|byte| byte <= b' ' || byte == 0x7f)
    }

    fn line_comment(&mut self) -> Result<(), Reason> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => break,
                // The end of the line for some.
                b'\r' if self.peek(1) != Some(b'\n') => {
                    return Err("a comment contains a carriage return, where it ends for some databases");
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn block_comment(&mut self) -> Result<(), Reason> {
        const OPEN: Reason = "a comment has no end";
        let start = self.at;
        if self.lang == Lang::My {
            let rest = self.rest();
            if rest.starts_with("/*!") || rest.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("/*M!")) {
                return Err("what stands in a comment such as /*! .. */ is run by some servers");
            }
        }
        self.at += 2;
        let mut depth = 1;
        while depth > 0 {
            match (self.peek(0).ok_or(OPEN)?, self.peek(1)) {
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                }
                (b'/', Some(b'*')) if self.lang == Lang::Pg => {
                    depth += 1;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        let text = self.sql.get(start..self.at).unwrap_or_default();
        if self.lang == Lang::My && text.starts_with("/*+") && text.to_ascii_lowercase().contains("set_var") {
            return Err("a hint in it sets variables");
        }
        Ok(())
    }

    /// The string whose opening quote is here; `start` is where its prefix began.
    fn string(&mut self, quote: u8, start: usize) -> Result<(), Reason> {
        let prefix = self.sql.get(start..self.at).unwrap_or_default().to_ascii_lowercase();
        let escapes = self.lang == Lang::My || prefix == "e";
        let digits = prefix == "x" || prefix == "b";
        self.at += 1;
        let inside = self.at;
        loop {
            match (self.peek(0).ok_or("a string has no end")?, self.peek(1)) {
                (byte, Some(next)) if byte == quote && next == quote && !digits => self.at += 2,
                (byte, _) if byte == quote => break,
                (b'\\', next) => {
                    if prefix != "e" {
                        // NO_BACKSLASH_ESCAPES on MySQL, standard_conforming_strings on PostgreSQL.
                        self.sql_mode |= self.lang != Lang::Lite;
                    }
                    self.at += if escapes && next.is_some() { 2 } else { 1 };
                }
                _ => self.at += 1,
            }
        }
        let content = self.bytes.get(inside..self.at).unwrap_or_default();
        if digits && !content.iter().all(u8::is_ascii_hexdigit) {
            return Err("a binary literal contains something else than digits");
        }
        self.at += 1;
        // PostgreSQL continues a string of any sort with one on the next line, by the rules of the first.
        if self.lang == Lang::Pg && matches!(self.found.last(), Some((Kind::Str, _))) {
            return Err("a string goes on in another one");
        }
        self.push(Kind::Str, start);
        Ok(())
    }

    fn quoted(&mut self, close: u8) -> Result<(), Reason> {
        let start = self.at;
        self.at += 1;
        loop {
            match (self.peek(0).ok_or("a quoted name has no end")?, self.peek(1)) {
                (byte, Some(next)) if byte == close && next == close && close != b']' => self.at += 2,
                (byte, _) if byte == close => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if self.at - start <= 2 {
            return Err("a quoted name is empty");
        }
        self.push(Kind::Quoted, start);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Reason> {
        let start = self.at;
        let digits = |scanner: &mut Self| {
            while matches!(scanner.peek(0), Some(b'0'..=b'9')) {
                scanner.at += 1;
            }
        };
        // Older versions of PostgreSQL read 0x1F as 0 AS x1F.
        if self.lang != Lang::Pg && self.peek(0) == Some(b'0') && self.peek(1) == Some(b'x') {
            self.at += 2;
            while self.peek(0).is_some_and(|byte| byte.is_ascii_hexdigit()) {
                self.at += 1;
            }
        } else {
            digits(self);
            if self.peek(0) == Some(b'.') {
                self.at += 1;
                digits(self);
            }
            if matches!(self.peek(0), Some(b'e' | b'E')) {
                self.at += 1;
                if matches!(self.peek(0), Some(b'+' | b'-')) {
                    self.at += 1;
                }
                if !matches!(self.peek(0), Some(b'0'..=b'9')) {
                    return Err("a number isn't complete");
                }
                digits(self);
            }
        }
        if self.rest().starts_with(|c| in_name(c) || c == '.') {
            return Err("a number runs into a name");
        }
        self.push(Kind::Number, start);
        Ok(())
    }

    fn dollar(&mut self) -> Result<(), Reason> {
        const ODD: Reason = "a dollar sign has no meaning there";
        let start = self.at;
        if self.lang == Lang::My {
            return Err(ODD);
        }
        self.at += 1;
        if matches!(self.peek(0), Some(b'0'..=b'9')) {
            while matches!(self.peek(0), Some(b'0'..=b'9')) {
                self.at += 1;
            }
            // SQLite's placeholders may go on with `::x` and `(x)`.
            let goes_on = |c| in_name(c) || self.lang == Lang::Lite && (c == ':' || c == '(');
            if self.rest().starts_with(goes_on) {
                return Err("a placeholder runs into a name");
            }
            self.push(Kind::Param, start);
            return Ok(());
        }
        if self.lang == Lang::Lite {
            return Err("placeholders with names aren't supported");
        }
        let tag = self.rest().find(|c| c == '$' || !in_name(c)).ok_or(ODD)?;
        self.at += tag;
        if self.peek(0) != Some(b'$') {
            return Err(ODD);
        }
        self.at += 1;
        let delimiter = self.sql.get(start..self.at).ok_or(ODD)?;
        let end = self.rest().find(delimiter).ok_or("a string in dollar signs has no end")?;
        self.at += end + delimiter.len();
        self.push(Kind::Str, start);
        Ok(())
    }

    fn question(&mut self) -> Result<(), Reason> {
        let start = self.at;
        self.at += 1;
        if self.lang == Lang::Lite {
            while matches!(self.peek(0), Some(b'0'..=b'9')) {
                self.at += 1;
            }
        }
        if self.rest().starts_with(in_name) {
            return Err("a placeholder runs into a name");
        }
        self.push(Kind::Param, start);
        Ok(())
    }

    /// A variable of MySQL, with its `@` or `@@`; or what stands between the name of an account and that of its host.
    fn variable(&mut self) -> Result<(), Reason> {
        let start = self.at;
        if let Some(b'\'' | b'"' | b'`') = self.peek(1) {
            self.at += 1;
            self.push(Kind::Op, start);
            return Ok(());
        }
        self.at += if self.peek(1) == Some(b'@') { 2 } else { 1 };
        let len = self.rest().find(|c| !in_name(c)).unwrap_or(self.rest().len());
        if len == 0 {
            return Err("an @ has no meaning there");
        }
        self.at += len;
        self.push(Kind::Word, start);
        Ok(())
    }

    fn word(&mut self) -> Result<(), Reason> {
        let start = self.at;
        if !self.rest().starts_with(|c| in_name(c) && c != '$' && !c.is_ascii_digit()) {
            return Err("it contains a character that databases read in different ways");
        }
        let len = self.rest().find(|c| !in_name(c)).unwrap_or(self.rest().len());
        self.at += len;
        let word = self.sql.get(start..self.at).unwrap_or_default();
        // Such as the long s: a keyword for those that fold more than ASCII.
        if !word.is_ascii() && word.to_uppercase().is_ascii() {
            return Err("it contains a letter that is read in different ways");
        }
        let lower = word.to_ascii_lowercase();
        match (self.lang, lower.as_str(), self.peek(0)) {
            (Lang::Pg, "u", Some(b'&')) if matches!(self.peek(1), Some(b'"' | b'\'')) => {
                Err("names and strings with Unicode escapes aren't supported")
            }
            (Lang::Pg, "e" | "b" | "x" | "n", Some(b'\''))
            | (Lang::My, "b" | "x" | "n", Some(b'\''))
            | (Lang::Lite, "x", Some(b'\'')) => self.string(b'\'', start),
            (Lang::Pg, _, Some(b'\'')) if lower == "u" => Err("a name runs into a string"),
            _ => {
                self.push(Kind::Word, start);
                Ok(())
            }
        }
    }
}
