//! The README's examples: what it shows is what runs here, and what it prints is what came out.

use std::cell::RefCell;

use audit_seaorm::{Audit, AuditConnection, AuditContext};
use audit_tests::db_test;
use sea_orm::{ConnectionTrait, DatabaseConnection, Schema};

/// The entity of all examples.
mod bank_account {
    #![allow(
        unreachable_pub,
        missing_docs,
        reason = "entities are public in the format that SeaORM generates"
    )]

    use audit_seaorm::prelude::*;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)] // 1: describes the fields
    #[sea_orm(table_name = "bank_account")]
    #[audit(module = "finance", frameworks("SOX"), reads)] // optional, like every `#[audit(..)]` below
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[audit(name)] // names the resource in the trail
        pub owner: String,
        #[sea_orm(column_type = "Decimal(Some((16, 2)))")]
        pub balance: Decimal,
        #[audit(mask)] // a change is recorded, the value is not
        pub iban: String,
        #[audit(exclude)] // never recorded
        pub pin_hash: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    #[audited] // 2: the hooks, for connections that aren't wrapped
    impl ActiveModelBehavior for ActiveModel {}
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

tokio::task_local! {
    /// What an example prints.
    static SHOWN: RefCell<String>;
}

macro_rules! println {
    ($($text:tt)*) => {{
        let text = format!($($text)*);
        SHOWN.with(|shown| shown.borrow_mut().extend([text.as_str(), "\n"]));
    }};
}

async fn shown(example: impl Future<Output = Outcome<()>>) -> String {
    let example = async {
        example.await.expect("the example runs");
        SHOWN.with(RefCell::take)
    };
    SHOWN.scope(RefCell::default(), example).await
}

async fn migrate(db: DatabaseConnection) -> Outcome<()> {
    use audit_migration::{Migrator, MigratorTrait};
    Migrator::up(&db, None).await?;
    Ok(())
}

async fn first_steps(db: DatabaseConnection) -> Outcome<(Audit, AuditConnection)> {
    use audit_seaorm::prelude::*;
    use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel, TransactionTrait, prelude::Decimal};

    let audit = Audit::builder().config(Config::default()).build()?; // or `Config::from_file("app.toml")?`
    let db = audit.connect(db); // captures every statement

    scope(AuditContext::user(42).named("Ann").tenant("acme"), async {
        let account = bank_account::ActiveModel {
            owner: Set("Ada Lovelace".into()),
            balance: Set(Decimal::new(100_000, 2)),
            iban: Set("DE89370400440532013000".into()),
            pin_hash: Set("$argon2id$v=19$..".into()),
            ..Default::default()
        };
        let account = account.insert(&db).await?;

        let transaction = db.begin().await?;
        let mut account = account.into_active_model();
        account.balance = Set(Decimal::new(90_010, 2));
        account.update(&transaction).await?;
        transaction.commit().await
    })
    .await?;

    let trail = get_audit_logs(&LogFilter::new().entity("bank_account").entity_id(1))?.all(&db).await?;
    assert_eq!(trail[0].changes.as_deref(), Some(r#"{"balance":{"old":"1000.00","new":"900.10"}}"#));
    Ok((audit, db))
}

async fn reads(audit: &Audit, db: AuditConnection) -> Outcome<()> {
    use audit_seaorm::prelude::*;
    use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

    let rich = bank_account::Entity::find().filter(bank_account::Column::Balance.gt(500)).all(&db).await?;
    audit.flush().await?; // reads are written in batches, in the background; here we wait for them
    for read in audit_query::Entity::find().all(&db).await? {
        println!("{} {}", read.query_type, read.resource_type);
        println!("filters {}", read.filters.unwrap_or_default());
        println!(
            "fields {}, rows {}",
            read.fields.unwrap_or_default(),
            read.record_count.unwrap_or_default()
        );
    }
    assert_eq!(rich.len(), 1);
    Ok(())
}

async fn other_records(db: AuditConnection) -> Outcome<()> {
    use audit_seaorm::{EventKind, Export, LoginAttempt, Severity, SystemEvent, Violation, ViolationStatus};

    let service = db.service();
    service
        .log_export(Export::new("csv", "bank_account").record_count(10).file("/tmp/export.csv", 1024))
        .await?;
    service.log_login(LoginAttempt::failed("ann", "wrong password")).await?;
    service.log_system_event(SystemEvent::new(EventKind::Error, "disk full").here()).await?;
    let violation = Violation::new("unauthorized_access", "no right to account 2").severity(Severity::High);
    if let Some(id) = service.log_violation(violation).await? {
        service.set_status(id, ViolationStatus::Resolved, Some("a test account")).await?;
    }

    use audit_seaorm::{PageRequest, RecordFilter, RecordReader};

    let violations = RecordReader::<Violation>::for_tenant("acme");
    let resolved =
        RecordFilter::<Violation>::new().severity(Severity::High).status(ViolationStatus::Resolved);
    let page = violations.page(&db, &resolved, &PageRequest::new()).await?;
    let handling = violations.handling(&db, page.rows.iter().map(|violation| violation.id)).await?;
    for violation in &page.rows {
        println!(
            "{}: {}, {}",
            violation.violation_type, violation.description, handling[&violation.id].status
        );
    }
    Ok(())
}

async fn asking(db: AuditConnection) -> Outcome<()> {
    use audit_seaorm::stats::{Period, StatisticsRequest};
    use audit_seaorm::{LogFilter, LogReader, PageRequest};

    let reader = LogReader::for_tenant("acme"); // nothing leads out of the tenant
    let filter = LogFilter::new().actor(42).module("finance").last_days(7).search("lovelace");
    let page = reader.page(&db, &filter, &PageRequest::new().page_size(20)).await?;
    for entry in &page.rows {
        let (who, what) = (entry.actor_name.as_deref(), entry.resource_name.as_deref());
        println!("{} {} {}", who.unwrap_or("-"), entry.action, what.unwrap_or("-"));
    }
    let next = page.pagination.next_cursor; // for `PageRequest::cursor`: opaque, and stable while rows arrive

    let berlin = chrono::FixedOffset::east_opt(3600).unwrap(); // or any other `chrono::TimeZone`
    let request = StatisticsRequest::new(Period::last_days(30, &berlin)?);
    let figures = reader.statistics(&db, &request).await?;
    println!("{}", serde_json::to_string(&figures.statistics)?);
    assert_eq!(next, None);
    Ok(())
}

async fn as_it_was(db: AuditConnection) -> Outcome<()> {
    use audit_seaorm::AuditedEntity;
    use chrono::{TimeDelta, Utc};

    for version in bank_account::Entity::history(1).all(&db).await? {
        let Some(change) = version.change() else { continue };
        println!("{}: balance {:?}, iban {:?}", change.action, version.get("balance"), version.get("iban"));
    }
    let moment = Utc::now() - TimeDelta::days(1);
    let was = bank_account::Entity::as_of(moment).one(&db, 1).await?;
    let difference = bank_account::Entity::history(1).diff_between(&db, moment, Utc::now()).await?;
    assert!(was.is_none() && difference.exists_after);
    Ok(())
}

async fn back_again(db: AuditConnection) -> Outcome<()> {
    use audit_seaorm::Restore;
    use sea_orm::EntityTrait;

    bank_account::Entity::delete_by_id(1).exec(&db).await?;

    let restore = Restore::deleted::<bank_account::Entity>(1).with_children().reason("deleted by mistake");
    println!("{}", restore.plan(&db).await?); // nothing has been done yet

    let restore = restore.set("iban", "DE89370400440532013000").set("pin_hash", "$argon2id$v=19$..");
    restore.plan(&db).await?.execute(&db).await?; // all or nothing; later changes are conflicts, unless it is forced
    assert!(bank_account::Entity::find_by_id(1).one(&db).await?.is_some());
    Ok(())
}

fn new_account(owner: &str) -> bank_account::ActiveModel {
    use sea_orm::{ActiveValue::Set, prelude::Decimal};
    bank_account::ActiveModel {
        owner: Set(owner.into()),
        balance: Set(Decimal::ZERO),
        iban: Set("DE02120300000000202051".into()),
        pin_hash: Set("$argon2id$v=19$..".into()),
        ..Default::default()
    }
}

async fn tested(db: AuditConnection) -> Outcome<()> {
    use sea_orm::ActiveModelTrait;

    use audit_seaorm::prelude::*;
    use audit_seaorm::testing;

    let work = scope(AuditContext::user(42), new_account("Grace Hopper").insert(&db)); // an active model, made by a function of yours
    let (account, seen) = testing::capture(work).await;
    seen.only().assert_action("create").assert_actor("42");
    account?;
    Ok(())
}

async fn suspicious(audit: &Audit, db: AuditConnection, secret: &str) -> Outcome<()> {
    use audit_seaorm::Severity;
    use audit_seaorm::alerts::{AlertWorker, Route, Webhook};
    use audit_seaorm::detect::Detector;

    let detector = Detector::from_config(audit.config())?.start(db.clone()); // the rules of `[audit.rules]`
    let webhook = Webhook::signed("https://example.org/alerts", secret).build()?;
    let route = Route::new("on-call", webhook).at_least(Severity::High);
    let alerts = AlertWorker::builder().route(route).build()?.start(db.clone());
    alerts.stop().await;
    detector.stop().await;
    Ok(())
}

async fn coverage(db: AuditConnection) -> Outcome<()> {
    use audit_seaorm::Audit;

    let audit = Audit::builder()
        .waive("session", "no business data; rows live for an hour") // or `[audit.waivers]`, or `#[audit(skip, reason = "..")]`
        .build()?;
    println!("{}", audit.coverage(&db).await?); // each table: audited, waived with its reason, or NOT COVERED
    audit.require_coverage(&db).await?; // at start-up: fails, and says for each gap what to do
    Ok(())
}

const README: &str = include_str!("../../../README.md");

db_test!(the_readme_runs_and_prints_what_it_shows, raw, async |t| {
    let table = Schema::new(t.backend).create_table_from_entity(bank_account::Entity);
    t.db.execute(&table).await.unwrap();
    migrate(t.db.clone()).await.unwrap();
    let (audit, db) = first_steps(t.db.clone()).await.unwrap();
    let db = db.with_context(AuditContext::user(42).named("Ann").tenant("acme"));
    let read = shown(reads(&audit, db.clone())).await;
    // Where there is no RETURNING, SeaORM has read back the row that it wrote, twice.
    let own = read.match_indices("select ").nth(t.pick(0, 0, 2)).map_or("", |(at, _)| &read[at..]);
    let mut printed = vec![own.to_owned(), shown(asking(db.clone())).await];
    printed.push(shown(other_records(db.clone())).await);
    printed.push(shown(as_it_was(db.clone())).await);
    printed.push(shown(back_again(db.clone())).await);
    for text in printed {
        assert!(
            README.contains(&format!("```text\n{}\n```", text.trim_end())),
            "the README doesn't show\n{text}"
        );
    }
    shown(suspicious(&audit, db.clone(), "a secret of at least 32 characters")).await;
    shown(tested(db.clone())).await;
    let report = shown(coverage(db)).await;
    assert!(report.contains("audited as bank_account"), "{report}");
});

/// A text of Rust without what formatting makes of it.
fn bare(text: &str) -> String {
    let bare: String = text.split_whitespace().collect();
    bare.replace(",)", ")").replace(",}", "}")
}

#[test]
fn the_readme_shows_nothing_that_does_not_run_here() {
    let here = bare(include_str!("readme.rs"));
    let mut examples = 0;
    for (before, after) in README.match_indices("```rust\n").map(|(at, _)| README.split_at(at)) {
        if before.trim_end().ends_with("-->") {
            continue;
        }
        let example =
            after.split("```").nth(1).and_then(|text| text.strip_prefix("rust")).expect("an example");
        assert!(here.contains(&bare(example)), "{example}");
        examples += 1;
    }
    assert!(examples >= 10, "{examples}");
}
