//! `audit_query`: one row per recorded read, its indexes, and the guards that keep it append-only, as those of `audit_log`.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::append_only::AppendOnly;
use crate::types::Types;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(Clone, Copy, DeriveIden)]
enum AuditQuery {
    Table,
    Seq,
    Id,
    Timestamp,
    Tenant,
    ActorId,
    ActorType,
    ActorName,
    ActorEmail,
    QueryType,
    Module,
    ResourceType,
    Filters,
    Fields,
    RecordCount,
    DurationUs,
    Status,
    Frameworks,
    Classification,
    IsSensitive,
    IntegrityHash,
    IpAddress,
    UserAgent,
    SessionId,
    RequestId,
    Details,
    Reason,
    Metadata,
    TransactionId,
}

const TABLE: AppendOnly = AppendOnly { name: "audit_query", table, indexes };

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
    use AuditQuery as A;
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
        .col(types.name(A::QueryType, 16).not_null())
        .col(types.name(A::Module, 100))
        .col(types.name(A::ResourceType, 255).not_null())
        .col(types.text(A::Filters))
        .col(types.text(A::Fields))
        .col(ColumnDef::new(A::RecordCount).big_integer())
        .col(ColumnDef::new(A::DurationUs).big_integer().not_null())
        .col(types.name(A::Status, 16).not_null())
        .col(types.text(A::Frameworks))
        .col(types.name(A::Classification, 16).not_null())
        .col(ColumnDef::new(A::IsSensitive).boolean().not_null())
        .col(types.hash(A::IntegrityHash))
        .col(types.name(A::IpAddress, 45))
        .col(types.text(A::UserAgent))
        .col(types.name(A::SessionId, 255))
        .col(types.name(A::RequestId, 255))
        .col(types.text(A::Details))
        .col(types.text(A::Reason))
        .col(types.text(A::Metadata))
        .col(types.name(A::TransactionId, 64));
    match backend {
        DbBackend::MySql => {
            table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
        }
        // The guard against INSERT OR REPLACE can't tell an explicit seq of -1 from none.
        DbBackend::Sqlite => {
            table.check(Check::named("audit_query_seq", Expr::cust("seq > 0")));
        }
        _ => {}
    }
    table
}

/// Who looked at this, and what did this one look at, each in order.
fn indexes(backend: DbBackend) -> Vec<IndexCreateStatement> {
    use AuditQuery as A;
    let index = |name: &str| Index::create().name(name).table(A::Table).take();
    let mut resource = index("idx_audit_query_resource");
    resource.col(A::ResourceType).col(A::Seq);
    let of_some = |name: &str, column: A| {
        let mut index = index(name);
        index.col(column).col(A::Seq);
        // MySQL has no partial indexes.
        if backend != DbBackend::MySql {
            index.and_where(Expr::col(column).is_not_null());
        }
        index
    };
    let actor = of_some("idx_audit_query_actor", A::ActorId);
    let tenant = of_some("idx_audit_query_tenant", A::Tenant);
    vec![resource, actor, tenant]
}
