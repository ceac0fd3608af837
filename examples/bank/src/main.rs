//! A day at the bank, and then all that is on record of it. Run it with `cargo run -p bank`.

use audit_seaorm::entity::{
    audit_export, audit_login_attempt, audit_query, audit_transition, audit_violation,
};
use audit_seaorm::{AuditConnection, LogFilter, get_audit_logs, status_of};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use sea_orm::prelude::{ChronoDateTimeUtc, Json};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let db = bank::open(&format!("sqlite://{}/bank.db?mode=rwc", folder.path().display())).await?;
    bank::story::tell(&db, folder.path()).await?;

    print_logins(&db).await?;
    print_entries(&db).await?;
    print_reads(&db).await?;
    print_exports(&db).await?;
    print_violations(&db).await
}

type Printed = Result<(), Box<dyn std::error::Error>>;

async fn print_logins(db: &AuditConnection) -> Printed {
    let mut table = new_table(["when", "user", "result", "why", "from"]);
    let order = audit_login_attempt::Column::Seq;
    for login in audit_login_attempt::Entity::find().order_by_asc(order).all(db).await? {
        let [why, from] = [login.failure_reason, login.ip_address].map(Option::unwrap_or_default);
        table.add_row([time(login.timestamp), login.username, login.status, why, from]);
    }
    print("Who tried to log in", &table);
    Ok(())
}

async fn print_entries(db: &AuditConnection) -> Printed {
    let mut table = new_table(["when", "who", "did", "to", "what changed", "class", "transaction"]);
    let entries = get_audit_logs(&LogFilter::new().tenant(bank::story::TENANT))?.all(db).await?;
    for entry in entries.into_iter().rev() {
        let side = |change: &Json, side| change.get(side).map_or("-".to_owned(), ToString::to_string);
        let changes = entry.changes_json()?;
        let changes = changes.iter().map(|(f, c)| format!("{f}: {} -> {}", side(c, "old"), side(c, "new")));
        let changes = changes.collect::<Vec<_>>().join("\n");
        let to = [Some(entry.resource_type), entry.resource_name];
        let to = to.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let frameworks = if entry.frameworks.is_some() { " SOX" } else { "" };
        let transaction = entry.transaction_id.unwrap_or_default();
        table.add_row([
            time(entry.timestamp),
            entry.actor_name.unwrap_or_default(),
            entry.action,
            to,
            changes,
            entry.classification + frameworks,
            // The end of the id tells one from another.
            transaction.get(transaction.len().saturating_sub(4)..).unwrap_or_default().to_owned(),
        ]);
    }
    print("What was done", &table);
    Ok(())
}

async fn print_reads(db: &AuditConnection) -> Printed {
    let mut table = new_table(["when", "who", "read", "where", "rows"]);
    for read in audit_query::Entity::find().order_by_asc(audit_query::Column::Seq).all(db).await? {
        let rows = read.record_count.map(|count| count.to_string());
        let [who, filters, rows] = [read.actor_name, read.filters, rows].map(Option::unwrap_or_default);
        table.add_row([time(read.timestamp), who, read.resource_type, filters, rows]);
    }
    print("Who looked", &table);
    Ok(())
}

async fn print_exports(db: &AuditConnection) -> Printed {
    let mut table = new_table(["when", "who", "what", "rows", "bytes", "fields", "fetched by"]);
    for export in audit_export::Entity::find().all(db).await? {
        let fetched = LogFilter::new().entity("audit_export").entity_id(export.id).action("download");
        let fetched = get_audit_logs(&fetched)?.all(db).await?;
        let fetched: Vec<String> = fetched.into_iter().filter_map(|entry| entry.actor_name).collect();
        let [rows, bytes] = [export.record_count, export.file_size]
            .map(|number| number.map(|number| number.to_string()).unwrap_or_default());
        let what = format!("{} as {}", export.resource_type, export.format);
        let [who, fields] = [export.actor_name, export.fields].map(Option::unwrap_or_default);
        table.add_row([time(export.timestamp), who, what, rows, bytes, fields, fetched.join(", ")]);
    }
    print("What left the bank", &table);
    Ok(())
}

async fn print_violations(db: &AuditConnection) -> Printed {
    for violation in audit_violation::Entity::find().all(db).await? {
        let status = status_of(db, violation.id).await?;
        let who = violation.actor_name.unwrap_or_default();
        let mut table = new_table(["when", "who", "status", "said"]);
        table.add_row([time(violation.timestamp), who, "open".to_owned(), violation.description]);
        let steps = audit_transition::Entity::find()
            .filter(audit_transition::Column::RecordId.eq(violation.id))
            .order_by_asc(audit_transition::Column::Step);
        for step in steps.all(db).await? {
            let [who, notes] = [step.actor_name, step.notes].map(Option::unwrap_or_default);
            table.add_row([time(step.timestamp), who, step.status, notes]);
        }
        let (kind, severity) = (violation.violation_type, violation.severity);
        print(&format!("Violation: {kind}, {severity}, now {}", status.status), &table);
        println!("{}", violation.details.unwrap_or_default());
    }
    Ok(())
}

fn time(time: ChronoDateTimeUtc) -> String {
    time.format("%H:%M:%S%.3f").to_string()
}

fn print(title: &str, table: &Table) {
    println!("\n{title}\n{table}");
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(150)
        .set_header(header);
    table
}
