//! Harness of the suite: a fresh database for every test, on every backend.
//!
//! ```ignore
//! use audit_tests::db_test;
//!
//! db_test!(k2_update_is_refused, async |t| {
//!     // t: &TestDb, with the audit tables in place; t.db is the DatabaseConnection
//!     assert!(t.execute("UPDATE audit_log SET action = 'x'").await.is_err());
//! });
//! ```
//!
//! makes a module `k2_update_is_refused` of three tests, `sqlite`, `postgres` and `mysql`, so that `cargo test postgres`
//! runs one backend and `cargo test k2_` one subject. See [`db_test!`] for its forms.
//!
//! # Environment
//!
//! | variable | meaning |
//! |---|---|
//! | `AUDIT_TEST_POSTGRES_URL` | a server where databases may be created, e.g. `postgres://postgres@127.0.0.1:5432/postgres` |
//! | `AUDIT_TEST_MYSQL_URL` | the same for MySQL or MariaDB, e.g. `mysql://root@127.0.0.1:3306` |
//! | `AUDIT_TEST_CHINOOK` | a folder with `Chinook_PostgreSql_SerialPKs.sql`, for the test with real data |
//! | `AUDIT_TEST_LONG` | if set, fires last a minute, and texts are tried by the thousand |
//! | `AUDIT_TEST_REQUIRE` | what must not be skipped, e.g. `postgres,mysql,chinook` |
//!
//! The users need every right there is, since some tests try to get round the guards with them: a superuser on PostgreSQL,
//! `ALL PRIVILEGES` on MySQL. `scripts/test` sets all this up.
//!
//! SQLite always runs. A test whose server has no URL says `skipped` and passes, unless the backend is required: then it
//! fails. A value that can't be understood fails every test.
//!
//! # Databases
//!
//! Each test has its own, dropped at its end, also when it panics. What a killed run left behind goes at the start of a
//! later one, once it is an hour old. Tests may run in parallel, in one process or in many: at most
//! four at a time use the same server, so that the pools stay within its connections. PostgreSQL's are copies of a template
//! (`audit_tpl_..`), one for each build of a test program.

mod database;
mod lock;
mod settings;

use std::time::Duration;

pub use database::{Start, TestDb, options};
pub use sea_orm::DbBackend;
pub use settings::{BACKENDS, Settings, name_of};

/// A test that has not ended by then is stuck.
const LIMIT: Duration = Duration::from_secs(300);

/// Tests that use one server at the same time: four of them with two pools each stay below PostgreSQL's default of 100
/// connections.
const TESTS_PER_SERVER: usize = 4;

/// Runs one test body on one backend; what [`db_test!`] expands to.
///
/// # Panics
///
/// When the body panics or returns an error, when it is stuck, when the environment is wrong, or when the backend is
/// required and absent.
pub fn run<T: Outcome>(backend: DbBackend, start: Start, test: &str, body: impl AsyncFnOnce(&TestDb) -> T) {
    if !Settings::get().runs(backend, test) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    runtime.block_on(async {
        let _slot = match backend {
            DbBackend::Sqlite => None,
            _ => Some(lock::one_of(name_of(backend), TESTS_PER_SERVER).await),
        };
        let db = TestDb::start(backend, start).await;
        match tokio::time::timeout(LIMIT, body(&db)).await {
            Ok(outcome) => outcome.check(),
            Err(_) => panic!("{test} is stuck: no end after {} s", LIMIT.as_secs()),
        }
    });
}

/// What a test body may return: nothing, or a `Result` whose error fails the test.
pub trait Outcome {
    /// # Panics
    ///
    /// When the test has failed.
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<E: std::fmt::Debug> Outcome for Result<(), E> {
    fn check(self) {
        if let Err(error) = self {
            panic!("the test returned an error: {error:?}");
        }
    }
}

/// One test on every backend.
///
/// - `db_test!(name, async |t| { .. })`: the audit migrations have run.
/// - `db_test!(name, raw, async |t| { .. })`: the database is empty.
/// - `db_test!(name, on(sqlite, mysql), async |t| { .. })`: only there; also `raw, on(..)`.
/// - `async |t| -> Result<(), DbErr> { .. }` in each, for a body that uses `?`.
///
/// `t` is a [`&TestDb`](TestDb).
#[macro_export]
macro_rules! db_test {
    ($name:ident, raw, on($($backend:ident),+), async |$db:ident| $(-> $out:ty)? $body:block) => {
        $crate::db_test!(@module $name, Raw, [$($backend)+], $db, ($(-> $out)?), $body);
    };
    ($name:ident, on($($backend:ident),+), async |$db:ident| $(-> $out:ty)? $body:block) => {
        $crate::db_test!(@module $name, Migrated, [$($backend)+], $db, ($(-> $out)?), $body);
    };
    ($name:ident, raw, async |$db:ident| $(-> $out:ty)? $body:block) => {
        $crate::db_test!(@module $name, Raw, [sqlite postgres mysql], $db, ($(-> $out)?), $body);
    };
    ($name:ident, async |$db:ident| $(-> $out:ty)? $body:block) => {
        $crate::db_test!(@module $name, Migrated, [sqlite postgres mysql], $db, ($(-> $out)?), $body);
    };
    (@module $name:ident, $start:ident, [$($backend:ident)+], $db:ident, ($($out:tt)*), $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            // Once, whatever the number of backends: bodies are what takes long to compile.
            async fn body($db: &$crate::TestDb) $($out)* $body

            $($crate::db_test!(@test $backend, $start);)+
        }
    };
    (@test sqlite, $start:ident) => { $crate::db_test!(@test sqlite, Sqlite, $start); };
    (@test postgres, $start:ident) => { $crate::db_test!(@test postgres, Postgres, $start); };
    (@test mysql, $start:ident) => { $crate::db_test!(@test mysql, MySql, $start); };
    (@test $function:ident, $backend:ident, $start:ident) => {
        #[test]
        fn $function() {
            let test = concat!(module_path!(), "::", stringify!($function));
            $crate::run($crate::DbBackend::$backend, $crate::Start::$start, test, body);
        }
    };
}
