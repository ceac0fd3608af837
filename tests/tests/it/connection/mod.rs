//! What `AuditConnection` captures.

mod bulk;
mod cascades;
mod differential;
mod peers;
mod raw;
mod transparent;
