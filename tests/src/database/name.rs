//! Names of test databases. A name says when it was made, so that leftovers of killed runs can be told from databases
//! in use without asking anybody.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every test database begins with it.
pub(crate) const PREFIX: &str = "audit_t_";

/// No test runs that long.
const OLD: Duration = Duration::from_secs(3600);

/// `audit_t_<seconds>_<process>_<nanoseconds>_<count>`: unique also where processes of several containers share a server.
pub(crate) fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = now();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}_{}_{}_{count}", now.as_secs(), std::process::id(), now.subsec_nanos())
}

/// Whether this is a test database nobody uses any more.
pub(crate) fn is_leftover(name: &str) -> bool {
    name.strip_prefix(PREFIX).and_then(age).is_some_and(|age| age > OLD)
}

/// How long ago, for a name that goes on with `<seconds>_`.
pub(crate) fn age(rest: &str) -> Option<Duration> {
    let seconds = rest.split('_').next()?.parse().ok()?;
    Some(now().saturating_sub(Duration::from_secs(seconds)))
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_test_databases_are_leftovers() {
        assert!(!is_leftover(&fresh()));
        assert!(is_leftover("audit_t_1700000000_1_2_3"));
        assert!(!is_leftover("audit_t_mine"));
        assert!(!is_leftover("customers_1700000000"));
        assert_ne!(fresh(), fresh());
    }
}
