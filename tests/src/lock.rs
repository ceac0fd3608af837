//! Locks between test processes: files in the temp directory, which the kernel unlocks when a process dies.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Held(#[allow(dead_code)] File);

/// Waits for the lock of that name.
pub(crate) async fn exclusive(name: &str) -> Held {
    one_of(name, 1).await
}

/// Waits for one of `count` places of that name. No fairness: whoever asks first after one is free gets it.
pub(crate) async fn one_of(name: &str, count: usize) -> Held {
    let places: Vec<_> = (0..count).map(|n| directory().join(format!("{name}-{n}.lock"))).collect();
    loop {
        for path in &places {
            let file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            match file.try_lock() {
                Ok(()) => return Held(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => panic!("{}: {e}", path.display()),
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One per user: the files of another could not be opened.
fn directory() -> PathBuf {
    let user = std::env::var("USER").unwrap_or_else(|_| "nobody".to_owned());
    let path = std::env::temp_dir().join(format!("audit-tests-{user}"));
    std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_free_again_when_dropped() {
        let name = format!("test-{}", std::process::id());
        let first = one_of(&name, 2).await;
        let _second = one_of(&name, 2).await;
        let third = one_of(&name, 2);
        tokio::pin!(third);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut third).await.is_err());
        drop(first);
        third.await;
        for n in 0..2 {
            std::fs::remove_file(directory().join(format!("{name}-{n}.lock"))).unwrap();
        }
    }
}
