//! `audit_log`: one row per audited operation, its indexes, and the guards that keep it append-only.
//!
//! The table is written out here once for all backends, with identifiers of its own: a released migration must not
//! move when the entity does. The guards are plain SQL, one file per backend, for a DBA to read.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// As in `sql/mysql`.
const TRUNCATE_GUARD: &str = "audit_log_truncate_guard";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(Clone, Copy, DeriveIden)]
enum AuditLog {
    Table,
    Seq,
    Id,
    Timestamp,
    Tenant,
    ActorId,
    ActorType,
    ActorName,
    ActorEmail,
    Action,
    Module,
    ResourceType,
    ResourceId,
    ResourceName,
    Status,
    Severity,
    Changes,
    ChangedFields,
    OldData,
    NewData,
    Frameworks,
    Classification,
    IsSensitive,
    IntegrityHash,
    IpAddress,
    UserAgent,
    SessionId,
    RequestId,
    RequestData,
    Details,
    Reason,
    Metadata,
    TransactionId,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            // SeaORM already runs a migration on PostgreSQL in a transaction.
            DbBackend::Postgres => {
                manager.create_table(table(DbBackend::Postgres)).await?;
                secure(manager, include_str!("sql/postgres/audit_log_guard.sql")).await
            }
            DbBackend::Sqlite => {
                let transaction = manager.begin().await?;
                transaction.create_table(table(DbBackend::Sqlite)).await?;
                secure(&transaction, include_str!("sql/sqlite/audit_log_guard.sql")).await?;
                transaction.commit().await
            }
            DbBackend::MySql => up_mysql(manager).await,
            other => Err(unsupported(other)),
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres => run(manager, include_str!("sql/postgres/audit_log_drop.sql")).await,
            DbBackend::Sqlite => {
                let transaction = manager.begin().await?;
                run(&transaction, include_str!("sql/sqlite/audit_log_drop.sql")).await?;
                transaction.commit().await
            }
            DbBackend::MySql => run(manager, include_str!("sql/mysql/audit_log_drop.sql")).await,
            other => Err(unsupported(other)),
        }
    }
}

/// MySQL commits each DDL statement by itself, so what a failed attempt made is dropped here: a table without its
/// guards would accept everything, and be in the way of the next attempt.
async fn up_mysql(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    // Else the clean-up could not tell somebody else's table from ours.
    if manager.has_table(TRUNCATE_GUARD).await? {
        return Err(DbErr::Migration(format!("the table `{TRUNCATE_GUARD}` exists already")));
    }
    manager.create_table(table(DbBackend::MySql)).await?;
    let Err(error) = secure(manager, include_str!("sql/mysql/audit_log_guard.sql")).await else {
        return Ok(());
    };
    match run(manager, include_str!("sql/mysql/audit_log_drop.sql")).await {
        Ok(()) => Err(error),
        Err(leftover) => {
            Err(DbErr::Migration(format!("{error}; then, dropping the unguarded table: {leftover}")))
        }
    }
}

/// Indexes and guards.
async fn secure(manager: &SchemaManager<'_>, guards: &str) -> Result<(), DbErr> {
    for index in indexes(manager.get_database_backend()) {
        manager.create_index(index).await?;
    }
    run(manager, guards).await
}

async fn run(manager: &SchemaManager<'_>, script: &str) -> Result<(), DbErr> {
    manager.get_connection().execute_unprepared(script).await.map(|_| ())
}

fn unsupported(backend: DbBackend) -> DbErr {
    DbErr::BackendNotSupported { db: backend.as_str(), ctx: "audit_log migration" }
}

fn table(backend: DbBackend) -> TableCreateStatement {
    use AuditLog as A;
    let types = Types(backend);
    let mut table = Table::create();
    table
        .table(A::Table)
        .col(types.sequence(A::Seq).primary_key())
        .col(types.uuid(A::Id).not_null().unique_key())
        .col(types.moment(A::Timestamp).not_null())
        .col(types.name(A::Tenant, 255))
        .col(types.name(A::ActorId, 255))
        .col(types.name(A::ActorType, 32).not_null())
        .col(types.name(A::ActorName, 255))
        .col(types.name(A::ActorEmail, 320))
        .col(types.name(A::Action, 64).not_null())
        .col(types.name(A::Module, 100))
        .col(types.name(A::ResourceType, 255).not_null())
        .col(types.name(A::ResourceId, 1024))
        .col(types.text(A::ResourceName))
        .col(types.name(A::Status, 16).not_null())
        .col(types.name(A::Severity, 16).not_null())
        .col(types.text(A::Changes))
        .col(types.text(A::ChangedFields))
        .col(types.text(A::OldData))
        .col(types.text(A::NewData))
        .col(types.text(A::Frameworks))
        .col(types.name(A::Classification, 16).not_null())
        .col(ColumnDef::new(A::IsSensitive).boolean().not_null())
        .col(types.hash(A::IntegrityHash))
        .col(types.name(A::IpAddress, 45))
        .col(types.text(A::UserAgent))
        .col(types.name(A::SessionId, 255))
        .col(types.name(A::RequestId, 255))
        .col(types.text(A::RequestData))
        .col(types.text(A::Details))
        .col(types.text(A::Reason))
        .col(types.text(A::Metadata))
        .col(types.name(A::TransactionId, 64));
    match backend {
        // Binary collation: "Ann" and "ann" are different actors, and "é" is not "e".
        DbBackend::MySql => {
            table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
        }
        // The guard against INSERT OR REPLACE can't tell an explicit seq of -1 from none (see there).
        DbBackend::Sqlite => {
            table.check(Check::named("audit_log_seq", Expr::cust("seq > 0")));
        }
        _ => {}
    }
    table
}

/// Each index costs every audited write, so there are three: the history of one resource, what one actor did, and what
/// happened in one tenant, each in order. A period of time is found by the ids, whose version 7 begins with the time.
fn indexes(backend: DbBackend) -> [IndexCreateStatement; 3] {
    use AuditLog as A;
    let index = |name: &str| Index::create().name(name).table(A::Table).take();

    let mut resource = index("idx_audit_log_resource");
    resource.col(A::ResourceType);
    if backend == DbBackend::MySql {
        // InnoDB's limit is 3072 bytes, 4 to a character: 255 + 255 characters and the number's 8 bytes stay below it.
        resource.col((A::ResourceId, 255));
    } else {
        resource.col(A::ResourceId);
    }
    resource.col(A::Seq);

    let of_some = |name: &str, column: A| {
        let mut index = index(name);
        index.col(column).col(A::Seq);
        // MySQL has no partial indexes.
        if backend != DbBackend::MySql {
            index.and_where(Expr::col(column).is_not_null());
        }
        index
    };
    let actor = of_some("idx_audit_log_actor", A::ActorId);
    let tenant = of_some("idx_audit_log_tenant", A::Tenant);

    [resource, actor, tenant]
}

/// Column types that differ from backend to backend; what SeaORM's `Uuid`, `DateTimeUtc`, `String` and `Vec<u8>`
/// read and write there.
struct Types(DbBackend);

impl Types {
    /// Assigned by the database as the entry is written, while the row that it is about is locked: the entries of one
    /// row are in the order of its changes, whatever the clocks of the application's servers say.
    fn sequence(&self, name: AuditLog) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        match self.0 {
            // ALWAYS: no statement chooses its own place in the order.
            DbBackend::Postgres => column.custom("bigint GENERATED ALWAYS AS IDENTITY"),
            DbBackend::Sqlite => column.integer().auto_increment(),
            _ => column.big_integer().not_null().auto_increment(),
        };
        column
    }

    fn uuid(&self, name: AuditLog) -> ColumnDef {
        match self.0 {
            // 16 bytes. SeaQuery's own type would be called `uuid_text`, though what is stored is no text.
            DbBackend::Sqlite => ColumnDef::new(name).blob().take(),
            _ => ColumnDef::new(name).uuid().take(),
        }
    }

    /// Microseconds, UTC.
    fn moment(&self, name: AuditLog) -> ColumnDef {
        match self.0 {
            // Not `timestamp`, which ends in 2038 and is turned to the reader's time zone.
            DbBackend::MySql => ColumnDef::new(name).custom("datetime(6)").take(),
            DbBackend::Sqlite => ColumnDef::new(name).text().take(),
            _ => ColumnDef::new(name).custom("timestamp(6) with time zone").take(),
        }
    }

    /// Text of so many characters. PostgreSQL has no use for a limit, which costs a call for each column of each row;
    /// the library cuts what is longer.
    fn name(&self, name: AuditLog, limit: u32) -> ColumnDef {
        match self.0 {
            DbBackend::Postgres => ColumnDef::new(name).text().take(),
            _ => ColumnDef::new(name).string_len(limit).take(),
        }
    }

    /// Text without limit. JSON too is kept as text: what is hashed is the exact bytes that readers get.
    fn text(&self, name: AuditLog) -> ColumnDef {
        match self.0 {
            // `text` would end at 65,535 bytes.
            DbBackend::MySql => ColumnDef::new(name).custom("longtext").take(),
            _ => ColumnDef::new(name).text().take(),
        }
    }

    /// 32 bytes.
    fn hash(&self, name: AuditLog) -> ColumnDef {
        match self.0 {
            DbBackend::MySql => ColumnDef::new(name).binary_len(32).take(),
            _ => ColumnDef::new(name).blob().take(),
        }
    }
}
