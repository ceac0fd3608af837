//! Finds secrets in a text by their look.
//!
//! One pass over the bytes ([`Hints`]) says which finders have anything to do; in ordinary text that is none. A
//! finder reads the text once and reports ranges; it never looks further around a place than a fixed distance, or it
//! goes on behind what it has read, so that no text takes more than linear time.

mod cards;

use std::borrow::Cow;
use std::ops::Range;

use super::MASK;

/// How often a text is searched again after something was found in it. Two finds that hide one another need a second
/// round; only a text made for the purpose needs more than that.
const ROUNDS: usize = 6;
/// The longest name before `=` that is looked at, in bytes.
const MAX_NAME: usize = 64;
/// How far an `@` may be from the end of what should have been the authority of a URL, in bytes.
const MAX_STRAY: usize = 128;

/// The text without its secrets; borrowed if it has none.
pub(super) fn mask<'a>(text: &'a str, is_sensitive: &impl Fn(&str) -> bool) -> Cow<'a, str> {
    let Some(mut clean) = round(text, is_sensitive) else { return Cow::Borrowed(text) };
    for _ in 1..ROUNDS {
        match round(&clean, is_sensitive) {
            None => return Cow::Owned(clean),
            Some(cleaner) => clean = cleaner,
        }
    }
    Cow::Owned(MASK.to_owned())
}

/// Runs the finders one after the other, each on what the one before left. `None`: nothing found.
///
/// The order matters. Private keys come first because their first line would pass for the whole value of
/// `key=-----BEGIN ..`, and cards before the rest because their spaces would end a value.
fn round(text: &str, is_sensitive: &impl Fn(&str) -> bool) -> Option<String> {
    let hints = Hints::of(text.as_bytes());
    let mut clean = None;
    let mut apply = |wanted: bool, find: &dyn Fn(&str, &mut Vec<Range<usize>>)| {
        if wanted {
            let current = clean.as_deref().unwrap_or(text);
            let mut found = Vec::new();
            find(current, &mut found);
            if !found.is_empty() {
                clean = Some(replace(current, &found));
            }
        }
    };
    apply(hints.pem, &find_private_keys);
    apply(hints.jwt, &find_jwts);
    apply(hints.digits >= cards::MIN_DIGITS, &cards::find);
    apply(hints.scheme, &find_credentials);
    apply(hints.url, &find_url_passwords);
    apply(hints.pair, &|text, found| find_pairs(text, is_sensitive, found));
    clean
}

/// The text with each range (in order, apart from one another) replaced.
fn replace(text: &str, secrets: &[Range<usize>]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    for secret in secrets {
        clean.push_str(text.get(copied..secret.start).unwrap_or_default());
        clean.push_str(MASK);
        copied = secret.end;
    }
    clean.push_str(text.get(copied..).unwrap_or_default());
    clean
}

/// Which finders could find something.
#[derive(Debug, Default)]
struct Hints {
    digits: usize,
    pem: bool,
    jwt: bool,
    scheme: bool,
    url: bool,
    pair: bool,
}

impl Hints {
    fn of(bytes: &[u8]) -> Self {
        let mut hints = Self::default();
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => hints.digits += 1,
                b'J' => hints.jwt |= at >= 2 && has(bytes, at - 2, b"ey"),
                b'B' | b'b' => {
                    hints.pem |= has(bytes, at, b"BEGIN ");
                    hints.scheme |= scheme(bytes, at).is_some();
                }
                b':' => hints.url |= has(bytes, at, b"://"),
                b'=' => hints.pair = true,
                _ => {}
            }
        }
        hints
    }
}

fn has(bytes: &[u8], at: usize, expected: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(expected))
}

/// Where `needle` is found at or after `from`.
fn find(text: &str, from: usize, needle: &str) -> Option<usize> {
    text.get(from..)?.find(needle).map(|at| from + at)
}

/// The end of the run of bytes from `from` that satisfy the condition.
fn run(bytes: &[u8], from: usize, condition: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !condition(*byte)).unwrap_or(rest.len())
}

/// If a label of a private key begins at `from`, where it ends.
fn private_label(text: &str, from: usize) -> Option<usize> {
    let window = text.as_bytes().get(from..).unwrap_or_default();
    let window = window.get(..MAX_NAME).unwrap_or(window);
    let end = from + run(window, 0, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
    text.get(from..end).is_some_and(|label| label.contains("PRIVATE KEY")).then_some(end)
}

fn find_private_keys(text: &str, found: &mut Vec<Range<usize>>) {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut at = 0;
    while let Some(begin) = find(text, at, BEGIN) {
        at = begin + BEGIN.len();
        let Some(label_end) = private_label(text, at) else { continue };
        at = label_end;
        let end = loop {
            let Some(end) = find(text, at, END) else { break text.len() };
            at = end + END.len();
            if let Some(label_end) = private_label(text, at) {
                break run(text.as_bytes(), label_end, |b| b == b'-');
            }
        };
        found.push(begin..end);
        at = end;
    }
}

fn find_jwts(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let part_end = |from| run(bytes, from, |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let mut at = 0;
    while let Some(start) = find(text, at, "eyJ") {
        // Another `eyJ` in the same run would be followed by the same parts: on failure go on behind it.
        at = part_end(start);
        let (mut end, mut parts, mut filled) = (at, 1, 1);
        // Three parts if signed, five if encrypted; some of them may be empty.
        while parts < 5 && bytes.get(end) == Some(&b'.') {
            let next = part_end(end + 1);
            filled += usize::from(next > end + 1);
            parts += 1;
            end = next;
        }
        if parts >= 3 && filled >= 2 {
            found.push(start..end);
            at = end;
        }
    }
}

/// If the name of an authentication scheme and a blank stand at `at`, the scheme.
fn scheme(bytes: &[u8], at: usize) -> Option<Scheme> {
    let is = |name: &[u8]| {
        bytes.get(at..at + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
            && bytes.get(at + name.len()).is_some_and(|b| is_blank(*b))
    };
    if at > 0 && bytes.get(at - 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        None
    } else if is(b"bearer") {
        Some(Scheme::Bearer)
    } else if is(b"basic") {
        Some(Scheme::Basic)
    } else {
        None
    }
}

#[derive(Clone, Copy, Debug)]
enum Scheme {
    Bearer,
    Basic,
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn ends_token(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'<' | b'>')
}

fn find_credentials(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let word = at;
        at += 1;
        if !matches!(bytes.get(word), Some(b'b' | b'B')) {
            continue;
        }
        let Some(scheme) = scheme(bytes, word) else { continue };
        let name_end = run(bytes, word, |b| b.is_ascii_alphabetic());
        let start = run(bytes, name_end, is_blank);
        let end = run(bytes, start, |b| !ends_token(b));
        let token = text.get(start..end).unwrap_or_default();
        if token != MASK && (in_header(bytes, word) || is_token(scheme, token)) && !token.is_empty() {
            found.push(start..end);
            at = end;
        }
    }
}

/// Whether `Authorization:` (also in JSON or with `=`) stands before `at`.
fn in_header(bytes: &[u8], at: usize) -> bool {
    const NAME: &[u8] = b"authorization";
    let before = bytes.get(at.saturating_sub(NAME.len() + 8)..at).unwrap_or_default();
    let between =
        before.iter().rev().take_while(|b| matches!(b, b' ' | b'"' | b'\'' | b'\\' | b':' | b'=')).count();
    let before = before.get(..before.len() - between).unwrap_or_default();
    between > 0 && before.last_chunk().is_some_and(|word: &[u8; NAME.len()]| word.eq_ignore_ascii_case(NAME))
}

/// Whether the word after a scheme is a token rather than a word of a language: bearer bonds, basic training.
fn is_token(scheme: Scheme, token: &str) -> bool {
    let any = |test: fn(&u8) -> bool| token.as_bytes().iter().any(test);
    let digit = any(u8::is_ascii_digit);
    let lower = any(u8::is_ascii_lowercase);
    let inner_upper = token.bytes().skip(1).any(|b| b.is_ascii_uppercase());
    match scheme {
        Scheme::Bearer => {
            let symbol = any(|b| matches!(b, b'_' | b'~' | b'+' | b'/' | b'=' | b'|'));
            token.len() >= 32 || (token.len() >= 6 && (digit || symbol || (lower && inner_upper)))
        }
        Scheme::Basic => (token.len() >= 20 && digit && lower && inner_upper) || is_user_and_password(token),
    }
}

/// Whether a text is base64 of printable bytes with a colon among them.
fn is_user_and_password(token: &str) -> bool {
    let (mut bits, mut held, mut colon) = (0_u32, 0_u32, false);
    for byte in token.trim_end_matches(['=', '.', ')']).bytes() {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = (bits << 6 | u32::from(sextet)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            match (bits >> held) & 0xFF {
                0..0x20 | 0x7F => return false,
                0x3A => colon = true,
                _ => {}
            }
        }
    }
    colon
}

fn ends_authority(byte: u8) -> bool {
    ends_url(byte) || matches!(byte, b'/' | b'?' | b'#' | b'\'' | b'\\')
}

fn ends_url(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'<' | b'>' | b'`')
}

fn find_url_passwords(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(mark) = find(text, at, "://") {
        let start = mark + 3;
        let end = run(bytes, start, |b| !ends_authority(b));
        at = end;
        let authority = bytes.get(start..end).unwrap_or_default();
        let Some(colon) = authority.iter().position(|b| *b == b':') else { continue };
        let password = start + colon + 1;
        let stop = match authority.iter().rposition(|b| *b == b'@') {
            Some(stop) if stop > colon => start + stop,
            // `host:port` or `[address]:port`.
            _ if authority.first() == Some(&b'[')
                || authority.iter().skip(colon + 1).all(u8::is_ascii_digit) =>
            {
                continue;
            }
            // Not a port: a password with a `/`, `?` or `#` that should have been escaped.
            _ => {
                let rest = bytes.get(end..).unwrap_or_default();
                let rest = rest.get(..MAX_STRAY).unwrap_or(rest);
                let rest = rest.get(..run(rest, 0, |b| !ends_url(b))).unwrap_or_default();
                match rest.iter().rposition(|b| *b == b'@') {
                    Some(stop) => end + stop,
                    None => continue,
                }
            }
        };
        if stop > password && text.get(password..stop) != Some(MASK) {
            found.push(password..stop);
            at = stop;
        }
    }
}

fn find_pairs(text: &str, is_sensitive: &impl Fn(&str) -> bool, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'[' | b']' | b'%');
    let mut at = 0;
    while let Some(equals) = find(text, at, "=") {
        let from = equals.saturating_sub(MAX_NAME).max(at);
        at = equals + 1;
        let before = bytes.get(from..equals).unwrap_or_default();
        let name = equals - before.iter().rev().take_while(|b| in_name(b)).count();
        // `==`, `=~` and `=>` compare or map, they don't assign.
        if matches!(bytes.get(at), None | Some(b'=' | b'~' | b'>')) {
            continue;
        }
        if !text.get(name..equals).is_some_and(|name| name.len() >= 3 && is_sensitive(name)) {
            continue;
        }
        let escaped = usize::from(bytes.get(at) == Some(&b'\\'));
        let value = match bytes.get(at + escaped).copied() {
            Some(quote @ (b'"' | b'\'')) => {
                let start = at + escaped + 1;
                start..run(bytes, start, |b| b != quote && b != b'\n')
            }
            _ => at..run(bytes, at, |b| !(ends_url(b) || matches!(b, b'&' | b';' | b'\''))),
        };
        // The backslash before a quote belongs to the text around.
        let quoted = bytes.get(value.end).is_some_and(|b| matches!(b, b'"' | b'\''));
        let trimmed =
            usize::from(quoted && value.end > value.start && bytes.get(value.end - 1) == Some(&b'\\'));
        let value = value.start..value.end - trimmed;
        if !value.is_empty() && text.get(value.clone()) != Some(MASK) {
            at = value.end;
            found.push(value);
        }
    }
}

#[cfg(test)]
mod tests;
