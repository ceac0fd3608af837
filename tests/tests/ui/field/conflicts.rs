//! Options of which only one can stand on a field.

use audit_seaorm::Auditable;

fn shorten(value: &i64) -> i64 {
    value / 1000
}

#[derive(Auditable)]
pub struct Model {
    #[audit(exclude, include)]
    pub a: i64,
    #[audit(mask, silent, exclude)]
    pub b: i64,
    #[audit(name, exclude)]
    pub c: i64,
    #[audit(rename = "x", sensitive = false, classification = "public", with = shorten)]
    #[audit(exclude)]
    pub d: i64,
    #[audit(mask, with = shorten)]
    pub e: i64,
    #[audit(with = shorten, mask)]
    pub f: i64,
    #[audit(include, mask)]
    pub g: i64,
}

mod names {
    #[derive(super::Auditable)]
    pub struct Model {
        #[audit(name, mask)]
        pub a: i64,
    }
}

mod secrets {
    #[derive(super::Auditable)]
    pub struct Model {
        #[audit(sensitive = true, name)]
        pub a: i64,
    }
}

fn main() {}
