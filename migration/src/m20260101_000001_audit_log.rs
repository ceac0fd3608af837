//! `audit_log`: one row per audited operation, its indexes, and the guards that keep it append-only.
//!
//! The table is written out here once for all backends, with identifiers of its own: a released migration must not
//! move when the entity does. The guards are in [`append_only`](crate::append_only).

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::append_only::AppendOnly;
use crate::types::Types;

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

const TABLE: AppendOnly = AppendOnly { name: "audit_log", table, indexes };

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        TABLE.up(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        TABLE.down(manager).await
    }
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
fn indexes(backend: DbBackend) -> Vec<IndexCreateStatement> {
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

    vec![resource, actor, tenant]
}
