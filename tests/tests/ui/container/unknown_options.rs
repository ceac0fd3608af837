//! What isn't an option is told apart: near misses, options of a field, words of other libraries, and the rest.

use audit_seaorm::Auditable;

#[derive(Auditable)]
#[audit(Resource = "a", modul = "b", framework("SOX"), compliance("SOX"), colour = "red")]
#[audit(mask, exclude, silent = true)]
#[audit("text", on::create, 5)]
pub struct Model {
    pub id: i64,
}

fn main() {}
