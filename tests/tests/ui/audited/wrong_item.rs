//! Items that have no hooks.

use audit_seaorm::audited;

#[audited]
pub struct ActiveModel;

#[audited]
impl ActiveModel {
    pub fn new() -> Self {
        Self
    }
}

#[audited]
impl Default for ActiveModel {
    fn default() -> Self {
        Self
    }
}

#[audited]
fn main() {}
