//! Labels that name nothing, or that would tell what must not be told.

use audit_seaorm::Auditable;

fn shorten(value: &i64) -> i64 {
    value / 1000
}

#[derive(Auditable)]
pub struct Model {
    #[audit(label = "")]
    pub a: i64,
    #[audit(label = "Relation::")]
    pub b: i64,
    #[audit(label = "Relation::Artist.")]
    pub c: i64,
    #[audit(label = name)]
    pub d: i64,
    #[audit(label("name"))]
    pub e: i64,
    #[audit(mask, label = "name")]
    pub f: i64,
    #[audit(label, sensitive)]
    pub g: i64,
    #[audit(label, with = shorten)]
    pub h: i64,
    #[audit(exclude, label)]
    pub i: i64,
}

fn main() {}
