//! The Chinook store, an application that was there before its audit log.
//!
//! `entities` is what `sea-orm-cli generate entity` wrote. Two lines were added to each: `audit_seaorm::Auditable` among
//! the derives, and `#[audit_seaorm::audited]` on the `impl ActiveModelBehavior`. A few fields say more: what names the
//! row, and what must not be stored. [`audit`] is the rest of it; nothing in [`day`], the application, writes to the log
//! except where there is no row to be changed.

pub mod day;
#[allow(missing_docs, reason = "as it was generated")]
pub mod entities;
mod error;
pub mod load;
pub mod script;

use audit_seaorm::Audit;
pub use error::Error;

/// The tenant that everybody works for.
pub const TENANT: &str = "chinook";

/// What of the store is audited: all of it.
///
/// # Errors
/// [`Error::Audit`] if the entities' attributes contradict each other.
pub fn audit() -> Result<Audit, Error> {
    Ok(Audit::builder().register_module("existing_app::entities").build()?)
}
