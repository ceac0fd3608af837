//! The derived diff against serialising both rows and comparing.

use std::hint::black_box;
use std::time::Instant;

use audit_seaorm::{Audit, Auditable, Diff};
use sea_orm::{ActiveModelTrait, TryIntoModel};

use crate::entity::hooked;
use crate::measure::Pairs;

const ROUNDS: usize = 101;
const ITERATIONS: u32 = 2_000;

pub(crate) fn run() {
    let audit = Audit::builder().build().expect("an audit");
    let policies = audit.registry().policies();
    let policy = policies.into_iter().find(|policy| policy.resource == "hooked_account").expect("the policy");
    let old = model(1);
    let mut new = old.clone();
    new.owner = "Somebody else".to_owned();
    new.overdraft += 1;
    new.rating = 0.75;

    let (mut three, mut none) = (Pairs::default(), Pairs::default());
    for _ in 0..ROUNDS {
        three.push(
            time(|| json_diff(black_box(&old), black_box(&new))),
            time(|| {
                let mut diff = Diff::new(policy);
                black_box(&old).diff(black_box(&new), &mut diff);
                diff.finish()
            }),
        );
        none.push(
            time(|| json_diff(black_box(&old), black_box(&old))),
            time(|| {
                let mut diff = Diff::new(policy);
                black_box(&old).diff(black_box(&old), &mut diff);
                diff.finish()
            }),
        );
    }
    println!(
        "| derived diff of 10 fields | JSON of both, compared | derived | times faster (min .. max) |\n|---|---|---|---|"
    );
    for (name, pairs) in [("3 changed", three), ("nothing changed", none)] {
        let (json, derived) = pairs.each(ITERATIONS);
        // The ratio the other way round: how often the derived one fits into the other.
        let spread = pairs.inverse().ratio();
        println!("| {name} | {json:?} | {derived:?} | {spread} |");
    }
    println!();
}

fn model(n: i64) -> hooked::Model {
    let mut row = hooked::row(n);
    row.set(hooked::Column::Id, n.into());
    row.try_into_model().expect("a whole row")
}

fn time<T>(mut work: impl FnMut() -> T) -> std::time::Duration {
    let start = Instant::now();
    for _ in 0..ITERATIONS {
        black_box(work());
    }
    start.elapsed()
}

fn json_diff(old: &hooked::Model, new: &hooked::Model) -> Option<serde_json::Map<String, serde_json::Value>> {
    let (serde_json::Value::Object(old), serde_json::Value::Object(new)) =
        (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?)
    else {
        return None;
    };
    let changes: serde_json::Map<_, _> = new
        .into_iter()
        .filter(|(field, value)| old.get(field) != Some(value))
        .map(|(field, value)| {
            let change = serde_json::json!({"old": old[&field], "new": value});
            (field, change)
        })
        .collect();
    (!changes.is_empty()).then_some(changes)
}
