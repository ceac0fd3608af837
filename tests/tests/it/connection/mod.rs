//! What `AuditConnection` captures.

mod bulk;
mod cascades;
mod cost;
mod differential;
mod fire;
mod hostile;
mod peers;
mod raw;
mod transparent;
