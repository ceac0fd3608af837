//! Measures what auditing costs, and prints it as the tables of `docs/BENCHMARKS.md`. Run it by `scripts/bench`.
//!
//! Arguments: `diff`, `sqlite`, `postgres`, `mysql` choose what is measured (all, if none is given); `--rounds N`.

mod diff;
mod entity;
mod hooks;
mod measure;

use audit_tests::{BACKENDS, Settings, name_of};

#[tokio::main]
async fn main() {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut rounds = 25;
    if let Some(at) = wanted.iter().position(|argument| argument == "--rounds") {
        rounds = wanted.get(at + 1).and_then(|n| n.parse().ok()).expect("a number after --rounds");
        wanted.drain(at..at + 2);
    }
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|argument| argument == name);
    if wants("diff") {
        diff::run();
    }
    for backend in BACKENDS {
        if wants(name_of(backend)) && Settings::get().has(backend) {
            // As a server's handlers run: the main thread would have to be woken by another for every answer.
            tokio::spawn(hooks::run(backend, rounds)).await.expect("the measurement");
        }
    }
}
