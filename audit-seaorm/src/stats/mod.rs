//! Statistics: totals, and counts by functional area, status, severity, user, day and action.
//!
//! ```no_run
//! # async fn ask(db: &sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
//! use audit_seaorm::LogReader;
//! use audit_seaorm::stats::{Period, Rollups, StatisticsRequest};
//! let worker = Rollups::new().start(db.clone()); // once, where the program starts
//! let berlin = chrono::FixedOffset::east_opt(3600).unwrap();
//! let request = StatisticsRequest::new(Period::last_days(30, &berlin)?);
//! let statistics = LogReader::for_tenant("acme").statistics(db, &request).await?;
//! println!("{} failed", statistics.statistics.failed_actions);
//! worker.stop().await;
//! # Ok(()) }
//! ```
//!
//! # How
//! A worker ([`Rollups`]) counts entries once, by day, by six hours and by hour, in the order of `seq`, and keeps how far it has come.
//! A question adds up the largest of these periods that fit, and counts what isn't in them by itself: the entries beyond
//! that place, and those that were committed late, below it. Numbers below the place of which no entry was seen are kept
//! as gaps, and looked at with each question, until no transaction is left that could still fill them. All entries together
//! are counted by quarters of an hour as well, which is what the days of every time zone are made of.
//! All of that is one statement, so it is one moment of the database: statistics are exact up to the last committed entry,
//! whether the worker runs or not.
//!
//! What is deleted from the log stays counted until [`Rollups::rebuild`].

mod ask;
mod bounds;
mod period;
mod quarters;
mod report;
mod rollups;
mod security;
mod statement;
mod tables;

pub use ask::{StatisticsRequest, get_audit_summary};
pub(crate) use bounds::bounds_of;
pub use period::Period;
pub use report::{
    ActionStat, Analytics, AvailableFilters, Counts, DailyStat, ListStatistics, ModuleStat, SeverityStat,
    Statistics, StatusStat, Totals, UserStat,
};
pub use rollups::{RolledUp, Rollups};
pub(crate) use security::security_condition;
