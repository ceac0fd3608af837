//! The columns that a trigger gives other values, as far as its text tells: rather one too many.

use std::collections::BTreeSet;

/// The columns that a trigger assigns to, in lower case. `escapes` says whether a backslash hides a quote.
pub(super) fn assigned(text: &str, escapes: bool) -> BTreeSet<String> {
    let tokens = tokens(text, escapes);
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut columns = BTreeSet::new();
    for at in 0..tokens.len() {
        if token(at) != "new" || token(at + 1) != "." {
            continue;
        }
        let before = at.checked_sub(1).map_or("", token);
        let is_set = match (token(at + 3), token(at + 4)) {
            (":", "=") => true,
            ("=", _) => matches!(before, "set" | ","),
            _ => false,
        };
        // To a parameter that gives something back.
        let passed = || {
            let rest = tokens.get(..at).unwrap_or_default();
            matches!(before, "(" | ",") && rest.iter().rev().take_while(|t| *t != ";").any(|t| t == "call")
        };
        if is_set || passed() {
            columns.insert(token(at + 2).to_owned());
        }
    }
    columns
}

/// Names and words in lower case and without quotes, other characters one by one; without blanks, comments and strings.
fn tokens(text: &str, escapes: bool) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let length = if rest.starts_with("--") || first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*!") || rest.starts_with("/*M!") {
            // What is in it may be done.
            let code = rest.trim_start_matches(['/', '*', 'M', '!']);
            rest.len() - code.trim_start_matches(|c: char| c.is_ascii_digit()).len()
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("*/") {
            2
        } else if matches!(first, '\'' | '"' | '`') {
            let length = quoted(rest, first, escapes && first != '`');
            // By the server's mode a name may be in double quotes; only behind a dot that makes a difference.
            if first == '`' || (first == '"' && tokens.last().is_some_and(|last| last == ".")) {
                let name = rest.get(1..length.saturating_sub(1)).unwrap_or_default();
                tokens.push(name.to_lowercase());
            } else {
                tokens.push(first.to_string());
            }
            length
        } else {
            let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
            let token = rest.get(..length).unwrap_or_default();
            tokens.extend((!token.trim().is_empty()).then(|| token.to_lowercase()));
            length
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

/// How long the text in quotes is that begins here.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::assigned;

    #[test]
    fn c5_what_a_trigger_assigns_to_is_found() {
        let found = |text: &str| assigned(text, true).into_iter().collect::<Vec<_>>().join(" ");
        for (text, columns) in [
            ("SET NEW.id = 1", "id"),
            ("SET @x = f(1, 2), new . `Id`/* c */:= 'a''b', NEW.b=NEW.c", "b id"),
            ("BEGIN\n  SET -- NEW.no = 1\n  NEW.\"yes\" = 'SET NEW.no = 1'; # SET NEW.no\nEND", "yes"),
            ("BEGIN /*!50000 SET NEW.id = 1 */; END", "id"),
            ("BEGIN CALL p(1, NEW.a, (NEW.b)); END", "a b"),
            ("BEGIN IF NEW.id = 1 THEN SET @x = NEW.id; END IF; END", ""),
            (
                "BEGIN CALL p(); INSERT INTO log SELECT NEW.a, NEW.b; INSERT INTO log VALUES (1, NEW.c); END",
                "",
            ),
            ("SET @x = '\\' SET NEW.id = ', @y = \"NEW.id = 1\"", ""),
        ] {
            assert_eq!(found(text), columns, "{text}");
        }
        assert_eq!(assigned("SET @x = '\\', NEW.id = 1", false).len(), 1);
    }
}
