//! An option that is given twice is a mistake, also across attributes and where the values agree.

use audit_seaorm::Auditable;

#[derive(Auditable)]
pub struct Model {
    #[audit(mask, mask)]
    pub a: i64,
    #[audit(rename = "x")]
    #[audit(silent, rename = "y")]
    pub b: i64,
    #[audit(sensitive, sensitive = false)]
    pub c: i64,
}

fn main() {}
