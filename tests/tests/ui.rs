//! What the macros accept, and what they say about mistakes.
//!
//! A file of `ui/` is a class of mistakes; beside it stands what the compiler says. After a change of the messages
//! `TRYBUILD=overwrite cargo test -p audit-tests --test ui` writes these files anew; read the difference.

#[path = "ui/accepted/mod.rs"]
mod accepted;

#[test]
fn c1_derive_mistakes_are_reported() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/container/*.rs");
    cases.compile_fail("tests/ui/field/*.rs");
}

#[test]
fn c2_misplaced_hooks_are_reported() {
    trybuild::TestCases::new().compile_fail("tests/ui/audited/*.rs");
}

#[test]
fn c11_action_mistakes_are_reported() {
    trybuild::TestCases::new().compile_fail("tests/ui/action/*.rs");
}
