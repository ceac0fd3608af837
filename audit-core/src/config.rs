//! Settings: from code, a TOML file and the environment.

mod read;
mod rules;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::compliance::SEVEN_YEARS;
use crate::detect::Rule;
use crate::{Classification, Frameworks, Sanitizer};
use read::Raw;

/// The longest period that can be configured, in days (a thousand years): keeps every date that is computed from it
/// within what the database types can hold.
const MAX_DAYS: u32 = 365_000;

/// What happens to an operation whose audit entry can't be written. Of two, the lesser is the stricter.
///
/// Written `block`, `outbox` and `best_effort` in attributes and configuration. What counts for an entry is, in this order, what
/// [`Config::resources`] says of its resource, the registration, the attribute, [`Config::on_failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailurePolicy {
    /// The operation fails. Within a transaction nothing of it can be committed; without one the business row has been
    /// committed by itself and stays, so don't just try again.
    #[default]
    Block,
    /// The operation goes on; its entry goes to the spool and from there to the table when the database takes it. Needs
    /// [`spool_dir`](Config::spool_dir). Entries that come late have later places in the order of `seq`; their timestamps are
    /// true. Of a transaction whose end isn't known, because the process ended or hooks wrote in it, the entry is delivered
    /// with the status `warning` and `"commit":"unknown"` in its metadata.
    Outbox,
    /// The operation goes on; the loss is logged and counted. Not for a transaction that several tasks write over by hooks
    /// at once: each entry has a savepoint, and those of two tasks would overlap.
    BestEffort,
}

/// What happens to a statement on an audited table whose changes can't be recorded row by row: one that can't be read, runs code
/// of the database (`CALL`, `DO`), or changes rows in a way that can't be followed (`MERGE`, `COPY`).
///
/// Written `refuse` and `record` in configuration. What counts is what [`Config::resources`] says of the resource, or
/// [`Config::unplannable`]; of several tables that a statement may change, all have to say `record`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unplannable {
    /// It is refused, with the reason. Nothing is done.
    #[default]
    Refuse,
    /// It is done, and in the same transaction an entry of severity high with the action `unplanned` says for each audited table
    /// that it may change which sort of statement it was. Which rows changed, and how, isn't recorded: a row's trail has a gap
    /// there. What would switch off capture itself is refused all the same.
    Record,
}

/// When what is written to the spool is forced onto the disk.
///
/// Written `always`, `second` and `never` in configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SpoolSync {
    /// Before it counts as spooled. Nothing is lost, whatever fails.
    #[default]
    Always,
    /// Once a second. A failure of the machine loses up to a second; that of the process loses nothing.
    Second,
    /// When the operating system does. A failure of the machine loses what it had not done yet.
    Never,
}

/// What the configuration says of one resource, over registration and attributes.
///
/// ```
/// # use audit_core::{Config, FailurePolicy};
/// let mut config = Config::default();
/// config.resources.entry("PageView".into()).or_default().on_failure = Some(FailurePolicy::BestEffort);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ResourceConfig {
    /// What happens to an operation whose entry can't be written.
    pub on_failure: Option<FailurePolicy>,
    /// What happens to a statement that can't be recorded row by row.
    pub unplannable: Option<Unplannable>,
}

/// The settings of the audit log.
///
/// Three sources stack, each over the one before: code, a TOML text, the environment. A list of a later source
/// replaces that of an earlier one; [`frameworks`](Self::frameworks),
/// [`classifications`](Self::classifications), [`resources`](Self::resources), [`waivers`](Self::waivers) and
/// [`rules`](Self::rules) are merged entry by entry. After the last source, call
/// [`validate`](Self::validate).
///
/// In TOML the keys are the names of the fields, at the top or in a table `[audit]` (then whatever else is in the
/// file belongs to others). All of them, with their defaults where nothing else is said:
///
/// ```
/// # use audit_core::{Classification, Config};
/// # let text = r#"
/// [audit]
/// enabled = true
/// log_reads = false
/// log_failures = true
/// log_migrations = false
/// require_actor = false
/// retention_days = 2555                         # 7 years
/// archive_days = 365
/// sensitive_fields = ["employee_badge"]         # added to the default list
/// value_patterns = true                         # look for card numbers, tokens, .. in texts
/// skip_resources = ["session", "content_type"]  # none by default
/// skip_actions = ["view"]                       # none by default
/// max_value_bytes = 1_048_576
/// snapshot = false
/// on_failure = "block"                          # or "outbox", "best_effort"
/// unplannable = "refuse"                        # or "record"
/// pending_limit = 65_536
/// queue_limit = 10_000                          # reads that wait to be written
/// queue_wait_ms = 5_000                         # how long a full queue holds up a read
/// batch_size = 512
/// batch_wait_ms = 100
/// spool_dir = "/var/lib/my-app/audit"           # none by default
/// spool_sync = "always"                         # or "second", "never"
/// spool_limit_bytes = 1_073_741_824
///
/// [audit.classifications]                       # by field, or by resource and field
/// nickname = "public"
/// "BankAccount.balance" = "restricted"
///
/// [audit.resources.PageView]                    # by resource or table, over attributes and registration
/// on_failure = "best_effort"
///
/// [audit.waivers]                               # not audited, and why; see `Audit::coverage`
/// session = "no business data"
///
/// [audit.frameworks.SOX]                        # SOX, PCI_DSS, GDPR and HIPAA are known
/// enabled = true
/// retention_days = 3650
/// audit_required = true
///
/// [audit.frameworks.ISO_27001]                  # one of your own
/// retention_days = 1825
///
/// [audit.rules.other_tenant]                    # what detection looks for; see `detect::Rule::defaults`
/// enabled = false
///
/// [audit.rules.new_address]
/// severity = "high"
///
/// [audit.rules.hasty_approvals]                 # one of your own: a `detect::Check`
/// severity = "medium"
/// check.burst = { of = { action = "approve" }, per = "actor", threshold = 20, window = "1min" }
/// # "#;
/// # let config = Config::from_toml(text)?;
/// # config.validate()?;
/// # assert_eq!(config.frameworks.iter().count(), 5);
/// # assert_eq!(config.classifications["BankAccount.balance"], Classification::Restricted);
/// # Ok::<(), audit_core::ConfigError>(())
/// ```
///
/// In the environment each key but `rules` is written `AUDIT_` and the key in capitals; lists have commas between their items:
///
/// ```text
/// AUDIT_RETENTION_DAYS=3650
/// AUDIT_SENSITIVE_FIELDS=employee_badge,shoe_size
/// AUDIT_CLASSIFICATIONS=nickname=public,BankAccount.balance=restricted
/// AUDIT_RESOURCES=PageView.on_failure=best_effort,BankAccount.on_failure=block
/// AUDIT_WAIVERS=session=no business data,cache=rebuilt every night
/// AUDIT_FRAMEWORKS=SOX,GDPR                     (enables these and no others; in TOML, too, it may be a list)
/// AUDIT_FRAMEWORKS_SOX_RETENTION_DAYS=3650
/// ```
///
/// In code:
///
/// ```
/// use audit_core::{Config, Framework};
///
/// let mut config = Config::default();
/// config.log_reads = true;
/// config.frameworks.insert(Framework::new("ISO_27001", 1825));
/// config.apply_toml("retention_days = 3650")?;
/// config.apply_vars([("AUDIT_ARCHIVE_DAYS", "90")])?;
/// config.validate()?;
/// assert_eq!((config.retention_days, config.archive_days), (3650, 90));
/// # Ok::<(), audit_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Config {
    /// Whether anything is recorded at all. Default: `true`.
    pub enabled: bool,
    /// Whether reads of all resources are recorded, not only of those with `#[audit(reads)]`. Default: `false`. Only an
    /// `AuditConnection` sees reads.
    pub log_reads: bool,
    /// Whether operations that failed are recorded, where something records them: `#[audit_action]`, `AuditTask`,
    /// `log_failure`. Hooks aren't told of failed saves. Default: `true`.
    pub log_failures: bool,
    /// Whether changes made by schema migrations are recorded. Default: `false`.
    pub log_migrations: bool,
    /// Whether a change without a context (nobody says who acts) is refused; otherwise the actor is the system.
    /// Default: `false`.
    pub require_actor: bool,
    /// For how many days entries are kept, where no policy of a resource or framework says otherwise. Default: 2555
    /// (seven years). Nothing acts on it yet.
    pub retention_days: u32,
    /// After how many days entries are moved to the archive; at most `retention_days`. Default: 365. Nothing acts on it
    /// yet.
    pub archive_days: u32,
    /// Names of sensitive fields, in addition to the default list of [`Sanitizer`].
    pub sensitive_fields: Vec<String>,
    /// Whether texts are searched for secrets by their look, see [`Sanitizer::sanitize_text`]. Default: `true`.
    pub value_patterns: bool,
    /// Resources of which nothing is recorded. In the environment also `AUDIT_SKIP_MODELS`.
    pub skip_resources: Vec<String>,
    /// Actions that aren't recorded, of any resource.
    pub skip_actions: Vec<String>,
    /// The largest value that is recorded as it is, in bytes of its text; of a larger one its size and digest are.
    /// Default: 1,048,576 (1 MiB).
    pub max_value_bytes: usize,
    /// Whether the entry of an update holds all fields of the row, not only the changed ones. Default: `false`.
    pub snapshot: bool,
    /// What happens to an operation whose entry can't be written, where nothing is said of its resource. Default:
    /// [`FailurePolicy::Block`].
    pub on_failure: FailurePolicy,
    /// What happens to a statement on an audited table that can't be recorded row by row, where nothing is said of its
    /// resource. Default: [`Unplannable::Refuse`].
    pub unplannable: Unplannable,
    /// What is said of single resources, by the resource's name or its table's.
    pub resources: BTreeMap<String, ResourceConfig>,
    /// Why resources or tables are not audited, by name, and why columns that their entity doesn't know needn't be
    /// (`table.column`). A waived entity is left out.
    pub waivers: BTreeMap<String, String>,
    /// The frameworks that data may be under. Default: SOX, `PCI_DSS`, GDPR and HIPAA, all enabled.
    pub frameworks: Frameworks,
    /// Classifications by field (`nickname`) or by resource and field (`BankAccount.balance`), over those that
    /// attributes or [`classify_field`](crate::classify_field) give; of the two, resource and field counts.
    pub classifications: BTreeMap<String, Classification>,
    /// What detection looks for, by names of which none stands twice. Default: [`Rule::defaults`]. In TOML a table for each, by
    /// name: it replaces what it says of a rule that is there, adds one that isn't, or takes it away with `enabled = false`.
    pub rules: Vec<Rule>,
    /// How many changes may wait between the two halves of their hooks before the oldest is given up. Default:
    /// 65,536.
    pub pending_limit: usize,
    /// How many records of reads may wait in memory to be written. Default: 10,000.
    pub queue_limit: usize,
    /// How long a full queue holds up a read, in milliseconds, before it goes to the spool or, without one, the read
    /// fails. Default: 5,000.
    pub queue_wait_ms: u32,
    /// How many records are written at once, at most. Default: 512.
    pub batch_size: usize,
    /// How long a batch waits for more records, in milliseconds. Default: 100.
    pub batch_wait_ms: u32,
    /// The directory of the spool: files that keep records while the database doesn't take them. No two processes can
    /// share one. Default: none.
    pub spool_dir: Option<PathBuf>,
    /// When what is spooled is forced onto the disk. Default: [`SpoolSync::Always`].
    pub spool_sync: SpoolSync,
    /// How large the spool may become, in bytes. Default: 1,073,741,824 (1 GiB).
    pub spool_limit_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            log_reads: false,
            log_failures: true,
            log_migrations: false,
            require_actor: false,
            retention_days: SEVEN_YEARS,
            archive_days: 365,
            sensitive_fields: Vec::new(),
            value_patterns: true,
            skip_resources: Vec::new(),
            skip_actions: Vec::new(),
            max_value_bytes: 1_048_576,
            snapshot: false,
            on_failure: FailurePolicy::Block,
            unplannable: Unplannable::Refuse,
            resources: BTreeMap::new(),
            waivers: BTreeMap::new(),
            frameworks: Frameworks::default(),
            classifications: BTreeMap::new(),
            rules: Rule::defaults(),
            pending_limit: 65_536,
            queue_limit: 10_000,
            queue_wait_ms: 5_000,
            batch_size: 512,
            batch_wait_ms: 100,
            spool_dir: None,
            spool_sync: SpoolSync::Always,
            spool_limit_bytes: 1 << 30,
        }
    }
}

/// Why settings can't be used. A message names the key and what is accepted, never the value that was given; but for rules, which
/// hold no secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No setting has this name.
    #[error("audit configuration: there is no key `{key}`{}", Hint(suggestion.as_deref(), known))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// The known key that it resembles most.
        suggestion: Option<String>,
        /// The keys that are known there.
        known: Vec<String>,
    },
    /// A value is of the wrong kind or out of range.
    #[error("audit configuration: `{key}` is {found}; expected {expected}")]
    Value {
        /// The key as it was written.
        key: String,
        /// What kind of value was given.
        found: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// A key stands twice, or outside the table `[audit]` of a file that has one.
    #[error("audit configuration: `{key}` {problem}")]
    Place {
        /// The key as it was written.
        key: String,
        /// What is wrong with its place.
        problem: &'static str,
    },
    /// The text is not TOML.
    #[error("audit configuration: not TOML, line {line}: {message}")]
    Syntax {
        /// The line of the mistake, from 1.
        line: usize,
        /// What the parser says about it.
        message: String,
    },
    /// The file can't be read.
    #[error("audit configuration: {} can't be read: {source}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A rule of detection can't be read, or makes no sense.
    #[error("audit configuration: `{key}`: {problem}")]
    Rule {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A setting contradicts another, or makes no sense.
    #[error("audit configuration: `{key}` {problem}")]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Displays the suggestion of an error, and what is known.
struct Hint<'a>(Option<&'a str>, &'a [String]);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut known = match self.0 {
            Some(key) => {
                write!(f, "; did you mean `{key}`?")?;
                " Known are "
            }
            None => "; known are ",
        };
        for key in self.1 {
            write!(f, "{known}`{key}`")?;
            known = ", ";
        }
        Ok(())
    }
}

impl Config {
    /// The default settings under those of a TOML text.
    ///
    /// # Errors
    ///
    /// As [`apply_toml`](Self::apply_toml).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.apply_toml(text)?;
        Ok(config)
    }

    /// The default settings under those of a TOML file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] if the file can't be read as UTF-8, else as [`apply_toml`](Self::apply_toml).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml(&text)
    }

    /// Puts the settings of a TOML text over these; if it has a table `[audit]`, only that table counts. On an error
    /// nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Syntax`](ConfigError::Syntax), [`UnknownKey`](ConfigError::UnknownKey), [`Value`](ConfigError::Value),
    /// [`Rule`](ConfigError::Rule) and [`Place`](ConfigError::Place).
    pub fn apply_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let mut config = self.clone();
        for (key, value) in &read::table(text)? {
            config.set(key, key, Raw::Toml(value))?;
        }
        *self = config;
        Ok(())
    }

    /// Puts the settings of the process's environment over these: the variables that begin with `AUDIT_`, except
    /// `AUDIT_TEST_..` and `AUDIT_BENCH_..`, which belong to the project's own tests. On an error nothing is changed.
    ///
    /// # Errors
    ///
    /// [`UnknownKey`](ConfigError::UnknownKey), [`Value`](ConfigError::Value) and, for `AUDIT_RULES`, [`Place`](ConfigError::Place).
    pub fn apply_env(&mut self) -> Result<(), ConfigError> {
        self.apply_vars(std::env::vars_os())
    }

    /// Like [`apply_env`](Self::apply_env), with these variables in place of the process's environment.
    ///
    /// # Errors
    ///
    /// [`UnknownKey`](ConfigError::UnknownKey), [`Value`](ConfigError::Value) and, for `AUDIT_RULES`, [`Place`](ConfigError::Place).
    pub fn apply_vars<K, V>(&mut self, vars: impl IntoIterator<Item = (K, V)>) -> Result<(), ConfigError>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut config = self.clone();
        for (variable, value) in read::variables(vars)? {
            let key = variable.strip_prefix(read::PREFIX).unwrap_or_default().to_ascii_lowercase();
            config.set(&variable, &key, Raw::Text(&value))?;
        }
        *self = config;
        Ok(())
    }

    /// Sets one key. `written` is the key as the user wrote it.
    fn set(&mut self, written: &str, key: &str, raw: Raw<'_>) -> Result<(), ConfigError> {
        match key {
            "enabled" => self.enabled = raw.truth(written)?,
            "log_reads" => self.log_reads = raw.truth(written)?,
            "log_failures" => self.log_failures = raw.truth(written)?,
            "log_migrations" => self.log_migrations = raw.truth(written)?,
            "require_actor" => self.require_actor = raw.truth(written)?,
            "retention_days" => self.retention_days = raw.number(written)?,
            "archive_days" => self.archive_days = raw.number(written)?,
            "sensitive_fields" => self.sensitive_fields = raw.list(written)?,
            "value_patterns" => self.value_patterns = raw.truth(written)?,
            "skip_resources" => self.skip_resources = raw.list(written)?,
            "skip_models" if raw.is_text() => self.skip_resources = raw.list(written)?,
            "skip_actions" => self.skip_actions = raw.list(written)?,
            "max_value_bytes" => self.max_value_bytes = raw.number(written)?,
            "snapshot" => self.snapshot = raw.truth(written)?,
            "on_failure" => self.on_failure = raw.failure_policy(written)?,
            "unplannable" => self.unplannable = raw.unplannable(written)?,
            "resources" => raw.resources(written, &mut self.resources)?,
            "waivers" => self.waivers.extend(raw.waivers(written)?),
            "frameworks" => raw.frameworks(written, &mut self.frameworks)?,
            "classifications" => self.classifications.extend(raw.classifications(written)?),
            "rules" => rules::apply(raw, written, &mut self.rules)?,
            "pending_limit" => self.pending_limit = raw.number(written)?,
            "queue_limit" => self.queue_limit = raw.number(written)?,
            "queue_wait_ms" => self.queue_wait_ms = raw.number(written)?,
            "batch_size" => self.batch_size = raw.number(written)?,
            "batch_wait_ms" => self.batch_wait_ms = raw.number(written)?,
            "spool_dir" => self.spool_dir = Some(raw.path(written)?),
            "spool_sync" => self.spool_sync = raw.spool_sync(written)?,
            "spool_limit_bytes" => self.spool_limit_bytes = raw.number(written)?,
            _ => return read::framework_variable(written, key, raw, &mut self.frameworks),
        }
        Ok(())
    }

    /// Checks that the settings make sense together. To be called when all sources have been applied.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if a period is longer than 365,000 days or the retention is 0, also that of an enabled
    /// framework; if `archive_days` exceeds `retention_days`; if a limit is 0; if a name is empty. [`ConfigError::Rule`] if a rule
    /// makes no sense, or two have one name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |key: &str, problem| Err(ConfigError::Invalid { key: key.to_owned(), problem });
        check_days("retention_days", self.retention_days)?;
        if self.archive_days > self.retention_days {
            return invalid(
                "archive_days",
                "is more than `retention_days`: nothing would be left to archive",
            );
        }
        for (key, limit) in [
            ("max_value_bytes", self.max_value_bytes),
            ("pending_limit", self.pending_limit),
            ("queue_limit", self.queue_limit),
            ("batch_size", self.batch_size),
            ("spool_limit_bytes", self.spool_limit_bytes),
        ] {
            if limit == 0 {
                return invalid(key, "is 0; it has to be at least 1");
            }
        }
        if self.sensitive_fields.iter().any(|name| !name.chars().any(char::is_alphanumeric)) {
            return invalid("sensitive_fields", "has a name without any letter or digit");
        }
        for (key, names) in [("skip_resources", &self.skip_resources), ("skip_actions", &self.skip_actions)] {
            if names.iter().any(|name| name.trim().is_empty()) {
                return invalid(key, "has an empty name");
            }
        }
        if self.classifications.keys().any(|name| name.split('.').any(|part| part.trim().is_empty())) {
            return invalid("classifications", "has an empty name; expected `field` or `resource.field`");
        }
        if self.resources.keys().any(|name| name.trim().is_empty()) {
            return invalid("resources", "has an empty name");
        }
        if self.waivers.keys().any(|name| name.trim().is_empty()) {
            return invalid("waivers", "has an empty name");
        }
        if let Some((name, _)) = self.waivers.iter().find(|(_, reason)| reason.trim().is_empty()) {
            return invalid(&format!("waivers.{name}"), "has no reason; say why it needn't be audited");
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let twice = self.rules.iter().take(at).any(|other| other.name == rule.name);
            if let Some(problem) = rule.problem().or(twice.then_some("two rules have this name")) {
                let key = format!("rules.{}", rule.name);
                return Err(ConfigError::Rule { key, problem: problem.to_owned() });
            }
        }
        for framework in self.frameworks.iter() {
            if framework.name.is_empty() {
                return invalid("frameworks", "has an empty name");
            }
            if framework.enabled {
                check_days(
                    &format!("frameworks.{}.retention_days", framework.name),
                    framework.retention_days,
                )?;
            }
        }
        Ok(())
    }

    /// What is said of the resource with this name, in this table.
    pub(crate) fn resource(&self, name: &str, table: &str) -> Option<&ResourceConfig> {
        self.resources.get(name).or_else(|| self.resources.get(table))
    }

    /// The sanitiser that these settings ask for.
    pub fn sanitizer(&self) -> Sanitizer {
        Sanitizer::default().with_names(&self.sensitive_fields).value_patterns(self.value_patterns)
    }
}

/// Which of some names is meant by one that is none of them, for suggestions in errors.
#[doc(hidden)]
pub fn closest_name<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    read::closest(name, known)
}

fn check_days(key: &str, days: u32) -> Result<(), ConfigError> {
    let problem = match days {
        0 => "is 0: every entry would be deleted at once",
        1..=MAX_DAYS => return Ok(()),
        _ => "is more than 365000 days",
    };
    Err(ConfigError::Invalid { key: key.to_owned(), problem })
}

#[cfg(test)]
mod tests;
