//! Column types that differ from backend to backend.
//!
//! **Invariant:** nothing here changes once a release has used it; a later migration that needs something else gets something
//! of its own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// What SeaORM's `Uuid`, `DateTimeUtc`, `String` and `Vec<u8>`
/// read and write there.
#[derive(Clone, Copy)]
pub(crate) struct Types(pub(crate) DbBackend);

impl Types {
    /// Assigned by the database as the entry is written, while the row that it is about is locked: the entries of one
    /// row are in the order of its changes, whatever the clocks of the application's servers say.
    pub(crate) fn sequence(&self, name: impl IntoIden) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        match self.0 {
            // ALWAYS: no statement chooses its own place in the order.
            DbBackend::Postgres => column.custom("bigint GENERATED ALWAYS AS IDENTITY"),
            DbBackend::Sqlite => column.integer().auto_increment(),
            _ => column.big_integer().not_null().auto_increment(),
        };
        column
    }

    pub(crate) fn uuid(&self, name: impl IntoIden) -> ColumnDef {
        match self.0 {
            // 16 bytes. SeaQuery's own type would be called `uuid_text`, though what is stored is no text.
            DbBackend::Sqlite => ColumnDef::new(name).blob().take(),
            _ => ColumnDef::new(name).uuid().take(),
        }
    }

    /// Microseconds, UTC.
    pub(crate) fn moment(&self, name: impl IntoIden) -> ColumnDef {
        match self.0 {
            // Not `timestamp`, which ends in 2038 and is turned to the reader's time zone.
            DbBackend::MySql => ColumnDef::new(name).custom("datetime(6)").take(),
            DbBackend::Sqlite => ColumnDef::new(name).text().take(),
            _ => ColumnDef::new(name).custom("timestamp(6) with time zone").take(),
        }
    }

    /// Text of so many characters. PostgreSQL has no use for a limit, which costs a call for each column of each row;
    /// the library cuts what is longer.
    pub(crate) fn name(&self, name: impl IntoIden, limit: u32) -> ColumnDef {
        match self.0 {
            DbBackend::Postgres => ColumnDef::new(name).text().take(),
            _ => ColumnDef::new(name).string_len(limit).take(),
        }
    }

    /// Text without limit. JSON too is kept as text: what is hashed is the exact bytes that readers get.
    pub(crate) fn text(&self, name: impl IntoIden) -> ColumnDef {
        match self.0 {
            // `text` would end at 65,535 bytes.
            DbBackend::MySql => ColumnDef::new(name).custom("longtext").take(),
            _ => ColumnDef::new(name).text().take(),
        }
    }

    /// 32 bytes.
    pub(crate) fn hash(&self, name: impl IntoIden) -> ColumnDef {
        match self.0 {
            DbBackend::MySql => ColumnDef::new(name).binary_len(32).take(),
            _ => ColumnDef::new(name).blob().take(),
        }
    }

    /// The columns of a record family: those that all have, around its own.
    pub(crate) fn record(&self, own: impl IntoIterator<Item = ColumnDef>) -> Vec<ColumnDef> {
        let mut columns = vec![
            self.moment("timestamp").not_null().take(),
            self.name("tenant", 255),
            self.name("actor_id", 255),
            self.name("actor_type", 32).not_null().take(),
            self.name("actor_name", 255),
            self.name("actor_email", 320),
        ];
        columns.extend(own);
        columns.extend([
            self.hash("integrity_hash"),
            self.name("ip_address", 45),
            self.text("user_agent"),
            self.name("session_id", 255),
            self.name("request_id", 255),
            self.text("reason"),
            self.text("metadata"),
            self.name("transaction_id", 64),
        ]);
        columns
    }

    pub(crate) fn required_name(&self, name: impl IntoIden, limit: u32) -> ColumnDef {
        self.name(name, limit).not_null().take()
    }

    pub(crate) fn required_text(&self, name: impl IntoIden) -> ColumnDef {
        self.text(name).not_null().take()
    }

    pub(crate) fn flag(&self, name: impl IntoIden) -> ColumnDef {
        ColumnDef::new(name).boolean().not_null().take()
    }

    pub(crate) fn number(&self, name: impl IntoIden) -> ColumnDef {
        ColumnDef::new(name).big_integer().take()
    }
}
