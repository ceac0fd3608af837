//! Deleted rows brought back, and changes taken back: a field, a row, a transaction.
//!
//! ```
//! # mod post {
//! #     use audit_seaorm::prelude::*;
//! #     use sea_orm::entity::prelude::*;
//! #     #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
//! #     #[sea_orm(table_name = "post")]
//! #     pub struct Model { #[sea_orm(primary_key)] pub id: i64, pub title: String }
//! #     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)] pub enum Relation {}
//! #     #[audited] impl ActiveModelBehavior for ActiveModel {}
//! # }
//! # async fn example(db: audit_seaorm::AuditConnection) -> Result<(), audit_seaorm::Error> {
//! use audit_seaorm::Restore;
//!
//! let plan = Restore::deleted::<post::Entity>(7).with_children().reason("deleted by mistake").plan(&db).await?;
//! println!("{plan}"); // a dry run: what would be done, what stands against it, what can't be restored
//! if plan.conflicts().is_empty() {
//!     plan.execute(&db).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! # How
//! A plan compares what entries say with what the tables hold now, and changes nothing. [`Plan::execute`] does all of it in one
//! transaction or nothing: it locks the rows and refuses if one of them has changed since the plan. Rows come back before those that
//! refer to them, by the database's own foreign keys.
//!
//! # Audited
//! A restore goes over an [`AuditConnection`] and no other: what can't be recorded is refused there, and hooks on
//! a bare connection can't promise that. What it does is recorded as ordinary entries, whose metadata name in `restores` the entries
//! that they take back, and one more of the action `restore` or `revert` that sums it up; all share one `transaction_id`.
//!
//! # Conflicts
//! Where a later change would be overwritten, a row is gone or back, or other rows refer to one that is to go, the plan says so and isn't
//! executed. [`Plan::force`] overwrites later changes; nothing else can be forced.
//!
//! # What can't be restored
//! Masked, excluded, transformed and oversized values aren't recorded. In a row that comes back they become NULL or their default, and the
//! plan names them; where neither is possible [`Restore::set`] has to give a value, or [`Restore::set_of`] that of a child or of a row of a
//! transaction. In a row that is there they stay.
//!
//! # Limits
//! A transaction is found by its `transaction_id`: entries of hooks carry one only if the context gives it. The column has no
//! index by itself. Rows that refer to each other in a circle come back if one of the references may be NULL for a moment; otherwise the
//! database decides.

mod compose;
mod execute;
mod foreign_keys;
mod given;
mod order;
mod plan;
mod rows;
mod wanted;

use std::any::TypeId;

use audit_core::Error;
use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, PrimaryKeyTrait, Value};
use uuid::Uuid;

pub use execute::Restored;
pub use plan::{Conflict, ConflictKind, Effect, Plan, Step, StepAction, StepField, Unrestorable};

use crate::AuditConnection;
use crate::history::key_of;
use given::Given;

/// What is to be restored. Nothing is done by it: [`plan`](Self::plan) says what would be.
#[derive(Clone, Debug)]
#[must_use = "nothing is restored by a description; call `plan`"]
pub struct Restore {
    what: What,
    children: bool,
    given: Vec<Given>,
    reason: Option<String>,
    tenant: Option<String>,
}

#[derive(Clone, Debug)]
enum What {
    /// A row that was deleted.
    Deleted(Target),
    /// A row as it was at a moment.
    AsOf(Target, DateTime<Utc>),
    /// A row as an entry left it.
    After(Uuid),
    /// What an entry says, or one field of it.
    Entry(Uuid, Option<String>),
    /// Everything that a transaction did.
    Transaction(String),
}

/// Which row.
#[derive(Clone, Debug)]
enum Target {
    Key(TypeId, &'static str, Vec<(String, Value)>),
    Named(String, String),
}

impl Restore {
    fn new(what: What) -> Self {
        Self { what, children: false, given: Vec::new(), reason: None, tenant: None }
    }

    /// The row with this primary key, which was deleted.
    pub fn deleted<E: EntityTrait>(id: impl Into<<E::PrimaryKey as PrimaryKeyTrait>::ValueType>) -> Self {
        Self::new(What::Deleted(target::<E>(id.into())))
    }

    /// The same by the name of the resource and its id, as in entries.
    pub fn deleted_resource(resource: impl Into<String>, id: impl ToString) -> Self {
        Self::new(What::Deleted(Target::Named(resource.into(), id.to_string())))
    }

    /// The row with this primary key as it was at this moment. Later changes of it are what is taken back: they are no conflict.
    pub fn as_of<E: EntityTrait>(
        id: impl Into<<E::PrimaryKey as PrimaryKeyTrait>::ValueType>,
        moment: impl Into<DateTime<Utc>>,
    ) -> Self {
        Self::new(What::AsOf(target::<E>(id.into()), moment.into()))
    }

    /// The same by the name of the resource and its id, as in entries.
    pub fn resource_as_of(
        resource: impl Into<String>,
        id: impl ToString,
        moment: impl Into<DateTime<Utc>>,
    ) -> Self {
        Self::new(What::AsOf(Target::Named(resource.into(), id.to_string()), moment.into()))
    }

    /// The row of this entry as the entry left it, taking back what came later.
    pub fn to_version(entry_id: Uuid) -> Self {
        Self::new(What::After(entry_id))
    }

    /// Takes back what this entry says: a row that began is deleted, one that ended comes back, changed fields get their old values.
    pub fn revert_entry(entry_id: Uuid) -> Self {
        Self::new(What::Entry(entry_id, None))
    }

    /// Takes back the change of one field; `field` is its name in entries, an alias of it or its column.
    pub fn revert_field(entry_id: Uuid, field: impl Into<String>) -> Self {
        Self::new(What::Entry(entry_id, Some(field.into())))
    }

    /// Takes back everything that was done in this transaction; see `transaction_id` of entries.
    pub fn transaction(transaction_id: impl Into<String>) -> Self {
        Self::new(What::Transaction(transaction_id.into()))
    }

    /// Brings back also the rows that a foreign key deleted along, and the references that it set to NULL, as far as entries of
    /// the same transaction tell. Only for [`deleted`](Self::deleted).
    pub fn with_children(mut self) -> Self {
        self.children = true;
        self
    }

    /// Gives the value of a field that isn't recorded, of the row that this is about; [`set_of`](Self::set_of) gives those of other
    /// rows: of its children, or of a transaction's. `field` is its name in entries, an alias of it or its column;
    /// [`plan`](Self::plan) refuses a name that is none of these. The value counts only where no entry tells it.
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.given.push(Given { of: None, field: field.into(), value: value.into() });
        self
    }

    /// Like [`set`](Self::set), of another row: children, or one of a transaction. A conflict that asks for a value of such a row says
    /// how to call this: `set_of("account", 1, "iban", ..)`, with resource and id as in entries. [`plan`](Self::plan) refuses a row that
    /// the restore isn't about.
    pub fn set_of(
        mut self,
        resource: impl Into<String>,
        id: impl ToString,
        field: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        let of = Some((resource.into(), id.to_string()));
        self.given.push(Given { of, field: field.into(), value: value.into() });
        self
    }

    /// Says why; the context's reason if nothing is said.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Only entries of this tenant, instead of the context's. A row that is there and that somebody outside of the tenant changed
    /// last, under whatever tenant or none, isn't restored: it may be another's by now.
    pub fn tenant(mut self, tenant: impl ToString) -> Self {
        self.tenant = Some(tenant.to_string());
        self
    }

    /// Says what would be done, and does nothing.
    ///
    /// # Errors
    /// [`Error::Restore`] if there is nothing to restore: nothing is recorded of the row, it is there, there is no such entry or
    /// transaction (of the context's tenant, if it has one), everything is as it was, or a value is given of a row or field that isn't
    /// there. [`Error::Registration`] if the entity isn't audited,
    /// [`Error::Query`] if the log or a table can't be read.
    pub async fn plan(&self, db: &AuditConnection) -> Result<Plan, Error> {
        compose::plan(self, db).await
    }
}

fn target<E: EntityTrait>(id: <E::PrimaryKey as PrimaryKeyTrait>::ValueType) -> Target {
    Target::Key(TypeId::of::<E>(), std::any::type_name::<E>(), key_of::<E>(id))
}

fn refused(why: impl Into<String>) -> Error {
    Error::Restore(why.into())
}
