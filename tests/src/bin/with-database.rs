//! Runs a program with a database of its own, which is dropped afterwards:
//! `with-database <sqlite|postgres|mysql> <program> [argument]..`, where `{url}` in an argument stands for the database's address.

use std::process::{Command, ExitCode};

use audit_tests::{BACKENDS, TestDb, name_of};

const USAGE: &str = "usage: with-database <sqlite|postgres|mysql> <program> [argument].., with `{url}` for the database's address";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let backend =
        arguments.next().and_then(|name| BACKENDS.into_iter().find(|known| name_of(*known) == name));
    let (Some(backend), Some(program)) = (backend, arguments.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("with-database: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let database = runtime.block_on(TestDb::raw(backend));
    let arguments = arguments.map(|argument| argument.replace("{url}", &database.url));
    let status = match Command::new(&program).args(arguments).status() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("with-database: {program}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
