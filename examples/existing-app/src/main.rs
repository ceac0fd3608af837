//! Loads the Chinook store, works in it for a day, and prints what the audit log has to say about that day.
//!
//! `cargo run -p existing-app` needs nothing; `cargo run -p existing-app -- --help` tells the rest.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use audit_migration::{Migrator, MigratorTrait};
use audit_seaorm::entity::audit_log;
use audit_seaorm::{LogFilter, Status, get_audit_logs};
use clap::Parser;
use comfy_table::{ContentArrangement, Table, presets};
use existing_app::Error;
use existing_app::load::{self, Data, Mode, Progress};
use sea_orm::prelude::*;
use sea_orm::{ConnectOptions, Database, QuerySelect};

/// The Chinook store with an audit log: loads it, works in it for a day, prints the day's trail.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with Chinook_PostgreSql_SerialPKs.sql from <https://github.com/lerocha/chinook-database>; without it, a
    /// made-up store of a few rows is used
    folder: Option<PathBuf>,
    /// Database without the store's tables, such as postgres://user@localhost/chinook or mysql://user@localhost/chinook;
    /// a new SQLite file in the folder for temporary files if not given
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Load the rows one by one through the hooks, so that the log begins with them
    #[arg(long)]
    recorded: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("existing-app: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    existing_app::audit()?.install()?;
    let data = arguments.folder.as_deref().map_or_else(Data::tiny, Data::read)?;
    let mode = if arguments.recorded { Mode::Recorded } else { Mode::Quiet };

    let file = std::env::temp_dir().join(format!("audit-existing-app-{}.db", std::process::id()));
    let url = arguments.database_url.unwrap_or_else(|| format!("sqlite://{}?mode=rwc", file.display()));
    let mut options = ConnectOptions::new(&url);
    options.sqlx_logging(false);
    let db = Database::connect(options).await?;
    load::create_tables(&db).await?;
    Migrator::up(&db, None).await?;

    let start = Instant::now();
    load::load(&db, &data, mode, &show_progress).await?;
    eprintln!("loaded {} rows in {:.1} s", data.rows(), start.elapsed().as_secs_f64());

    let before = last_entry(&db).await?;
    existing_app::day::work(&db).await?;
    let entries =
        get_audit_logs(&LogFilter::new())?.filter(audit_log::Column::Seq.gt(before)).all(&db).await?;
    print_trail(&entries)?;
    print_summary(&entries);
    if url.starts_with("sqlite://") && file.exists() {
        println!("The database is {}.", file.display());
    }
    Ok(db.close().await?)
}

/// A line that is written over and over, where somebody looks on; gone when all is done.
fn show_progress(progress: Progress<'_>) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let Progress { table, rows, total } = progress;
        let line = if rows < total { format!("{rows} of {total} rows: {table}") } else { String::new() };
        // Nobody misses a progress line that can't be written.
        _ = write!(out, "\r{line:60}\r");
        _ = out.flush();
    }
}

/// Number of the newest entry; 0 if there is none.
async fn last_entry(db: &DatabaseConnection) -> Result<i64, Error> {
    let newest = get_audit_logs(&LogFilter::new())?.limit(1).one(db).await?;
    Ok(newest.map_or(0, |entry| entry.seq))
}

fn print_trail(entries: &[audit_log::Model]) -> Result<(), Error> {
    let mut table = new_table(["when", "who", "did", "to", "what changed", "why"]);
    // The newest entry comes first.
    for entry in entries.iter().rev() {
        let failed = if entry.status == Status::Success.as_str() { "" } else { " (failed)" };
        let id = entry.resource_id.as_deref().unwrap_or_default();
        let name = entry.resource_name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        table.add_row([
            entry.timestamp.format("%H:%M:%S%.3f").to_string(),
            who(entry).to_owned(),
            format!("{}{failed}", entry.action),
            format!("{} {id}{name}", entry.resource_type),
            changes(entry)?,
            entry.reason.clone().or_else(|| entry.details.clone()).unwrap_or_default(),
        ]);
    }
    println!("The day, as the log tells it:\n{table}");
    Ok(())
}

fn who(entry: &audit_log::Model) -> &str {
    entry.actor_name.as_deref().unwrap_or(&entry.actor_type)
}

/// Of an update, what each field was and became; of a row that began or ended, what it held.
fn changes(entry: &audit_log::Model) -> Result<String, Error> {
    let mut lines = Vec::new();
    for (field, change) in entry.changes_json()? {
        let value = match (change.get("old"), change.get("new")) {
            (Some(old), Some(new)) => format!("{old} -> {new}"),
            (Some(Json::Null), None) | (None, Some(Json::Null)) | (None, None) => continue,
            (Some(value), None) | (None, Some(value)) => value.to_string(),
        };
        lines.push(format!("{field}: {value}"));
    }
    if entry.action == "update" {
        return Ok(lines.join("\n"));
    }
    let (whole, limit) = (lines.join(", "), 60);
    let cut: String = whole.chars().take(limit).collect();
    Ok(if cut.len() < whole.len() { format!("{cut}…") } else { whole })
}

fn print_summary(entries: &[audit_log::Model]) {
    let by = |title: &str, key: fn(&audit_log::Model) -> &str| {
        let mut counts = BTreeMap::<&str, usize>::new();
        for entry in entries {
            *counts.entry(key(entry)).or_default() += 1;
        }
        let mut table = new_table([title, "entries"]);
        for (name, count) in counts {
            table.add_row([name.to_owned(), count.to_string()]);
        }
        println!("{table}");
    };
    println!("\n{} entries:", entries.len());
    by("user", who);
    by("action", |entry| &entry.action);
    by("resource", |entry| &entry.resource_type);
    let failed: Vec<_> = entries.iter().filter(|entry| entry.status == Status::Failed.as_str()).collect();
    println!("Failed operations: {}", failed.len());
    for entry in failed {
        let resource = [Some(&entry.resource_type), entry.resource_id.as_ref(), entry.resource_name.as_ref()];
        println!(
            "- {} tried to {} {}: {}",
            who(entry),
            entry.action,
            resource.into_iter().flatten().cloned().collect::<Vec<_>>().join(" "),
            entry.details.as_deref().unwrap_or("no reason given"),
        );
    }
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(150)
        .set_header(header);
    table
}
