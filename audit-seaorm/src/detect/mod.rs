//! Suspicious activity: rules over the log, evaluated by a worker, whose findings are violations.
//!
//! ```no_run
//! # async fn start(db: sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
//! use audit_seaorm::Severity;
//! use audit_seaorm::detect::{Check, Detector, Kind, Rule, Subject};
//! use std::time::Duration;
//!
//! let mut rules = Rule::defaults();
//! rules.push(Rule::new("hasty_approvals", Severity::Medium, Check::Burst {
//!     of: Kind::Action("approve".into()), per: Subject::Actor, threshold: 20, window: Duration::from_secs(60),
//! }));
//! let worker = Detector::new(rules)?.start(db); // once, where the program starts
//! worker.stop().await;
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//! Each record is looked at once, whenever it was committed, and each finding makes one violation: places, states and violations are
//! written in one transaction, so a worker that is killed loses nothing and says nothing twice. Workers in several processes
//! take turns.
//!
//! Records are looked at in the order in which they are seen, by time within a batch; what comes later than that by the whole
//! length of a rule's window is looked at, but too late for that window.

mod observe;
mod states;
mod worker;

pub use audit_core::detect::{
    Attribute, Check, Finding, Kind, Observation, Rule, Source, State, Subject, Text,
};
pub use worker::{Detected, Detector};
