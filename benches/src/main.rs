//! Measures what auditing costs, and prints it as the tables of `docs/BENCHMARKS.md`. Run it by `scripts/bench`.
//!
//! Arguments choose what is measured: `diff`, `hooks`, `connection`, `floor`, `reads`, `questions`, `history`, `detection`, and `sqlite`, `postgres`, `mysql`; where none of
//! a sort is named, all are, but for `questions`, which makes millions of entries. `--rounds N`; `--entries N` for `questions`.

mod concurrent;
mod connection;
mod detection;
mod diff;
mod entity;
mod floor;
mod history;
mod hooks;
mod measure;
mod processor;
mod questions;
mod reads;

use audit_tests::{BACKENDS, Settings, name_of};

#[tokio::main]
async fn main() {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut number = |name: &str, default: u64| match wanted.iter().position(|argument| argument == name) {
        Some(at) => {
            let number = wanted
                .get(at + 1)
                .and_then(|n| n.parse().ok())
                .expect("a number after --rounds and --entries");
            wanted.drain(at..at + 2);
            number
        }
        None => default,
    };
    let rounds = usize::try_from(number("--rounds", 25)).expect("a number of rounds");
    let entries = number("--entries", questions::ENTRIES);
    let chosen = |name: &str, among: &[&str]| {
        let named = |name: &&str| wanted.iter().any(|argument| argument == name);
        !among.iter().any(named) || named(&name)
    };
    let subjects = ["diff", "hooks", "connection", "floor", "reads", "questions", "history", "detection"];
    let backends = BACKENDS.map(name_of);
    if chosen("diff", &subjects) {
        diff::run();
    }
    for backend in BACKENDS {
        if !chosen(name_of(backend), &backends) || !Settings::get().has(backend) {
            continue;
        }
        // As a server's handlers run: the main thread would have to be woken by another for every answer.
        if chosen("hooks", &subjects) {
            tokio::spawn(hooks::run(backend, rounds)).await.expect("the measurement");
        }
        if chosen("connection", &subjects) {
            tokio::spawn(connection::run(backend, rounds)).await.expect("the measurement");
        }
        if chosen("floor", &subjects) {
            tokio::spawn(floor::run(backend, rounds)).await.expect("the measurement");
        }
        if chosen("reads", &subjects) {
            tokio::spawn(reads::run(backend, rounds)).await.expect("the measurement");
        }
        if chosen("history", &subjects) {
            tokio::spawn(history::run(backend, rounds)).await.expect("the measurement");
        }
        if chosen("detection", &subjects) {
            tokio::spawn(detection::run(backend, rounds)).await.expect("the measurement");
        }
        if wanted.iter().any(|argument| argument == "questions") {
            tokio::spawn(questions::run(backend, rounds, entries)).await.expect("the measurement");
        }
    }
}
