//! Options without the value they need, with one they don't take, or with one of the wrong sort.

use audit_seaorm::Auditable;

#[derive(Auditable)]
pub struct Model {
    #[audit]
    pub a: i64,
    #[audit(exclude = true)]
    pub b: i64,
    #[audit(name = "title")]
    pub c: i64,
    #[audit(rename, classification, with)]
    pub d: i64,
    #[audit(rename = "", classification = "hidden", with = "shorten", sensitive = "yes")]
    pub e: i64,
    #[audit(rename = new_name, classification = Public, with = 5, sensitive(true))]
    pub f: i64,
}

fn main() {}
