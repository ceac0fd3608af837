//! The suite: one binary, a module per subject. Test names begin with the row of the feature list they show.

mod chinook;
mod concurrency;
mod connection;
mod coverage;
mod failure;
mod fixtures;
mod harness;
mod helpers;
mod history;
mod hooks;
mod labels;
mod manual;
mod migration;
mod outbox;
mod query;
mod random;
mod rbac;
mod reads;
mod registry;
mod regression;
mod replay;
mod restore;
mod secrets;
mod values;
