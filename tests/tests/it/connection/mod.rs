//! What `AuditConnection` captures.

mod bulk;
mod cascades;
mod cost;
mod differential;
mod fire;
mod peers;
mod raw;
mod transparent;
