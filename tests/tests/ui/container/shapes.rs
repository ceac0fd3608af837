//! Types that can't be models.

use audit_seaorm::Auditable;

#[derive(Auditable)]
pub enum Choice {
    A,
}

#[derive(Clone, Copy, Auditable)]
pub union Either {
    pub a: i32,
    pub b: u32,
}

#[derive(Auditable)]
#[audit(resorce = "reported as well")]
pub struct Tuple(i64, String);

#[derive(Auditable)]
pub struct Unit;

#[derive(Auditable)]
pub struct Generic<T> {
    #[audit(exlude)]
    pub value: T,
}

#[derive(Auditable)]
pub struct Borrowed<'a> {
    pub value: &'a str,
}

fn main() {}
