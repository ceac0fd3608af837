//! An option that is given twice is a mistake, also across attributes and where the values agree.

use audit_seaorm::Auditable;

#[derive(Auditable)]
#[audit(resource = "A", resource = "B", snapshot, snapshot)]
#[audit(module = "finance")]
#[audit(module = "finance", resource = 5)]
#[audit(on(create), on(update))]
pub struct Model {
    pub id: i64,
}

fn main() {}
