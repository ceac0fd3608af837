//! Older names that tell nothing, or not which field it was.

use audit_seaorm::Auditable;

#[derive(Auditable)]
pub struct Model {
    #[audit(alias = "")]
    pub a: i64,
    #[audit(alias = old)]
    pub b: i64,
    #[audit(alias)]
    pub c: i64,
    #[audit(alias("x", "x"))]
    pub d: i64,
    #[audit(alias = "y")]
    #[audit(alias = "y")]
    pub e: i64,
    #[audit(alias = "y")]
    pub f: i64,
    #[audit(alias = "a")]
    pub g: i64,
    #[audit(rename = "height", alias = "h", alias = "height")]
    pub h: i64,
    #[audit(exclude, alias = "z")]
    pub i: i64,
}

fn main() {}
