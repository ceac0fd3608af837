//! One statement's tokens, and going through them.

use std::ops::Range;

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::lex::{Kind, Lang, Reason, Tok};
use super::{TableName, shortened};

/// A statement.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The whole text.
    pub(super) sql: &'a str,
    /// Its language.
    pub(super) lang: Lang,
    /// The statement's tokens.
    pub(super) toks: &'a [Tok],
    /// For each bracket its counterpart, for each other token itself.
    mate: Vec<usize>,
    /// Tokens that the parser doesn't know, and that don't matter to it.
    hidden: Vec<bool>,
    /// How deep the parser's tree may become, at most.
    pub(super) depth: usize,
}

impl<'a> Piece<'a> {
    /// The statement, if its brackets match.
    pub(super) fn new(sql: &'a str, lang: Lang, toks: &'a [Tok]) -> Result<Self, Reason> {
        let mut mate: Vec<usize> = (0..toks.len()).collect();
        let mut open = Vec::new();
        // An expression such as `a + b + ..` is as deep as it is long; commas separate expressions.
        let mut chain: Vec<usize> = vec![0];
        let (mut deep, mut depth) = (0, 0);
        for (at, tok) in toks.iter().enumerate() {
            let is_round = matches!(tok.raw.token, Token::LParen | Token::RParen);
            match tok.kind {
                Kind::Open => {
                    open.push((at, is_round));
                    chain.push(0);
                }
                Kind::Close => match open.pop() {
                    Some((start, round)) if round == is_round => {
                        mate[at] = start;
                        mate[start] = at;
                        deep -= chain.pop().unwrap_or(0);
                    }
                    _ => return Err("its brackets don't match"),
                },
                Kind::Comma => {
                    if let Some(last) = chain.last_mut() {
                        deep -= *last;
                        *last = 0;
                    }
                }
                _ => {}
            }
            if let Some(last) = chain.last_mut() {
                *last += 1;
                deep += 1;
            }
            depth = depth.max(deep);
        }
        if !open.is_empty() {
            return Err("its brackets don't match");
        }
        let mut piece = Self { sql, lang, toks, mate, hidden: vec![false; toks.len()], depth };
        if (0..toks.len()).any(|at| piece.starts_with_dot(at)) {
            return Err("a name begins with a dot");
        }
        piece.hide_locks();
        Ok(piece)
    }

    /// Whether a name such as `.t` is there, which MySQL takes for `t`.
    fn starts_with_dot(&self, at: usize) -> bool {
        const NO_NAMES: &[&str] = &[
            "DELETE",
            "EXISTS",
            "FROM",
            "IGNORE",
            "INTO",
            "JOIN",
            "LIKE",
            "ON",
            "REFERENCES",
            "TABLE",
            "TABLES",
            "TO",
            "UPDATE",
            "USING",
            "VIEW",
        ];
        let name = |at: usize| matches!(self.kind(at), Some(Kind::Word | Kind::Quoted));
        self.lang == Lang::My
            && self.kind(at) == Some(Kind::Dot)
            && !at.checked_sub(1).is_some_and(|before| name(before) && !self.is_any(before, NO_NAMES))
    }

    /// The parser knows `FOR UPDATE [OF t]` and `FOR SHARE [OF t]` only.
    fn hide_locks(&mut self) {
        for at in 0..self.toks.len() {
            if self.is_any(at, &["UPDATE", "SHARE"])
                && self.is(at + 1, "OF")
                && at > 0
                && self.is_any(at - 1, &["FOR", "KEY"])
            {
                let mut next = self.chain(at + 2).map(|(_, next)| next);
                while let Some(comma) = next.filter(|next| self.kind(*next) == Some(Kind::Comma)) {
                    next = self.chain(comma + 1).map(|(_, next)| next);
                    for hidden in &mut self.hidden[comma..next.unwrap_or(comma)] {
                        *hidden = true;
                    }
                }
                continue;
            }
            let end = if self.are(at, &["FOR", "NO", "KEY", "UPDATE"]) {
                at + 3
            } else if self.are(at, &["FOR", "KEY", "SHARE"]) && self.lang == Lang::Pg {
                at + 2
            } else if self.are(at, &["LOCK", "IN", "SHARE", "MODE"]) && self.lang == Lang::My {
                self.hidden[at] = true;
                at + 4
            } else {
                continue;
            };
            for hidden in &mut self.hidden[at + 1..end] {
                *hidden = true;
            }
        }
    }

    /// The word at a place, if one without quotes is there.
    pub(super) fn word(&self, at: usize) -> Option<&'a str> {
        let tok = self.toks.get(at)?;
        if tok.kind != Kind::Word { None } else { self.sql.get(tok.range.clone()) }
    }

    /// Whether this keyword is there.
    pub(super) fn is(&self, at: usize, keyword: &str) -> bool {
        self.word(at).is_some_and(|word| word.eq_ignore_ascii_case(keyword))
    }

    /// Whether these keywords are there, one after the other.
    pub(super) fn are(&self, at: usize, keywords: &[&str]) -> bool {
        keywords.iter().enumerate().all(|(n, keyword)| self.is(at + n, keyword))
    }

    /// Whether one of these keywords is there.
    pub(super) fn is_any(&self, at: usize, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(at, keyword))
    }

    /// The kind of the token at a place.
    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.toks.get(at).map(|tok| tok.kind)
    }

    /// Whether a round parenthesis opens there.
    pub(super) fn opens(&self, at: usize) -> bool {
        self.toks.get(at).is_some_and(|tok| tok.raw.token == Token::LParen)
    }

    /// Where the bracket closes that opens at a place.
    pub(super) fn close(&self, at: usize) -> usize {
        self.mate.get(at).copied().unwrap_or(at)
    }

    /// Whether this operator is there.
    pub(super) fn is_op(&self, at: usize, op: &str) -> bool {
        self.toks
            .get(at)
            .is_some_and(|tok| tok.kind == Kind::Op && self.sql.get(tok.range.clone()) == Some(op))
    }

    /// Whether a word there is part of a name such as `t.update`.
    pub(super) fn after_dot(&self, at: usize) -> bool {
        at > 0 && self.kind(at - 1) == Some(Kind::Dot)
    }

    /// The first place from `at` on, outside of brackets, that fulfils the condition.
    pub(super) fn find(&self, at: usize, end: usize, found: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = at;
        while at < end {
            if self.kind(at) == Some(Kind::Open) {
                at = self.close(at);
            } else if self.kind(at) == Some(Kind::Word) && !self.after_dot(at) && found(at) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// The parts between commas outside of brackets.
    pub(super) fn parts(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut start = range.start;
        let mut at = range.start;
        while at < range.end {
            match self.kind(at) {
                Some(Kind::Open) => at = self.close(at),
                Some(Kind::Comma) => {
                    parts.push(start..at);
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        parts.push(start..range.end);
        parts
    }

    /// Where in the text tokens are; nothing for an empty range.
    pub(super) fn text(&self, toks: Range<usize>) -> Option<Range<usize>> {
        let toks = self.toks.get(toks)?;
        Some(toks.first()?.range.start..toks.last()?.range.end)
    }

    /// The tokens as the parser takes them.
    pub(super) fn feed(&self, range: Range<usize>) -> Vec<TokenWithSpan> {
        let toks = self.toks.get(range.clone()).unwrap_or_default().iter();
        toks.zip(range)
            .filter(|(_, at)| !self.hidden.get(*at).copied().unwrap_or(false))
            .map(|(tok, _)| tok.raw.clone())
            .collect()
    }

    /// The name at a place and where the next token is. Keywords count as names: whether one may stand there is left to
    /// the parser.
    pub(super) fn ident(&self, at: usize) -> Option<(String, usize)> {
        let tok = self.toks.get(at)?;
        let name = match (&tok.raw.token, tok.kind) {
            (Token::Word(Word { value, .. }), Kind::Word) => fold(self.lang, value, false),
            (Token::Word(Word { value, .. }), Kind::Quoted) => fold(self.lang, value, true),
            // SQLite takes a string where it expects a name.
            (Token::SingleQuotedString(value), Kind::Str) if self.lang == Lang::Lite => value.clone(),
            _ => return None,
        };
        Some((name, at + 1))
    }

    /// The parts of a name with dots, and where the next token is.
    pub(super) fn chain(&self, at: usize) -> Option<(Vec<String>, usize)> {
        let (first, mut at) = self.ident(at)?;
        let mut names = vec![first];
        while self.kind(at) == Some(Kind::Dot) {
            let (name, next) = self.ident(at + 1)?;
            names.push(name);
            at = next;
        }
        Some((names, at))
    }

    /// The name of a table, and where the next token is.
    pub(super) fn table(&self, at: usize) -> Option<(TableName, usize)> {
        let (names, at) = self.chain(at)?;
        if names.len() > 3 { None } else { Some((table(names)?, at)) }
    }
}

/// The table that a name with dots means.
pub(super) fn table(mut names: Vec<String>) -> Option<TableName> {
    let name = names.pop()?;
    Some(TableName { schema: names.pop(), name })
}

/// A name as the database looks it up.
pub(super) fn fold(lang: Lang, name: &str, quoted: bool) -> String {
    match (lang, quoted) {
        (Lang::Pg, true) => shortened(name).to_owned(),
        (Lang::Pg, false) => shortened(&name.to_ascii_lowercase()).to_owned(),
        _ => name.to_owned(),
    }
}

/// The same for a name of the parser.
pub(super) fn fold_ident(lang: Lang, ident: &Ident) -> String {
    fold(lang, &ident.value, ident.quote_style.is_some())
}

/// A keyword for the parser that isn't in the text.
pub(super) fn keyword(word: &str) -> TokenWithSpan {
    TokenWithSpan::wrap(Token::make_keyword(word))
}
