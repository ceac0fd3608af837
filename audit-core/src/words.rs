//! Splits the names of fields into words, so that `userAPIKey`, `user_api_key` and `user-api.key` are one name.
//!
//! The words are kept as one lower-case text with `_` between them: one buffer, and a run of words can be compared
//! with a joined name (`apikey`) by stepping over the `_`.

/// What a character is, as far as the border between two words is concerned.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Gap,
    Digit,
    Lower,
    Upper,
}

impl Class {
    fn of(c: char) -> Self {
        if c.is_ascii_lowercase() {
            Self::Lower
        } else if c.is_numeric() {
            Self::Digit
        } else if c.is_uppercase() {
            Self::Upper
        } else if c.is_alphanumeric() {
            Self::Lower
        } else {
            Self::Gap
        }
    }
}

/// The words of a name in lower case with `_` between them: `userAPIKey2` becomes `user_api_key_2`.
///
/// Everything that is neither letter nor digit separates, so a form key (`user[password]`) or a path
/// (`user.password`) has the words that one expects.
pub(crate) fn split(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let mut previous = Class::Gap;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let class = Class::of(c);
        let begins = match (previous, class) {
            (_, Class::Gap) => {
                previous = Class::Gap;
                continue;
            }
            (Class::Lower | Class::Upper, Class::Lower) | (Class::Digit, Class::Digit) => false,
            // The last capital of an acronym belongs to the word after it: `API|Key`.
            (Class::Upper, Class::Upper) => chars.peek().is_some_and(|&next| Class::of(next) == Class::Lower),
            _ => true,
        };
        if begins && !words.is_empty() {
            words.push('_');
        }
        if c.is_ascii() {
            words.push(c.to_ascii_lowercase());
        } else {
            words.extend(c.to_lowercase());
        }
        previous = class;
    }
    words
}

/// The words of a name without anything between them: `User-Password` becomes `userpassword`.
pub(crate) fn join(name: &str) -> String {
    let mut words = split(name);
    words.retain(|c| c != '_');
    words
}

/// Where the words begin, as offsets into the text that [`split`] made.
pub(crate) fn starts(words: &str) -> impl Iterator<Item = usize> {
    let first = (!words.is_empty()).then_some(0);
    first.into_iter().chain(words.bytes().enumerate().filter(|(_, b)| *b == b'_').map(|(at, _)| at + 1))
}

/// Where the run of whole words ends that begins at `start` and reads `name` (joined, not empty) when joined; a
/// plural (`s`, `es`) is the same name.
pub(crate) fn run_end(words: &str, start: usize, name: &str) -> Option<usize> {
    let words = words.as_bytes();
    let mut at = start;
    for letter in name.bytes() {
        if words.get(at) == Some(&b'_') {
            at += 1;
        }
        if words.get(at) != Some(&letter) {
            return None;
        }
        at += 1;
    }
    let ends = |at: usize| words.get(at).is_none_or(|b| *b == b'_');
    let plural = |ending: &[u8]| words.get(at..).is_some_and(|rest| rest.starts_with(ending));
    if ends(at) {
        Some(at)
    } else if plural(b"s") && ends(at + 1) {
        Some(at + 1)
    } else if plural(b"es") && ends(at + 2) {
        Some(at + 2)
    } else {
        None
    }
}

/// The last word.
pub(crate) fn last(words: &str) -> &str {
    words.rsplit('_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_split_into_words() {
        for (name, words) in [
            ("userAPIKey", "user_api_key"),
            ("APIKey", "api_key"),
            ("PasswordHash", "password_hash"),
            ("USER_PASSWORD", "user_password"),
            ("user-password.old value", "user_password_old_value"),
            ("user[password]", "user_password"),
            ("cvv2", "cvv_2"),
            ("2faCode", "2_fa_code"),
            ("__a__b__", "a_b"),
            ("iBAN", "i_ban"),
            ("straßeÄnderung", "straße_änderung"),
            ("ÀB", "àb"),
            ("", ""),
            ("---", ""),
        ] {
            assert_eq!(split(name), words, "{name}");
        }
        assert_eq!(join("User-Password"), "userpassword");
    }

    #[test]
    fn a_run_is_made_of_whole_words() {
        assert_eq!(run_end("user_api_keys", 5, "apikey"), Some(13));
        assert_eq!(run_end("api_key_2", 0, "apikey"), Some(7));
        assert_eq!(run_end("addresses", 0, "address"), Some(9));
        assert_eq!(run_end("secretary", 0, "secret"), None);
        assert_eq!(run_end("pin", 0, "pinned"), None);
        assert_eq!(starts("a_bc_d").collect::<Vec<_>>(), [0, 2, 5]);
        assert_eq!(starts("").count(), 0);
        assert_eq!(last("a_b"), "b");
    }

    proptest! {
        #[test]
        fn any_name_can_be_split(name in any::<String>()) {
            let words = split(&name);
            prop_assert!(!words.starts_with('_') && !words.ends_with('_') && !words.contains("__"));
            for start in starts(&words) {
                prop_assert!(words.is_char_boundary(start));
                let _ = run_end(&words, start, "password");
            }
        }
    }
}
