//! Questions to the log: filters, pages, and trails, each as a SeaORM `Select` to go on with.

mod cursor;
mod days;
mod filter;
mod json;
mod page;
mod parameters;
mod reader;
mod records;
mod span;
mod text;
mod touching;

pub use days::{end_of_day, parse_day, start_of_day};
pub use filter::LogFilter;
pub(crate) use filter::{during, in_period};
pub use page::{MAX_PAGE_SIZE, Page, PageRequest, Pagination};
pub use reader::{LogReader, get_audit_logs, get_audit_trail, get_user_activity};
pub use records::{Handled, RecordFamily, RecordFilter, RecordReader};
pub(crate) use text::without_nul;
