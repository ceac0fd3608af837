//! What `AuditConnection` captures.

mod bulk;
mod cascades;
mod cost;
mod differential;
mod peers;
mod raw;
mod transparent;
