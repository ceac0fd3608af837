//! The suite: one binary, a module per subject. Test names begin with the row of the feature list they show.

mod chinook;
mod concurrency;
mod connection;
mod fixtures;
mod harness;
mod helpers;
mod hooks;
mod manual;
mod migration;
mod query;
mod random;
mod registry;
mod regression;
mod replay;
mod secrets;
mod values;
