//! Numbers of which no entry has been seen: the transaction that took them isn't committed, or never will be.

use sea_orm::Condition;
use sea_orm::sea_query::{Expr, ExprTrait};

/// A run of such numbers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Gap {
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// When it was seen, in seconds since 1970.
    pub(crate) noticed: i64,
    /// The transactions that may still fill it, as the database names them; `None` if nobody has asked yet.
    pub(crate) writers: Option<String>,
}

/// Most gaps that are named in one statement.
pub(crate) const NAMED: usize = 200;

/// That a row's number is in one of these gaps, each from its first to its last number, of which there must be some. They are named:
/// joined to a table of gaps, databases would rather read all rows.
pub(crate) fn within(gaps: impl Iterator<Item = (i64, i64)>) -> Condition {
    gaps.fold(Condition::any(), |any, (first, last)| any.add(Expr::col("seq").between(first, last)))
}

/// What is missing among these numbers, which are in order and greater than `through`.
pub(crate) fn missing(through: i64, numbers: &[i64], noticed: i64) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut previous = through;
    for &number in numbers {
        if number > previous.saturating_add(1) {
            gaps.push(Gap { first: previous + 1, last: number - 1, noticed, writers: None });
        }
        previous = number;
    }
    gaps
}

/// What is left of a gap without these numbers, which are in order.
pub(crate) fn without(gap: &Gap, numbers: &[i64]) -> Vec<Gap> {
    let mut left = Vec::new();
    let mut first = gap.first;
    for &number in numbers.iter().filter(|number| (gap.first..=gap.last).contains(*number)) {
        if first < number {
            left.push(Gap { first, last: number - 1, ..gap.clone() });
        }
        first = number.saturating_add(1);
    }
    if first <= gap.last {
        left.push(Gap { first, ..gap.clone() });
    }
    left
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn q3_gaps_are_all_that_is_missing(through in -3_i64..5, numbers in prop::collection::btree_set(6_i64..60, 1..30), late: BTreeSet<i8>) {
            let all: Vec<i64> = numbers.iter().copied().collect();
            let gaps = missing(through, &all, 0);
            let flat = |gaps: &[Gap]| gaps.iter().flat_map(|gap| gap.first..=gap.last).collect::<Vec<_>>();
            let expected: Vec<i64> =
                (through + 1..*all.last().unwrap()).filter(|number| !numbers.contains(number)).collect();
            prop_assert_eq!(flat(&gaps), expected.clone());
            let late: Vec<i64> = late.into_iter().map(i64::from).collect();
            let left: Vec<Gap> = gaps.iter().flat_map(|gap| without(gap, &late)).collect();
            let expected: Vec<i64> = expected.into_iter().filter(|number| !late.contains(number)).collect();
            prop_assert_eq!(flat(&left), expected);
        }
    }
}
