//! What can go wrong.

use std::path::PathBuf;

use sea_orm::DbErr;

use crate::script::ScriptError;

/// Why the example could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data can't be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The data isn't what it should be.
    #[error("{name}: {reason}")]
    Script {
        /// The script.
        name: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The database is in use already.
    #[error("the database already has the tables {0}; this example wants one without them")]
    NotEmpty(String),
    /// The day's work needs something that the data doesn't have.
    #[error("the data has no {0}")]
    Missing(String),
    /// The database refused something.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// Something could not be recorded.
    #[error(transparent)]
    Audit(#[from] audit_seaorm::Error),
}

impl Error {
    pub(crate) fn script(name: &str, error: &ScriptError) -> Self {
        Self::Script { name: name.to_owned(), reason: error.to_string() }
    }
}
