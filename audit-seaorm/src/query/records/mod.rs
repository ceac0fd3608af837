//! Questions to the records besides the log: reads, exports, violations, logins, system events, and the steps of handling.
//!
//! One reader and one filter for all of them; a family adds the filters that only it has ([`families`]).

mod families;
mod filter;
mod handling;
mod names;
mod reader;

pub use families::RecordFamily;
pub use filter::RecordFilter;
pub use handling::Handled;
pub use reader::RecordReader;
