//! Rules of detection in a TOML text: a table for each, by name, over those that are there.

use serde::Deserialize;
use toml::Value;

use super::ConfigError;
use super::read::{Raw, closest, texts};
use crate::Severity;
use crate::detect::{Check, Rule};

const KEYS: [&str; 3] = ["enabled", "severity", "check"];
/// What stands in checks, by their names; those of more than one in the first.
const CHECKS: [(&str, &[&str]); 8] = [
    ("burst", &["of", "per", "threshold", "window"]),
    ("volume", &[]),
    ("first_seen", &["what", "learn"]),
    ("outside_hours", &["from", "to", "days", "offset_minutes"]),
    ("touches", &["resources", "fields"]),
    ("slow", &["limit", "pause"]),
    ("pattern", &["patterns"]),
    ("unusual", &["factor", "at_least"]),
];

/// Puts what is said of rules over them.
///
/// # Errors
/// With the key, and what is accepted.
pub(super) fn apply(raw: Raw<'_>, key: &str, rules: &mut Vec<Rule>) -> Result<(), ConfigError> {
    let table = match raw {
        Raw::Toml(Value::Table(table)) => table,
        Raw::Toml(_) => return raw.wrong(key, "a table by name, as in [audit.rules.mass_deletion]"),
        Raw::Text(_) => {
            let problem = "can't be set in the environment, but in TOML and in code";
            return Err(ConfigError::Place { key: key.to_owned(), problem });
        }
    };
    for (name, settings) in table {
        apply_one(settings, &format!("{key}.{name}"), name, rules)?;
    }
    Ok(())
}

fn apply_one(settings: &Value, key: &str, name: &str, rules: &mut Vec<Rule>) -> Result<(), ConfigError> {
    let Value::Table(settings) = settings else {
        return Raw::Toml(settings).wrong(key, "a table with `severity` and `check`, or `enabled`");
    };
    let (mut enabled, mut severity, mut check) = (true, None, None);
    for (setting, value) in settings {
        let (place, raw) = (format!("{key}.{setting}"), Raw::Toml(value));
        match setting.as_str() {
            "enabled" => enabled = raw.truth(&place)?,
            "severity" => match Severity::deserialize(value.clone()) {
                Ok(found) => severity = Some(found),
                Err(_) => return raw.wrong_word(&place, "`low`, `medium`, `high` or `critical`"),
            },
            "check" => match Check::deserialize(value.clone()) {
                Ok(found) => check = Some(found),
                Err(error) => {
                    let problem = error.message().trim_end().to_owned();
                    return Err(ConfigError::Rule { key: place, problem });
                }
            },
            _ => return Err(unknown(key, setting, place)),
        }
    }
    let at = rules.iter().position(|rule| rule.name == name);
    match (at.and_then(|at| rules.get_mut(at)), severity, check) {
        (None, ..) if !enabled => {
            let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
            let place = key.strip_suffix(name).unwrap_or_default();
            let suggestion = closest(name, &names).map(|known| format!("{place}{known}"));
            let known = names.iter().map(|known| format!("{place}{known}")).collect();
            return Err(ConfigError::UnknownKey { key: key.to_owned(), suggestion, known });
        }
        (Some(_), ..) if !enabled => rules.retain(|rule| rule.name != name),
        (Some(rule), severity, check) => {
            rule.severity = severity.unwrap_or(rule.severity);
            rule.check = check.unwrap_or_else(|| rule.check.clone());
        }
        (None, Some(severity), Some(check)) => rules.push(Rule::new(name, severity, check)),
        (None, ..) => {
            let problem = "no rule has this name yet; a new one needs `severity` and `check`".to_owned();
            return Err(ConfigError::Rule { key: key.to_owned(), problem });
        }
    }
    Ok(())
}

/// A key that a rule hasn't: it may belong one table deeper.
fn unknown(key: &str, setting: &str, place: String) -> ConfigError {
    let deeper: Vec<&str> = CHECKS.iter().flat_map(|(_, fields)| fields.iter().copied()).collect();
    let all: Vec<&str> = KEYS.iter().copied().chain(deeper.iter().copied()).collect();
    let meant = closest(setting, &all).filter(|meant| deeper.contains(meant));
    let check = meant.and_then(|meant| CHECKS.iter().find(|(_, fields)| fields.contains(&meant)));
    if let (Some(meant), Some((check, _))) = (meant, check) {
        let problem = format!(
            "there is no such key; `{meant}` stands in `check`, as in `check.{check} = {{ {meant} = .. }}`"
        );
        return ConfigError::Rule { key: place, problem };
    }
    let suggestion = closest(setting, &KEYS).map(|known| format!("{key}.{known}"));
    ConfigError::UnknownKey { key: place, suggestion, known: texts(&KEYS) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::detect::{Check, Kind, Rule, Subject, Text};
    use crate::{Config, ConfigError, Severity};

    fn error(text: &str) -> String {
        let mut config = Config::default();
        let error = config.apply_toml(text).unwrap_err().to_string();
        assert_eq!(config, Config::default(), "nothing changes on an error");
        error
    }

    #[test]
    fn q7_rules_of_a_configuration_go_over_the_defaults() {
        let config = Config::from_toml(
            r#"
            [audit.rules.other_tenant]
            enabled = false
            [audit.rules.new_address]
            severity = "critical"
            [audit.rules.mass_deletion]
            check.burst = { of = { action = "delete" }, per = "actor", threshold = 10, window = "1h 30min" }
            [audit.rules.scanners]
            severity = "medium"
            check.pattern = { of = "user_agent", patterns = ["sqlmap"], pause = "1day" }
            "#,
        )
        .unwrap();
        config.validate().unwrap();
        let rule = |name: &str| config.rules.iter().find(|rule| rule.name == name);
        assert_eq!(config.rules.len(), Rule::defaults().len());
        assert_eq!(rule("other_tenant"), None);
        assert_eq!(rule("new_address").unwrap().severity, Severity::Critical);
        let window = Duration::from_secs(5400);
        let of = Kind::Action("delete".into());
        let burst = Check::Burst { of, per: Subject::Actor, threshold: 10, window };
        assert_eq!(rule("mass_deletion"), Some(&Rule::new("mass_deletion", Severity::High, burst)));
        let pause = Duration::from_secs(86_400);
        let scanners = Check::Pattern { of: Text::UserAgent, patterns: vec!["sqlmap".into()], pause };
        assert_eq!(rule("scanners"), Some(&Rule::new("scanners", Severity::Medium, scanners)));
        assert_eq!(Config::default().rules, Rule::defaults());
    }

    #[test]
    fn q7_bad_rules_of_a_configuration_are_named() {
        for (text, said) in [
            ("rules = 3", "`rules` is a whole number; expected a table by name"),
            ("[rules]\nx = 1", "`rules.x` is a whole number; expected a table with"),
            ("[rules.x]\nseverity = \"low\"", "`rules.x`: no rule has this name yet; a new one needs"),
            (
                "[rules.mass_deletion]\nseverity = \"loud\"",
                "`rules.mass_deletion.severity` is another word; expected `low`, `medium`, `high` or `critical`",
            ),
            (
                "[rules.mass_deletion]\nsverity = \"low\"",
                "there is no key `rules.mass_deletion.sverity`; did you mean `rules.mass_deletion.severity`? \
                 Known are `enabled`, `severity`, `check`",
            ),
            (
                "[rules.mass_deletion]\ntreshold = 5",
                "`rules.mass_deletion.treshold`: there is no such key; `threshold` stands in `check`, \
                 as in `check.burst = { threshold = .. }`",
            ),
            (
                "[rules.mass_deletion]\npatterns = ['a']",
                "`patterns` stands in `check`, as in `check.pattern = { patterns = .. }`",
            ),
            (
                "[rules.mass_deletoin]\nenabled = false",
                "there is no key `rules.mass_deletoin`; did you mean `rules.mass_deletion`?",
            ),
            ("[rules.x.check.brust]", "`rules.x.check`: unknown variant `brust`, expected one of `burst`,"),
            (
                "[rules.new_address.check.slow]\nlimit = \"5 parsecs\"\npause = \"1h\"",
                "`rules.new_address.check`: expected a span of time, as in \"15min\"",
            ),
            (
                "[rules.new_address.check.slow]\nlimit = \"5s\"\npauze = \"1h\"",
                "`rules.new_address.check`: unknown field `pauze`, expected `limit` or `pause`",
            ),
        ] {
            let error = error(text);
            assert!(error.contains(said), "{error}");
        }
        let mut config = Config::default();
        let variable = config.apply_vars([("AUDIT_RULES", "mass_deletion")]).unwrap_err().to_string();
        assert!(variable.contains("`AUDIT_RULES` can't be set in the environment"), "{variable}");
    }

    #[test]
    fn q7_rules_that_make_no_sense_do_not_pass_the_validation() {
        let mut config = Config::default();
        config.apply_toml("[rules.slow_request.check.slow]\nlimit = \"1s\"\npause = \"1ms\"").unwrap();
        let error = config.validate().unwrap_err();
        assert!(matches!(error, ConfigError::Rule { .. }));
        let said = "`rules.slow_request`: its pause is a second to a year";
        assert!(error.to_string().contains(said), "{error}");
        let mut config = Config::default();
        config.rules.extend(Rule::defaults().into_iter().take(1));
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("`rules.mass_deletion`: two rules have this name"), "{error}");
    }
}
