//! Texts of SQL against the planner, with SQLite as the judge: what a text has changed is in the entries, or it was
//! refused.
//!
//! `cargo +nightly fuzz run planner fuzz/corpus/planner fuzz/seeds -- -dict=fuzz/planner.dict -max_len=400`

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;

use audit_migration::{Migrator, MigratorTrait};
use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, AuditConnection, is_audit_error};
use libfuzzer_sys::{Corpus, fuzz_target};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, EntityTrait,
    QueryFilter, QueryOrder, TransactionTrait,
};
use tokio::runtime::Runtime;

mod shelf {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "shelf")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub label: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

/// A database in memory, for as long as nothing gets past a rollback.
struct Judge {
    runtime: Runtime,
    plain: DatabaseConnection,
    db: AuditConnection,
}

impl Judge {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let plain = runtime.block_on(async {
            let mut options = ConnectOptions::new("sqlite::memory:");
            options.max_connections(1).min_connections(1).sqlx_logging(false);
            let plain = Database::connect(options).await?;
            Migrator::up(&plain, None).await?;
            plain
                .execute_unprepared(
                    "CREATE TABLE shelf (id INTEGER NOT NULL PRIMARY KEY, label TEXT NOT NULL)",
                )
                .await?;
            plain.execute_unprepared("INSERT INTO shelf VALUES (1, 'one'), (2, 'two'), (3, 'three')").await?;
            Ok::<_, DbErr>(plain)
        })?;
        let db = Audit::builder().build()?.connect(plain.clone());
        Ok(Self { runtime, plain, db })
    }

    /// Whether the database is as it was, so that another text can be tried.
    async fn is_as_it_was(&self, sql: &str) -> Result<bool, DbErr> {
        let before = rows(&self.plain).await?;
        let transaction = self.db.begin().await?;
        let done = transaction.execute_unprepared(sql).await;
        if let (Ok(after), Ok(told)) = (rows(&transaction).await, told(&transaction, before.clone()).await)
            && told.as_ref() != Ok(&after)
        {
            // Refused when it had been done already: then the transaction can't be committed.
            let lost = done.is_err_and(|error| is_audit_error(&error)) && transaction.commit().await.is_err();
            assert!(lost, "{sql:?}: the entries tell {told:?}, the table is {after:?}, was {before:?}");
        } else {
            _ = transaction.rollback().await;
        }
        let (after, told) = (rows(&self.plain).await?, told(&self.plain, before.clone()).await?);
        assert_eq!(told.as_ref(), Ok(&after), "{sql:?}: committed; it was {before:?}");
        Ok(after == before)
    }
}

type Rows = BTreeMap<i64, String>;

async fn rows<C: ConnectionTrait>(db: &C) -> Result<Rows, DbErr> {
    Ok(shelf::Entity::find().all(db).await?.into_iter().map(|row| (row.id, row.label)).collect())
}

/// What the entries make of the rows.
async fn told<C: ConnectionTrait>(db: &C, mut rows: Rows) -> Result<Result<Rows, String>, DbErr> {
    let entries = audit_log::Entity::find().filter(audit_log::Column::ResourceType.eq("shelf"));
    for entry in entries.order_by_asc(audit_log::Column::Seq).all(db).await? {
        let changes = entry.changes_json().unwrap_or_default();
        let said = format!("{} {:?} {:?}", entry.action, entry.resource_id, entry.changes);
        let text = |side: &str| Some(changes.get("label")?.get(side)?.as_str()?.to_owned());
        let before = changes.get("id").and_then(|id| id.get("old")?.as_i64());
        let Some(id) = entry.resource_id.as_deref().and_then(|id| id.parse().ok()) else {
            return Ok(Err(said));
        };
        let old = rows.remove(&before.unwrap_or(id));
        if entry.action != "create" && old.is_none() || text("old").is_some_and(|text| Some(text) != old) {
            return Ok(Err(said));
        }
        if entry.action != "delete" {
            rows.insert(id, text("new").or(old).unwrap_or_default());
        }
    }
    Ok(Ok(rows))
}

thread_local! {
    /// `None` before the first text, and after one that has committed something.
    static JUDGE: RefCell<Option<Judge>> = const { RefCell::new(None) };
}

fuzz_target!(|text: &str| -> Corpus {
    // They would write files, or not end.
    const OUTSIDE: [&str; 6] = ["attach", "vacuum", "recursive", "journal", "temp_store", "blob"];
    let lower = text.to_ascii_lowercase();
    // SQLite stops at a NUL, and its driver prepares what is left for ever. Where a text may mean an audited table the lexer
    // refuses it before.
    if text.contains('\0') || OUTSIDE.iter().any(|word| lower.contains(word)) {
        return Corpus::Reject;
    }
    JUDGE.with_borrow_mut(|known| {
        let judge = known.get_or_insert_with(|| Judge::new().expect("a database in memory"));
        match judge.runtime.block_on(judge.is_as_it_was(text)) {
            Ok(true) => {}
            // A text that ends the transaction and begins its own may leave anything behind.
            Ok(false) | Err(_) => *known = None,
        }
    });
    Corpus::Keep
});
