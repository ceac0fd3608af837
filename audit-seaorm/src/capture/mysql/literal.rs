//! Values that a statement writes out: those that are the same whenever they are asked for.

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `'text'`, also one after the other, with a character set before them or as `N'text'`.
    Text,
    /// `x'41'`, `0x41`, `b'1'`, `0b1`, `_binary'text'`: bytes, which are a number among numbers.
    Bytes,
    /// Numbers, `TRUE` and `FALSE`.
    Number,
    /// `DATE '..'` and `TIMESTAMP '..'`
    Day,
    /// `TIME '..'`
    Time,
}

/// How a value is written; `None` if it is anything else than that.
pub(super) fn form(text: &str) -> Option<Form> {
    let (word, rest) =
        text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()));
    let word = word.to_ascii_lowercase();
    let digits = |text: &str, all: fn(&char) -> bool| !text.is_empty() && text.chars().all(|c| all(&c));
    if rest.is_empty() {
        return match word.as_str() {
            "true" | "false" => Some(Form::Number),
            _ if text.strip_prefix("0x").is_some_and(|text| digits(text, char::is_ascii_hexdigit)) => {
                Some(Form::Bytes)
            }
            _ if text.strip_prefix("0b").is_some_and(|text| digits(text, |c| matches!(c, '0' | '1'))) => {
                Some(Form::Bytes)
            }
            _ => number(text),
        };
    }
    if !rest.trim_start().starts_with('\'') {
        return number(text);
    }
    let near = rest.starts_with('\'');
    let form = match word.as_str() {
        "" => Form::Text,
        "n" if near => Form::Text,
        "x" | "b" if near => Form::Bytes,
        "date" | "timestamp" => Form::Day,
        "time" => Form::Time,
        "_binary" => Form::Bytes,
        _ if word.starts_with('_') => Form::Text,
        _ => return None,
    };
    is_quoted(rest, word.is_empty()).then_some(form)
}

fn number(text: &str) -> Option<Form> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let lettered = text.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'));
    (is_number && !lettered && text.parse::<f64>().is_ok()).then_some(Form::Number)
}

/// Whether a text is one in quotes and nothing else; or `several` with blanks between them.
fn is_quoted(text: &str, several: bool) -> bool {
    let mut rest = text.trim_start();
    loop {
        let Some(inside) = rest.strip_prefix('\'') else { return false };
        let mut chars = inside.char_indices().peekable();
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == '\'' && chars.next_if(|(_, next)| *next == '\'').is_none() {
                end = Some(at + 1);
                break;
            }
        }
        let Some(end) = end else { return false };
        rest = inside.get(end..).unwrap_or_default().trim();
        if rest.is_empty() || !several {
            return rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, form};

    #[test]
    fn c5_values_that_are_written_out_are_told_from_others() {
        for (text, expected) in [
            ("'a'", Some(Form::Text)),
            ("'it''s \\' b' 'c'", Some(Form::Text)),
            ("_utf8mb4'a'", Some(Form::Text)),
            ("_latin1 'a'", Some(Form::Text)),
            ("N'a'", Some(Form::Text)),
            ("X'41'", Some(Form::Bytes)),
            ("b'01'", Some(Form::Bytes)),
            ("0x4F", Some(Form::Bytes)),
            ("0b01", Some(Form::Bytes)),
            ("_binary'a'", Some(Form::Bytes)),
            ("-1.5e3", Some(Form::Number)),
            (".5", Some(Form::Number)),
            ("True", Some(Form::Number)),
            ("DATE '2026-01-01'", Some(Form::Day)),
            ("timestamp'2026-01-01'", Some(Form::Day)),
            ("TIME '10:00'", Some(Form::Time)),
            ("'a' || uuid() || 'b'", None),
            ("'a' = 'b'", None),
            ("N 'a'", None),
            ("x '41'", None),
            ("nan", None),
            ("inf", None),
            ("-inf", None),
            ("0xZZ", None),
            ("0b2", None),
            ("1 + 1", None),
            ("f('a')", None),
            ("DATE '2026-01-01' + INTERVAL 1 DAY", None),
            ("_utf8mb4'a' COLLATE utf8mb4_bin", None),
            ("label", None),
            ("", None),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
    }
}
