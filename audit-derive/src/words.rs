//! The words that messages are made of.

/// `` `a`, `b`, `c` ``.
pub(crate) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What an unknown word is told: the near miss if there is one, and all accepted words.
pub(crate) fn unknown(what: &str, word: &str, accepted: &[&str]) -> String {
    match nearest(word, accepted) {
        Some(near) => {
            format!("unknown {what} `{word}`; did you mean `{near}`? Accepted: {}", list(accepted))
        }
        None => format!("unknown {what} `{word}`; accepted: {}", list(accepted)),
    }
}

/// Words of other libraries for what is meant here.
const SYNONYMS: &[(&str, &str)] = &[
    ("ignore", "exclude"),
    ("ignored", "exclude"),
    ("skip", "exclude"),
    ("skipped", "exclude"),
    ("omit", "exclude"),
    ("omitted", "exclude"),
    ("hide", "mask"),
    ("hidden", "mask"),
    ("masked", "mask"),
    ("redact", "mask"),
    ("redacted", "mask"),
    ("secret", "sensitive"),
    ("quiet", "silent"),
    ("only", "include"),
    ("track", "include"),
    ("table", "resource"),
    ("entity", "resource"),
    ("entity", "entity_type"),
    ("framework", "frameworks"),
    ("compliance", "frameworks"),
    ("operations", "on"),
    ("insert", "create"),
    ("select", "read"),
    ("transform", "with"),
    ("connection", "db"),
    ("id", "entity_id"),
    ("name", "entity_name"),
    ("resource", "entity_type"),
    ("secret", "restricted"),
    ("topsecret", "top_secret"),
    ("top-secret", "top_secret"),
    ("best effort", "best_effort"),
    ("best-effort", "best_effort"),
    ("top secret", "top_secret"),
];

fn nearest<'a>(word: &str, accepted: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let synonym = SYNONYMS.iter().filter(|(other, _)| *other == word).map(|(_, ours)| *ours);
    if let Some(found) = synonym.into_iter().find_map(|ours| accepted.iter().find(|word| **word == ours)) {
        return Some(found);
    }
    let near = accepted.iter().map(|candidate| (distance(&word, candidate), *candidate)).min()?;
    // A third of the letters may be wrong; a word of one or two letters must not fit everything.
    (near.0 <= (near.1.len() / 3).max(1) && near.0 < word.chars().count()).then_some(near.1)
}

/// Number of letters to insert, drop, replace or swap with their neighbour to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (previous[j] + usize::from(x != y)).min(previous[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_and_synonyms_are_recognised() {
        let options =
            ["exclude", "include", "mask", "silent", "name", "rename", "sensitive", "classification"];
        for (word, expected) in [
            ("exlude", Some("exclude")),
            ("excluded", Some("exclude")),
            ("Mask", Some("mask")),
            ("maks", Some("mask")),
            ("ignore", Some("exclude")),
            ("redact", Some("mask")),
            ("masked", Some("mask")),
            ("skipped", Some("exclude")),
            ("sensitve", Some("sensitive")),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, &options), expected, "{word}");
        }
        assert_eq!(nearest("n", &["on"]), None);
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in
            [("", "abc", 3), ("mask", "mask", 0), ("maks", "mask", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
