//! What the environment says about the servers.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sea_orm::DbBackend;

/// Every backend of the suite.
pub const BACKENDS: [DbBackend; 3] = [DbBackend::Sqlite, DbBackend::Postgres, DbBackend::MySql];

const REQUIRE: &str = "AUDIT_TEST_REQUIRE";
const CHINOOK: &str = "AUDIT_TEST_CHINOOK";

/// The backend's name in test names and variables: `sqlite`, `postgres` or `mysql`.
#[must_use]
pub fn name_of(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "sqlite",
        DbBackend::Postgres => "postgres",
        DbBackend::MySql => "mysql",
        other => other.as_str(),
    }
}

pub(crate) fn variable_of(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "AUDIT_TEST_POSTGRES_URL",
        DbBackend::MySql => "AUDIT_TEST_MYSQL_URL",
        _ => "(no variable)",
    }
}

/// The environment, read once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    postgres: Option<String>,
    mysql: Option<String>,
    chinook: Option<PathBuf>,
    required: Vec<DbBackend>,
    chinook_required: bool,
}

impl Settings {
    /// The environment of this process.
    ///
    /// # Panics
    ///
    /// When it can't be understood.
    #[must_use]
    pub fn get() -> &'static Self {
        static SETTINGS: OnceLock<Result<Settings, String>> = OnceLock::new();
        match SETTINGS.get_or_init(|| Self::read(|name| std::env::var(name).ok())) {
            Ok(settings) => settings,
            Err(error) => panic!("{error}"),
        }
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let value = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let url = |backend, schemes: &[&str]| match value(variable_of(backend)) {
            Some(url) if !schemes.iter().any(|scheme| url.starts_with(&format!("{scheme}://"))) => {
                // Not the value itself: a URL may hold a password.
                Err(format!("{} must begin with {}://", variable_of(backend), schemes[0]))
            }
            other => Ok(other),
        };
        let mut required = Vec::new();
        let mut chinook_required = false;
        for name in value(REQUIRE).iter().flat_map(|list| list.split(',')).map(str::trim) {
            match BACKENDS.into_iter().find(|backend| name_of(*backend) == name) {
                Some(backend) => required.push(backend),
                None if name == "chinook" => chinook_required = true,
                None => {
                    return Err(format!(
                        "{REQUIRE}: no backend {name:?}; there are sqlite, postgres, mysql and the data set chinook"
                    ));
                }
            }
        }
        Ok(Self {
            postgres: url(DbBackend::Postgres, &["postgres", "postgresql"])?,
            mysql: url(DbBackend::MySql, &["mysql", "mariadb"])?,
            chinook: value(CHINOOK).map(PathBuf::from),
            required,
            chinook_required,
        })
    }

    /// Whether tests can run on this backend.
    #[must_use]
    pub fn has(&self, backend: DbBackend) -> bool {
        backend == DbBackend::Sqlite || self.url(backend).is_some()
    }

    /// Whether a test can run on this backend; if not, says that it is skipped.
    ///
    /// # Panics
    ///
    /// When it can't run, but the backend is required.
    #[must_use]
    pub fn runs(&self, backend: DbBackend, test: &str) -> bool {
        let (name, variable) = (name_of(backend), variable_of(backend));
        if !self.has(backend) {
            assert!(!self.required.contains(&backend), "{REQUIRE} names {name}, but {variable} is not set");
            println!("skipped: {test} ({variable} is not set)");
        }
        self.has(backend)
    }

    /// The folder with the Chinook data for this test; without one, says that the test is skipped.
    ///
    /// # Panics
    ///
    /// When there is none, but it is required.
    #[must_use]
    pub fn chinook(&self, test: &str) -> Option<&Path> {
        if self.chinook.is_none() {
            assert!(!self.chinook_required, "{REQUIRE} names chinook, but {CHINOOK} is not set");
            println!("skipped: {test} ({CHINOOK} is not set)");
        }
        self.chinook.as_deref()
    }

    pub(crate) fn url(&self, backend: DbBackend) -> Option<&str> {
        match backend {
            DbBackend::Postgres => self.postgres.as_deref(),
            DbBackend::MySql => self.mysql.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn nothing_set_means_sqlite_alone() {
        let settings = read(&[("AUDIT_TEST_POSTGRES_URL", " "), (REQUIRE, "")]).unwrap();
        assert_eq!(settings, Settings::default());
        assert!(settings.has(DbBackend::Sqlite));
        assert!(!settings.runs(DbBackend::Postgres, "x"));
    }

    #[test]
    fn a_required_backend_that_is_absent_fails_its_tests() {
        let settings =
            read(&[(REQUIRE, "postgres, mysql"), ("AUDIT_TEST_MYSQL_URL", "mysql://root@h")]).unwrap();
        assert!(settings.runs(DbBackend::MySql, "x") && settings.runs(DbBackend::Sqlite, "x"));
        assert!(std::panic::catch_unwind(|| settings.runs(DbBackend::Postgres, "x")).is_err());
    }

    #[test]
    fn the_data_may_be_absent_unless_required() {
        let settings = read(&[(CHINOOK, "/data")]).unwrap();
        assert_eq!(settings.chinook("x"), Some(Path::new("/data")));
        assert_eq!(read(&[]).unwrap().chinook("x"), None);
        let required = read(&[(REQUIRE, "mysql,chinook")]).unwrap();
        assert!(std::panic::catch_unwind(|| required.runs(DbBackend::MySql, "x")).is_err());
        assert!(std::panic::catch_unwind(|| required.chinook("x").is_none()).is_err());
    }

    #[test]
    fn an_unknown_backend_is_an_error_that_names_it() {
        assert!(read(&[(REQUIRE, "postgres,oracle")]).unwrap_err().contains("\"oracle\""));
        assert!(read(&[(REQUIRE, "postgres,")]).is_err());
    }

    #[test]
    fn a_url_of_another_kind_is_an_error_that_does_not_repeat_it() {
        let error = read(&[("AUDIT_TEST_POSTGRES_URL", "mysql://root:hunter2@h")]).unwrap_err();
        assert_eq!(error, "AUDIT_TEST_POSTGRES_URL must begin with postgres://");
    }
}
