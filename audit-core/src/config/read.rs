//! Reads values of either source: TOML, or the text of an environment variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use toml::{Table, Value};

use super::{ConfigError, FailurePolicy, ResourceConfig, SpoolSync, Unplannable};
use crate::{Classification, Framework, Frameworks};

/// What the names of our environment variables begin with.
pub(super) const PREFIX: &str = "AUDIT_";
/// Variables of the project's tests and benchmarks.
const FOREIGN: [&str; 2] = ["AUDIT_TEST_", "AUDIT_BENCH_"];

/// The keys, for suggestions and to find misplaced ones.
const KEYS: [&str; 28] = [
    "enabled",
    "log_reads",
    "log_failures",
    "log_migrations",
    "require_actor",
    "retention_days",
    "archive_days",
    "sensitive_fields",
    "value_patterns",
    "skip_resources",
    "skip_actions",
    "max_value_bytes",
    "snapshot",
    "on_failure",
    "unplannable",
    "resources",
    "waivers",
    "frameworks",
    "classifications",
    "rules",
    "pending_limit",
    "queue_limit",
    "queue_wait_ms",
    "batch_size",
    "batch_wait_ms",
    "spool_dir",
    "spool_sync",
    "spool_limit_bytes",
];
const RESOURCE_KEYS: [&str; 2] = ["on_failure", "unplannable"];
const FRAMEWORK_KEYS: [&str; 3] = ["enabled", "retention_days", "audit_required"];

/// A value as it was given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    Toml(&'a Value),
    Text(&'a str),
}

impl Raw<'_> {
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text(_))
    }

    pub(super) fn wrong<T>(self, key: &str, expected: &'static str) -> Result<T, ConfigError> {
        let found = match self {
            Self::Text("") => "empty",
            // There everything is a text.
            Self::Text(_) => "something else",
            Self::Toml(Value::String(_)) => "a text",
            Self::Toml(Value::Integer(..0)) => "a negative number",
            Self::Toml(Value::Integer(_)) => "a whole number",
            Self::Toml(Value::Float(_)) => "a number with a fraction",
            Self::Toml(Value::Boolean(_)) => "a truth value",
            Self::Toml(Value::Datetime(_)) => "a date or time",
            Self::Toml(Value::Array(_)) => "a list",
            Self::Toml(Value::Table(_)) => "a table",
        };
        Err(ConfigError::Value { key: key.to_owned(), found, expected })
    }

    /// The same where a word of a set is expected.
    pub(super) fn wrong_word<T>(self, key: &str, expected: &'static str) -> Result<T, ConfigError> {
        let is_empty = match self {
            Self::Text(text) => text.is_empty(),
            Self::Toml(Value::String(text)) => text.is_empty(),
            Self::Toml(_) => true,
        };
        if is_empty {
            return self.wrong(key, expected);
        }
        Err(ConfigError::Value { key: key.to_owned(), found: "another word", expected })
    }

    pub(super) fn truth(self, key: &str) -> Result<bool, ConfigError> {
        match self {
            Self::Toml(Value::Boolean(truth)) => Ok(*truth),
            Self::Toml(Value::String(_)) => self.wrong(key, "`true` or `false` without quotes"),
            Self::Toml(_) => self.wrong(key, "`true` or `false`"),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => self.wrong(key, "`true` or `false` (also 1, 0, yes, no, on, off)"),
            },
        }
    }

    pub(super) fn number<T: Limit>(self, key: &str) -> Result<T, ConfigError> {
        let number = match self {
            Self::Toml(Value::Integer(number)) => T::try_from(*number).ok(),
            Self::Toml(_) => None,
            Self::Text(text) => {
                text.trim().replace('_', "").parse::<i64>().ok().and_then(|n| T::try_from(n).ok())
            }
        };
        match (number, self) {
            (Some(number), _) => Ok(number),
            (None, Self::Toml(Value::Integer(0..))) => {
                let (key, expected) = (key.to_owned(), T::EXPECTED);
                Err(ConfigError::Value { key, found: "out of range", expected })
            }
            (None, Self::Toml(Value::String(_))) => self.wrong(key, T::UNQUOTED),
            (None, _) => self.wrong(key, T::EXPECTED),
        }
    }

    pub(super) fn list(self, key: &str) -> Result<Vec<String>, ConfigError> {
        match self {
            Self::Toml(Value::Array(items)) => items
                .iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text.clone()),
                    _ => {
                        Raw::Toml(item).wrong(&format!("{key}[]"), "texts in the list, as in [\"a\", \"b\"]")
                    }
                })
                .collect(),
            Self::Toml(_) => self.wrong(key, "a list of texts, as in [\"a\", \"b\"]"),
            Self::Text(text) => Ok(items(text).map(str::to_owned).collect()),
        }
    }

    fn word(self) -> String {
        let text = match self {
            Self::Toml(Value::String(text)) => text.as_str(),
            Self::Text(text) => text,
            Self::Toml(_) => "",
        };
        text.trim().to_ascii_lowercase().replace('-', "_")
    }

    pub(super) fn path(self, key: &str) -> Result<PathBuf, ConfigError> {
        match self {
            Self::Toml(Value::String(path)) if !path.is_empty() => Ok(path.into()),
            Self::Text(path) if !path.is_empty() => Ok(path.into()),
            _ => self.wrong(key, "the path of a directory"),
        }
    }

    pub(super) fn spool_sync(self, key: &str) -> Result<SpoolSync, ConfigError> {
        match self.word().as_str() {
            "always" => Ok(SpoolSync::Always),
            "second" => Ok(SpoolSync::Second),
            "never" => Ok(SpoolSync::Never),
            _ => self.wrong_word(key, "`always`, `second` or `never`"),
        }
    }

    pub(super) fn failure_policy(self, key: &str) -> Result<FailurePolicy, ConfigError> {
        match self.word().as_str() {
            "block" => Ok(FailurePolicy::Block),
            "outbox" => Ok(FailurePolicy::Outbox),
            "best_effort" => Ok(FailurePolicy::BestEffort),
            _ => self.wrong_word(key, "`block`, `outbox` or `best_effort`"),
        }
    }

    pub(super) fn unplannable(self, key: &str) -> Result<Unplannable, ConfigError> {
        match self.word().as_str() {
            "refuse" => Ok(Unplannable::Refuse),
            "record" => Ok(Unplannable::Record),
            _ => self.wrong_word(key, "`refuse` or `record`"),
        }
    }

    /// Puts what is said of resources, a table by name or `name.key=value,..`, over what was said before.
    pub(super) fn resources(
        self,
        key: &str,
        resources: &mut BTreeMap<String, ResourceConfig>,
    ) -> Result<(), ConfigError> {
        match self {
            Self::Toml(Value::Table(table)) => {
                for (name, settings) in table {
                    let key = format!("{key}.{name}");
                    let Value::Table(settings) = settings else {
                        return Raw::Toml(settings).wrong(&key, "a table with `on_failure`, `unplannable`");
                    };
                    let resource = resources.entry(name.clone()).or_default();
                    for (setting, value) in settings {
                        set_of_resource(&key, setting, Raw::Toml(value), resource)?;
                    }
                }
                Ok(())
            }
            Self::Toml(_) => self.wrong(key, "a table by resource, as in [audit.resources.BankAccount]"),
            Self::Text(text) => {
                for item in items(text) {
                    let pair = item.split_once('=');
                    // The name of a table may have a dot in it.
                    let path = pair.and_then(|(path, value)| Some((path.trim().rsplit_once('.')?, value)));
                    let Some(((name, setting), value)) = path else {
                        return self
                            .wrong(key, "`resource.key=value,..`, as in `BankAccount.on_failure=block`");
                    };
                    let resource = resources.entry(name.to_owned()).or_default();
                    set_of_resource(&format!("{key}.{name}"), setting, Raw::Text(value), resource)?;
                }
                Ok(())
            }
        }
    }

    /// Reasons by name: a table, or `name=reason,..`.
    pub(super) fn waivers(self, key: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        const EXPECTED: &str = "a reason for each name, as in `session=no business data,..`";
        match self {
            Self::Toml(Value::Table(table)) => table
                .iter()
                .map(|(name, reason)| match reason {
                    Value::String(reason) => Ok((name.clone(), reason.clone())),
                    other => Raw::Toml(other).wrong(&format!("{key}.{name}"), "a text, the reason"),
                })
                .collect(),
            Self::Toml(_) => self.wrong(key, "a table, as in session = \"no business data\""),
            Self::Text(text) => items(text)
                .map(|item| {
                    let pair = item.split_once('=');
                    let pair = pair.map(|(name, reason)| (name.trim().to_owned(), reason.trim().to_owned()));
                    pair.map_or_else(|| self.wrong(key, EXPECTED), Ok)
                })
                .collect(),
        }
    }

    pub(super) fn classifications(self, key: &str) -> Result<BTreeMap<String, Classification>, ConfigError> {
        const EXPECTED: &str = "`public`, `internal`, `confidential`, `restricted` or `top_secret`";
        match self {
            Self::Toml(Value::Table(table)) => table
                .iter()
                .map(|(field, value)| {
                    let class = value.as_str().and_then(|text| text.parse().ok());
                    class.map_or_else(
                        || Raw::Toml(value).wrong_word(&format!("{key}.{field}"), EXPECTED),
                        |class| Ok((field.clone(), class)),
                    )
                })
                .collect(),
            Self::Toml(_) => self.wrong(key, "a table, as in \"BankAccount.balance\" = \"restricted\""),
            Self::Text(text) => items(text)
                .map(|item| {
                    let pair = item.split_once('=');
                    let pair =
                        pair.and_then(|(field, class)| Some((field.trim().to_owned(), class.parse().ok()?)));
                    pair.map_or_else(
                        || {
                            self.wrong(
                                key,
                                "`field=class,resource.field=class,..` with the classes public to top_secret",
                            )
                        },
                        Ok,
                    )
                })
                .collect(),
        }
    }

    /// Puts a list of names (enables these alone) or a table by name over the frameworks.
    pub(super) fn frameworks(self, key: &str, frameworks: &mut Frameworks) -> Result<(), ConfigError> {
        let Self::Toml(Value::Table(table)) = self else {
            if let Self::Toml(Value::Array(_)) | Self::Text(_) = self {
                frameworks.enable_only(self.list(key)?);
                return Ok(());
            }
            return self.wrong(key, "a table by name, or a list of names");
        };
        let mut seen = Vec::with_capacity(table.len());
        for (name, terms) in table {
            let key = format!("{key}.{name}");
            let Value::Table(terms) = terms else {
                return Raw::Toml(terms)
                    .wrong(&key, "a table with `enabled`, `retention_days`, `audit_required`");
            };
            let framework = frameworks.entry(name);
            if seen.contains(&framework.name) {
                return Err(ConfigError::Place { key, problem: "stands twice, in different spellings" });
            }
            seen.push(framework.name.clone());
            for (term, value) in terms {
                set_term(&format!("{key}.{term}"), &key, term, Raw::Toml(value), framework)?;
            }
        }
        Ok(())
    }
}

fn set_of_resource(
    prefix: &str,
    setting: &str,
    raw: Raw<'_>,
    resource: &mut ResourceConfig,
) -> Result<(), ConfigError> {
    let key = format!("{prefix}.{setting}");
    match setting {
        "on_failure" => resource.on_failure = Some(raw.failure_policy(&key)?),
        "unplannable" => resource.unplannable = Some(raw.unplannable(&key)?),
        _ => {
            let suggestion = closest(setting, &RESOURCE_KEYS).map(|known| format!("{prefix}.{known}"));
            return Err(ConfigError::UnknownKey { key, suggestion, known: texts(&RESOURCE_KEYS) });
        }
    }
    Ok(())
}

/// A whole number with a range of its own.
pub(super) trait Limit: TryFrom<i64> {
    /// The range in words.
    const EXPECTED: &'static str;
    /// The same for who wrote a text.
    const UNQUOTED: &'static str;
}

impl Limit for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
    const UNQUOTED: &'static str = "a whole number from 0 to 4294967295, without quotes";
}

impl Limit for usize {
    const EXPECTED: &'static str = "a whole number from 0";
    const UNQUOTED: &'static str = "a whole number from 0, without quotes";
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn set_term(
    written: &str,
    prefix: &str,
    term: &str,
    raw: Raw<'_>,
    framework: &mut Framework,
) -> Result<(), ConfigError> {
    match term {
        "enabled" => framework.enabled = raw.truth(written)?,
        "retention_days" => framework.retention_days = raw.number(written)?,
        "audit_required" => framework.audit_required = raw.truth(written)?,
        _ => {
            let suggestion = closest(term, &FRAMEWORK_KEYS).map(|key| format!("{prefix}.{key}"));
            let known = texts(&FRAMEWORK_KEYS);
            return Err(ConfigError::UnknownKey { key: written.to_owned(), suggestion, known });
        }
    }
    Ok(())
}

pub(super) fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Sets `AUDIT_FRAMEWORKS_<NAME>_<TERM>`; any other key that comes here is unknown.
pub(super) fn framework_variable(
    written: &str,
    key: &str,
    raw: Raw<'_>,
    frameworks: &mut Frameworks,
) -> Result<(), ConfigError> {
    let unknown =
        |suggestion, known| Err(ConfigError::UnknownKey { key: written.to_owned(), suggestion, known });
    if !raw.is_text() {
        return unknown(closest(key, &KEYS).map(str::to_owned), texts(&KEYS));
    }
    let variable = |key: &str| format!("{PREFIX}{}", key.to_ascii_uppercase());
    let Some(path) = key.strip_prefix("frameworks_") else {
        // Rules have no variable.
        let known = KEYS.into_iter().filter(|key| *key != "rules").map(variable).collect();
        return unknown(closest(key, &KEYS).map(variable), known);
    };
    for term in FRAMEWORK_KEYS {
        let name = path.strip_suffix(term).and_then(|name| name.strip_suffix('_'));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return set_term(written, "frameworks", term, raw, frameworks.entry(name));
        }
    }
    // The name of the framework may itself have `_` in it: the end that resembles a term most is the term.
    let cuts = path.match_indices('_').map(|(at, _)| path.split_at(at));
    let best = cuts
        .flat_map(|(name, term)| {
            FRAMEWORK_KEYS.map(|key| (distance(term.trim_start_matches('_'), key), name, key))
        })
        .min();
    let known = FRAMEWORK_KEYS.map(|key| format!("{PREFIX}FRAMEWORKS_<NAME>_{}", key.to_ascii_uppercase()));
    unknown(best.map(|(_, name, key)| variable(&format!("frameworks_{name}_{key}"))), known.to_vec())
}

/// The table of settings in a TOML text.
pub(super) fn table(text: &str) -> Result<Table, ConfigError> {
    let mut document: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
        ConfigError::Syntax { line, message: error.message().to_owned() }
    })?;
    match document.remove("audit") {
        None => Ok(document),
        Some(Value::Table(audit)) => match document.into_iter().find(|(key, _)| KEYS.contains(&key.as_str()))
        {
            None => Ok(audit),
            Some((key, _)) => Err(ConfigError::Place { key, problem: "has to stand in the table [audit]" }),
        },
        Some(other) => Raw::Toml(&other).wrong("audit", "a table"),
    }
}

/// Our variables among these, by name: the order in which they apply must not depend on the process.
pub(super) fn variables<K: Into<OsString>, V: Into<OsString>>(
    vars: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut ours = BTreeMap::new();
    for (name, value) in vars {
        let Ok(name) = name.into().into_string() else { continue };
        if name.starts_with(PREFIX) && !FOREIGN.iter().any(|foreign| name.starts_with(foreign)) {
            let Ok(value) = value.into().into_string() else {
                return Err(ConfigError::Value { key: name, found: "not UTF-8", expected: "a text" });
            };
            ours.insert(name, value);
        }
    }
    Ok(ours)
}

/// The key that resembles this one most, if any does at all.
pub(super) fn closest<'a>(key: &str, keys: &[&'a str]) -> Option<&'a str> {
    let key = key.to_ascii_lowercase();
    let (distance, found) =
        keys.iter().map(|known| (distance(&key, &known.to_ascii_lowercase()), *known)).min()?;
    (distance <= found.len().max(key.len()) / 2).then_some(found)
}

/// How many letters have to be added, removed or replaced to make one text of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // No key is nearly as long as this; the rest of a longer one can't change which is the closest.
    for (i, x) in a.bytes().take(128).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            left = (left + 1).min(above + 1).min(diagonal + usize::from(x != y));
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
