use proptest::prelude::*;

use super::*;
use crate::Framework;

fn toml_error(text: &str) -> String {
    let mut config = Config::default();
    let error = config.apply_toml(text).unwrap_err().to_string();
    assert_eq!(config, Config::default(), "nothing changes on an error");
    error
}

fn vars(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    config.apply_vars(vars.iter().copied())?;
    Ok(config)
}

#[test]
fn s9_the_defaults_are_valid_and_an_empty_source_changes_nothing() {
    Config::default().validate().unwrap();
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
    assert_eq!(Config::from_toml("[audit]").unwrap(), Config::default());
    assert_eq!(vars(&[("PATH", "/bin"), ("AUDITOR", "x")]).unwrap(), Config::default());
}

#[test]
fn s9_every_key_can_be_set_in_toml_and_in_the_environment() {
    let text = r#"
        enabled = false
        log_reads = true
        log_failures = false
        log_migrations = true
        require_actor = true
        retention_days = 100
        archive_days = 50
        sensitive_fields = ["a", "b"]
        value_patterns = false
        skip_resources = ["s"]
        skip_actions = ["view"]
        max_value_bytes = 2_048
        snapshot = true
        on_failure = "best_effort"
        unplannable = "record"
        pending_limit = 7
        queue_limit = 8
        queue_wait_ms = 9
        batch_size = 10
        batch_wait_ms = 11
        spool_dir = "/var/spool"
        spool_sync = "second"
        spool_limit_bytes = 12
        classifications = { nickname = "PUBLIC", "A.b" = "top-secret" }
        waivers = { session = "no business data", "account.flag" = "unused" }
        resources = { Page = { on_failure = "block" }, "main.visit" = { on_failure = "best-effort", unplannable = "refuse" } }
        rules = { mass_deletion = { enabled = false } }
        [frameworks.sox]
        enabled = false
        retention_days = 30
        audit_required = false
        [frameworks.own]
    "#;
    let from_toml = Config::from_toml(text).unwrap();
    let mut from_vars = vars(&[
        ("AUDIT_ENABLED", "no"),
        ("AUDIT_LOG_READS", "1"),
        ("AUDIT_LOG_FAILURES", "FALSE"),
        ("AUDIT_LOG_MIGRATIONS", "on"),
        ("AUDIT_REQUIRE_ACTOR", " true "),
        ("AUDIT_RETENTION_DAYS", "100"),
        ("AUDIT_ARCHIVE_DAYS", "50"),
        ("AUDIT_SENSITIVE_FIELDS", "a, b,"),
        ("AUDIT_VALUE_PATTERNS", "off"),
        ("AUDIT_SKIP_RESOURCES", "s"),
        ("AUDIT_SKIP_ACTIONS", "view"),
        ("AUDIT_MAX_VALUE_BYTES", "2_048"),
        ("AUDIT_SNAPSHOT", "yes"),
        ("AUDIT_ON_FAILURE", "BEST-EFFORT"),
        ("AUDIT_PENDING_LIMIT", "7"),
        ("AUDIT_QUEUE_LIMIT", "8"),
        ("AUDIT_QUEUE_WAIT_MS", "9"),
        ("AUDIT_BATCH_SIZE", "10"),
        ("AUDIT_BATCH_WAIT_MS", "11"),
        ("AUDIT_SPOOL_DIR", "/var/spool"),
        ("AUDIT_SPOOL_SYNC", "Second"),
        ("AUDIT_SPOOL_LIMIT_BYTES", "12"),
        ("AUDIT_WAIVERS", "session = no business data, account.flag=unused"),
        (
            "AUDIT_RESOURCES",
            "Page.on_failure = block, main.visit.on_failure=best_effort,main.visit.unplannable=refuse",
        ),
        ("AUDIT_UNPLANNABLE", "Record"),
        ("AUDIT_CLASSIFICATIONS", "nickname=public, A.b = TopSecret"),
        ("AUDIT_FRAMEWORKS_SOX_ENABLED", "false"),
        ("AUDIT_FRAMEWORKS_SOX_RETENTION_DAYS", "30"),
        ("AUDIT_FRAMEWORKS_SOX_AUDIT_REQUIRED", "0"),
        ("AUDIT_FRAMEWORKS_OWN_ENABLED", "true"),
        ("AUDIT_TEST_POSTGRES", "postgres://"),
        ("AUDIT_BENCH_ROWS", "10"),
    ])
    .unwrap();
    // They alone have no variable.
    from_vars.rules.retain(|rule| rule.name != "mass_deletion");
    assert_eq!(from_toml, from_vars);
    assert_eq!(from_toml.on_failure, FailurePolicy::BestEffort);
    assert_eq!(from_toml.classifications["A.b"], Classification::TopSecret);
    assert_eq!(from_toml.frameworks.get("OWN"), Some(&Framework::new("OWN", 2555)));
    // All the fields that there are differ from the default.
    let json = |config: &Config| serde_json::to_value(config).unwrap();
    let (set, default) = (json(&from_toml), json(&Config::default()));
    for (key, value) in default.as_object().unwrap() {
        assert_ne!(&set[key], value, "{key}");
    }
}

#[test]
fn s9_sources_stack() {
    let mut config = Config { sensitive_fields: vec!["code".to_owned()], ..Config::default() };
    config.apply_toml("retention_days = 10\nclassifications = {a = 'public', b = 'public'}").unwrap();
    config
        .apply_toml("[audit]\narchive_days = 5\nclassifications = {b = 'internal'}\n[other]\nx = 1")
        .unwrap();
    config
        .apply_vars([
            ("AUDIT_FRAMEWORKS_PCI_DSS_RETENTION_DAYS", "9"),
            ("AUDIT_FRAMEWORKS", "pci-dss,own"),
            ("AUDIT_SKIP_MODELS", "session"),
        ])
        .unwrap();
    assert_eq!((config.retention_days, config.archive_days), (10, 5));
    assert_eq!(config.sensitive_fields, ["code"]);
    assert_eq!(config.skip_resources, ["session"]);
    assert_eq!(config.classifications.len(), 2);
    assert_eq!(config.classifications["b"], Classification::Internal);
    let enabled: Vec<_> = config.frameworks.enabled().map(|f| (f.name.as_str(), f.retention_days)).collect();
    assert_eq!(enabled, [("OWN", 2555), ("PCI_DSS", 9)]);
    assert_eq!(config.frameworks.iter().count(), 5);
    assert!(config.sanitizer().is_sensitive_name("the_code"));
}

#[test]
fn s9_errors_name_the_key_and_what_is_accepted() {
    for (text, parts) in [
        ("retension_days = 1", &["`retension_days`", "did you mean `retention_days`?"][..]),
        ("qqqqqqqqqqqqqq = 1", &["there is no key `qqqqqqqqqqqqqq`; known are `enabled`, `log_reads`,"]),
        ("retension_days = 1", &["? Known are `enabled`, `log_reads`"]),
        ("skip_models = []", &["`skip_models`", "did you mean `skip_"]),
        ("enabled = 'yes'", &["`enabled` is a text; expected `true` or `false` without quotes"]),
        ("retention_days = -1", &["`retention_days` is a negative number", "0 to 4294967295"]),
        (
            "retention_days = 4294967296",
            &["`retention_days` is out of range; expected a whole number from 0"],
        ),
        ("retention_days = '1'", &["`retention_days` is a text; expected a whole number", "without quotes"]),
        ("queue_limit = '1'", &["`queue_limit` is a text; expected a whole number", "without quotes"]),
        ("retention_days = 1.5", &["a number with a fraction"]),
        ("sensitive_fields = 'a'", &["`sensitive_fields`", "a list of texts"]),
        ("sensitive_fields = [1]", &["`sensitive_fields[]`"]),
        (
            "on_failure = 'ignore'",
            &["`on_failure` is another word; expected `block`, `outbox` or `best_effort`"],
        ),
        ("on_failure = 1979-05-27", &["a date or time"]),
        ("waivers = ['a']", &["`waivers` is a list", "session ="]),
        ("waivers.a = 3", &["`waivers.a`", "the reason"]),
        ("resources = 3", &["`resources` is a whole number", "[audit.resources.BankAccount]"]),
        ("resources.A = 3", &["`resources.A`", "a table with `on_failure`, `unplannable`"]),
        (
            "resources.A.on_failure = 'no'",
            &["`resources.A.on_failure`", "`block`, `outbox` or `best_effort`"],
        ),
        ("unplannable = 'allow'", &["`unplannable` is another word", "`refuse` or `record`"]),
        (
            "resources.A.on_fail = 'block'",
            &["did you mean `resources.A.on_failure`? Known are `on_failure`, `unplannable`"],
        ),
        ("classifications = {a = 'secret'}", &["`classifications.a` is another word", "`top_secret`"]),
        ("classifications = []", &["`classifications` is a list", "a table"]),
        ("frameworks = true", &["`frameworks` is a truth value", "a table by name, or a list"]),
        ("frameworks.SOX = 1", &["`frameworks.SOX`", "a table with"]),
        (
            "frameworks.SOX.days = 1",
            &["`frameworks.SOX.days`", "nown are `enabled`, `retention_days`, `audit_required`"],
        ),
        ("frameworks.SOX.retention = 1", &["did you mean `frameworks.SOX.retention_days`?"]),
        ("frameworks.SOX.enabled = 3", &["`frameworks.SOX.enabled`"]),
        ("[frameworks.sox]\n[frameworks.SOX]", &["stands twice"]),
        ("audit = 3", &["`audit` is a whole number", "a table"]),
        ("enabled = true\n[audit]", &["`enabled` has to stand in the table [audit]"]),
        ("enabled = true\nx = [", &["not TOML, line 2"]),
    ] {
        let error = toml_error(text);
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
    for (key, value, parts) in [
        ("AUDIT_RETENSION_DAYS", "1", &["`AUDIT_RETENSION_DAYS`", "`AUDIT_RETENTION_DAYS`"][..]),
        ("AUDIT_ENABLED", "", &["`AUDIT_ENABLED` is empty", "also 1, 0, yes, no"]),
        ("AUDIT_ENABLED", "hunter2", &["`AUDIT_ENABLED`"]),
        (
            "AUDIT_ARCHIVE_DAYS",
            "hunter2",
            &["`AUDIT_ARCHIVE_DAYS` is something else; expected a whole number", "a whole number"],
        ),
        ("AUDIT_CLASSIFICATIONS", "hunter2", &["`AUDIT_CLASSIFICATIONS`", "field=class"]),
        ("AUDIT_FRAMEWORKS_PCI_DSS_RETENTION", "1", &["`AUDIT_FRAMEWORKS_PCI_DSS_RETENTION_DAYS`"]),
        ("AUDIT_FRAMEWORKS_SOX_ENABLED", "hunter2", &["`AUDIT_FRAMEWORKS_SOX_ENABLED`"]),
        ("AUDIT_", "1", &["no key `AUDIT_`", "nown are `AUDIT_ENABLED`, `AUDIT_LOG_READS`"]),
    ] {
        let error = vars(&[(key, value)]).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{key}: {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn s9_settings_that_make_no_sense_are_refused() {
    let with = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(with(|c| c.archive_days = 9999).contains("`archive_days`"));
    assert!(with(|c| c.retention_days = 0).contains("`retention_days` is 0"));
    assert!(with(|c| c.retention_days = u32::MAX).contains("365000"));
    assert!(with(|c| c.max_value_bytes = 0).contains("`max_value_bytes`"));
    assert!(with(|c| c.pending_limit = 0).contains("`pending_limit`"));
    assert!(with(|c| c.sensitive_fields.push("--".to_owned())).contains("`sensitive_fields`"));
    assert!(with(|c| c.skip_actions.push(" ".to_owned())).contains("`skip_actions`"));
    assert!(with(|c| c.frameworks.entry("").enabled = true).contains("`frameworks`"));
    assert!(
        with(|c| c.frameworks.entry("SOX").retention_days = 0).contains("`frameworks.SOX.retention_days`")
    );
    assert!(
        with(|c| c.classifications.extend([("A.".to_owned(), Classification::Public)]))
            .contains("resource.field")
    );
    let mut config = Config::default();
    config.frameworks.entry("SOX").retention_days = 0;
    config.frameworks.entry("SOX").enabled = false;
    config.validate().unwrap();
}

#[test]
fn s9_a_file_is_read_or_its_path_named() {
    let path = std::env::temp_dir().join(format!("audit-config-{}.toml", std::process::id()));
    std::fs::write(&path, "snapshot = true").unwrap();
    let config = Config::from_file(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(config.snapshot);
    let error = Config::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("audit-config-"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().ends_with(&format!("can't be read: {cause}")), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[cfg(unix)]
#[test]
fn s9_a_variable_that_is_no_text_is_an_error_only_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(vec![0xFF]);
    let mut config = Config::default();
    config.apply_vars([(OsString::from("OTHER"), bad()), (bad(), bad())]).unwrap();
    let error = config.apply_vars([(OsString::from("AUDIT_ENABLED"), bad())]).unwrap_err();
    assert!(error.to_string().contains("`AUDIT_ENABLED` is not UTF-8; expected a text"));
}

proptest! {
    #[test]
    fn s9_any_source_is_answered(key in "[A-Z_]{0,30}|\\PC{0,20}", value in any::<String>()) {
        let _ = Config::from_toml(&value);
        let _ = Config::from_toml(&format!("{key} = {value:?}"));
        let _ = vars(&[(&format!("AUDIT_{key}"), &value.replace('\0', ""))]);
        let _ = vars(&[(&format!("AUDIT_FRAMEWORKS_{key}"), &value.replace('\0', ""))]);
    }
}
