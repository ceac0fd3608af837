//! What isn't an option of a field.

use audit_seaorm::Auditable;

#[derive(Auditable)]
pub struct Model {
    #[audit(exlude)]
    pub a: i64,
    #[audit(Mask)]
    pub b: i64,
    #[audit(skip)]
    pub c: i64,
    #[audit(redact, colour = "red", resource = "A")]
    pub d: i64,
    #[audit(silent exclude)]
    pub e: i64,
    #[audit(masked)]
    pub f: i64,
}

fn main() {}
