//! How many entries the worker that looks for suspicious activity takes in a second.

use std::time::Instant;

use audit_seaorm::detect::{Detector, Rule};
use audit_tests::{DbBackend, TestDb, name_of};

use crate::questions::{insert, insert_others};

/// Entries of thirty days by 500 actors, past all default rules.
const ENTRIES: u64 = 200_000;

/// Attempts to log in, and as many exports.
const OTHERS: u64 = 20_000;

pub(crate) async fn run(backend: DbBackend, rounds: usize) {
    if backend == DbBackend::MySql {
        // The goal is PostgreSQL's and SQLite's.
        return;
    }
    let t = TestDb::new(backend).await;
    t.execute(&insert(backend, 0, ENTRIES, ENTRIES)).await.expect("the entries");
    for sql in insert_others(backend, OTHERS) {
        t.execute(&sql).await.expect("logins and exports");
    }
    let mut rates = Vec::new();
    let mut findings = 0;
    for _ in 0..rounds.clamp(1, 5) {
        // From the beginning, in a process of its own.
        for sql in ["UPDATE audit_detector SET place = '{}'", "DELETE FROM audit_detector_state"] {
            t.execute(sql).await.expect("forgotten");
        }
        let detector = Detector::new(Rule::defaults()).expect("rules");
        let start = Instant::now();
        let done = detector.run_once(&t.db).await.expect("a run");
        rates.push(done.observations as f64 / start.elapsed().as_secs_f64());
        findings += done.findings.len();
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "| {}: detection, {} rules, {ENTRIES} entries, {OTHERS} logins, {OTHERS} exports | at least |",
        name_of(backend),
        Rule::defaults().len()
    );
    println!("|---|---|");
    let (median, min, max) = (rates[rates.len() / 2], rates[0], rates[rates.len() - 1]);
    println!("| **{median:.0}**/s ({min:.0} .. {max:.0}), {findings} findings in all runs | 20000/s |\n");
}
