//! Two users work on a few bank accounts; then the audit trail is printed. Run it with `cargo run -p quickstart`.

use audit_migration::{Migrator, MigratorTrait};
use audit_seaorm::{Audit, AuditConnection, AuditContext, LogFilter, get_audit_logs, scope};
use bank_account::Model;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use sea_orm::prelude::{Decimal, Json};
use sea_orm::{ActiveModelTrait, ConnectionTrait, Database, DbErr, IntoActiveModel};
use sea_orm::{ModelTrait, Schema, Set, TransactionTrait};

/// The entity: the derive and `#[audited]` are all that auditing asks for.
#[allow(unreachable_pub, reason = "entities are public in the format that SeaORM generates")]
mod bank_account {
    use audit_seaorm::prelude::*;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "bank_account")]
    #[audit(resource = "BankAccount", module = "finance", frameworks("SOX"))]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[audit(name)]
        pub owner: String,
        #[sea_orm(column_type = "Decimal(Some((16, 2)))")]
        pub balance: Decimal,
        #[audit(mask)]
        pub iban: String,
        #[audit(exclude)]
        pub pin_hash: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("audit-quickstart-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = Database::connect(format!("sqlite://{}/bank.db?mode=rwc", folder.display())).await?;
    Migrator::up(&db, None).await?;
    db.execute(&Schema::new(db.get_database_backend()).create_table_from_entity(bank_account::Entity))
        .await?;
    let db = Audit::builder().build()?.connect(db); // from here on every statement is captured

    let ann = AuditContext::user(1).named("Ann").tenant("north branch");
    let ben = AuditContext::user(2).named("Ben").tenant("north branch").reason("complaint 4711");
    let (first, second) = scope(ann, async {
        let first = open(&db, "Ada Lovelace", 100_000, "DE89370400440532013000").await?;
        let second = open(&db, "Alan Turing", 25_000, "GB29NWBK60161331926819").await?;
        transfer(&db, &first, &second, Decimal::new(9_990, 2)).await?;
        Ok::<_, DbErr>((first, second))
    })
    .await?;
    scope(ben, async {
        // `first` and `second` are out of date by now; the entries still say what the database really held.
        let mut correction = second.into_active_model();
        correction.owner = Set("Alan M. Turing".to_owned());
        correction.iban = Set("GB33BUKB20201555555555".to_owned());
        correction.update(&db).await?;
        first.delete(&db).await
    })
    .await?;

    print_trail(&db).await?;
    db.close().await?;
    Ok(std::fs::remove_dir_all(folder)?)
}

async fn open(db: &AuditConnection, owner: &str, cents: i64, iban: &str) -> Result<Model, DbErr> {
    let account = bank_account::ActiveModel {
        owner: Set(owner.to_owned()),
        balance: Set(Decimal::new(cents, 2)),
        iban: Set(iban.to_owned()),
        pin_hash: Set("$argon2id$v=19$secret".to_owned()),
        ..Default::default()
    };
    account.insert(db).await
}

/// Both changes and both entries commit together, or none of them does.
async fn transfer(db: &AuditConnection, from: &Model, to: &Model, amount: Decimal) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    for (account, balance) in [(from, from.balance - amount), (to, to.balance + amount)] {
        let mut account = account.clone().into_active_model();
        account.balance = Set(balance);
        account.update(&transaction).await?;
    }
    transaction.commit().await
}

async fn print_trail(db: &AuditConnection) -> Result<(), Box<dyn std::error::Error>> {
    let entries = get_audit_logs(&LogFilter::new().entity("BankAccount").last_days(1))?.all(db).await?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["when", "who", "did", "to", "what changed", "why"]);
    for entry in entries.into_iter().rev() {
        let side = |value: Option<&Json>| value.map_or("-".to_owned(), ToString::to_string);
        let changes = entry.changes_json()?;
        let lines =
            changes.iter().map(|(f, c)| format!("{f}: {} -> {}", side(c.get("old")), side(c.get("new"))));
        let (name, id) = (entry.resource_name.unwrap_or_default(), entry.resource_id.unwrap_or_default());
        table.add_row([
            entry.timestamp.format("%H:%M:%S%.3f").to_string(),
            entry.actor_name.unwrap_or_default(),
            entry.action,
            format!("{name} ({id})"),
            lines.collect::<Vec<_>>().join("\n"),
            entry.reason.unwrap_or_default(),
        ]);
    }
    println!("{table}");
    Ok(())
}
