//! An audit that is built and never put in force: its settings count nowhere, and the log says so.

use std::process::Command;

use audit_seaorm::{Audit, Config};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, Database};
use tracing_subscriber::layer::SubscriberExt;

use crate::fixtures::{account, create_table};
use crate::log_lines::LogLines;

const ORDER: &str = "AUDIT_TEST_UNINSTALLED";

/// What a program of its own logs as a warning: the installed audit and the warning are the process's.
fn warnings_of(case: &str, url: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "uninstalled::program", "--ignored", "--nocapture"])
        .env(ORDER, format!("{case} {url}"))
        .output()
        .expect("a program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{case}: {text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("program done"), "{case}: {text}");
    text.lines().filter_map(|line| Some(line.split_once("logged ")?.1.to_owned())).collect()
}

db_test!(s9_an_audit_that_is_built_and_not_installed_is_told_once, on(sqlite), async |t| {
    create_table(t, account::Entity).await;
    let url = t.url.clone();
    let warnings = warnings_of("forgotten", &url);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("WARN") && warnings[0].contains(".install()?"), "{warnings:?}");
    for case in ["installed", "within", "without settings", "connection"] {
        assert_eq!(warnings_of(case, &url), [""; 0], "{case}");
    }
});

#[test]
#[ignore = "not a test: the program that the test above runs"]
fn program() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (case, url) = order.rsplit_once(' ').expect("an order");
    let lines = LogLines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tracing::subscriber::with_default(subscriber, || runtime.block_on(write(case, url)));
    // An entity of the suite has no hooks, and each audit that is built says so.
    let of_entity = "`#[audited]` doesn't stand on";
    let told = |line: &&String| line.starts_with("WARN") && !line.contains(of_entity);
    for line in lines.of("audit_seaorm").iter().filter(told) {
        println!("logged {line}");
    }
    println!("program done");
}

async fn write(case: &str, url: &str) {
    let db = Database::connect(url).await.expect("the database");
    let mut config = Config::default();
    config.snapshot = case != "without settings";
    let audit = Audit::builder().config(config).build().expect("an audit");
    if case == "installed" {
        audit.clone().install().expect("the first one");
    }
    for _ in 0..2 {
        let new = crate::fixtures::account("Ada", 1);
        let written = match case {
            "within" => audit.within(new.insert(&db)).await,
            "connection" => new.insert(&audit.connect(db.clone())).await,
            _ => new.insert(&db).await,
        };
        written.expect("an account");
    }
}
