//! The suite: one binary, a module per subject. Test names begin with the row of the feature list they show.

mod alerts;
mod chinook;
mod concurrency;
mod connection;
mod coverage;
mod failure;
mod fixtures;
mod harness;
mod helpers;
mod hooks;
mod labels;
mod manual;
mod migration;
mod outbox;
mod query;
mod random;
mod rbac;
mod reads;
mod records;
mod registry;
mod regression;
mod replay;
mod secrets;
mod values;
