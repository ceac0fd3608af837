use std::collections::BTreeMap;

use audit_core::{Query, QueryEntry, QueryType, Resource, action};
use proptest::prelude::*;

use super::*;

fn spool(dir: &Path) -> Spool {
    Spool::open(dir, SpoolSync::Always, 1 << 30).unwrap()
}

fn entry(n: u32) -> Entry {
    Entry::new(Utc::now(), action::CREATE, Resource::new("thing").id(n))
}

fn query(n: u32) -> Record {
    let mut query = QueryEntry::new(Utc::now(), Query::new(QueryType::Select, "thing"));
    query.what.record_count = Some(n.into());
    query.into()
}

/// The numbers of the records that are due, in their order.
fn due(spool: &Spool) -> Vec<u32> {
    numbers_of(&spool.take(usize::MAX).unwrap())
}

fn numbers_of(taken: &Taken) -> Vec<u32> {
    let number = |record: &Record| match record {
        Record::Entry(entry) => entry.resource.id.as_deref().unwrap().parse().unwrap(),
        Record::Query(query) => u32::try_from(query.what.record_count.unwrap()).unwrap(),
        _ => unreachable!(),
    };
    taken.records.iter().map(number).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    numbers(dir).unwrap().into_iter().map(|number| path(dir, number)).collect()
}

#[test]
fn c14_what_is_spooled_survives_and_goes_when_it_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path());
    first.append(&[query(1), entry(2).into(), query(3)]).unwrap();
    drop(first);
    let again = spool(dir.path());
    assert_eq!(due(&again), [1, 2, 3]);
    let two = again.take(2).unwrap();
    assert_eq!(numbers_of(&two), [1, 2]);
    again.done(&two);
    assert_eq!(due(&again), [3]);
    again.append(&[query(4)]).unwrap();
    let rest = again.take(10).unwrap();
    again.done(&rest);
    assert_eq!(again.contents(), Contents::default());
    assert!(files(dir.path()).is_empty(), "nothing is left on the disk");
}

#[test]
fn c14_a_spool_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let _first = spool(dir.path());
    let error = Spool::open(dir.path(), SpoolSync::Always, 1 << 30).unwrap_err().to_string();
    assert!(error.contains("a directory of its own"), "{error}");
}

#[test]
fn c14_a_torn_tail_costs_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let full = spool(dir.path());
    full.append(&[query(1)]).unwrap();
    let whole = full.contents().bytes;
    full.append(&[query(2)]).unwrap();
    drop(full);
    let [file] = files(dir.path()).try_into().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for end in usize::try_from(whole).unwrap()..bytes.len() {
        std::fs::write(&file, &bytes[..end]).unwrap();
        let cut = spool(dir.path());
        assert_eq!(due(&cut), [1], "cut at {end}");
        cut.append(&[query(3)]).unwrap();
        drop(cut);
        let again = spool(dir.path());
        assert_eq!(due(&again), [1, 3], "cut at {end}");
        drop(again);
        for file in files(dir.path()) {
            std::fs::remove_file(file).unwrap();
        }
    }
    assert!(!file.with_extension("damaged").exists(), "a torn tail is no damage");
}

#[test]
fn c14_damage_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let full = spool(dir.path());
    full.append(&[query(1), query(2), query(3)]).unwrap();
    drop(full);
    let [file] = files(dir.path()).try_into().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let left = spool(dir.path());
    assert_eq!(due(&left), [1]);
    let aside = std::fs::read(file.with_extension("damaged")).unwrap();
    assert!(bytes.ends_with(&aside) && aside.len() > middle / 2);
}

#[test]
fn c14_damage_that_comes_later_does_not_hold_up_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    spool.append(&[query(1)]).unwrap();
    let whole = usize::try_from(spool.contents().bytes).unwrap();
    spool.append(&[query(2)]).unwrap();
    let [file] = files(dir.path()).try_into().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[whole / 2] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let taken = spool.take(10).unwrap();
    assert_eq!(numbers_of(&taken), [2]);
    spool.done(&taken);
    assert_eq!(due(&spool), [0; 0]);
    assert_eq!(std::fs::read(file.with_extension("damaged")).unwrap().len(), whole);
}

#[test]
fn c14_a_full_spool_takes_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let small = Spool::open(dir.path(), SpoolSync::Never, 1000).unwrap();
    small.append(&[query(1)]).unwrap();
    let error = small.append(&[query(2), query(3)]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(due(&small), [1]);
    drop(small);
    assert_eq!(due(&spool(dir.path())), [1]);
}

#[test]
fn c19_entries_wait_for_their_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let (yes, no, open) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let first = spool(dir.path());
    first.prepare(yes, vec![entry(1), entry(2)]).unwrap();
    first.prepare(no, vec![entry(3)]).unwrap();
    first.prepare(open, vec![entry(4)]).unwrap();
    assert_eq!(due(&first), [0; 0]);
    assert_eq!(first.contents().prepared, 4);
    first.confirm(yes);
    first.cancel(no);
    assert_eq!(due(&first), [1, 2]);
    drop(first);
    let again = spool(dir.path());
    let taken = again.take(10).unwrap();
    assert_eq!(numbers_of(&taken), [1, 2, 4], "what is in doubt is delivered as such");
    assert_eq!(taken.doubtful, [taken.records[2].id()]);
}

#[test]
fn i5_others_cannot_read_a_spool() {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path());
        spool.append(&[query(1)]).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(u32),
    Prepare(u32),
    Confirm(usize),
    Cancel(usize),
    Deliver(usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..4_u32).prop_map(Step::Append),
        2 => (1..4_u32).prop_map(Step::Prepare),
        2 => any::<usize>().prop_map(Step::Confirm),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => (1..6_usize).prop_map(Step::Deliver),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a model that knows no files: each record is delivered until it is done, cancelled ones never.
    #[test]
    fn c14_a_spool_is_a_queue_that_survives(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let open_spool = || Spool::open(dir.path(), SpoolSync::Never, 1 << 30).unwrap();
        let mut spool = open_spool();
        let (mut next, mut delivered) = (0, std::collections::BTreeSet::new());
        let (mut waiting, mut open) = (std::collections::BTreeSet::new(), BTreeMap::<Uuid, Vec<u32>>::new());
        let pick = |open: &BTreeMap<Uuid, Vec<u32>>, at: usize| open.keys().nth(at % open.len().max(1)).copied();
        for step in steps {
            match step {
                Step::Append(count) => {
                    let numbers: Vec<u32> = (next..next + count).collect();
                    next += count;
                    spool.append(&numbers.iter().map(|n| query(*n)).collect::<Vec<_>>()).unwrap();
                    waiting.extend(numbers);
                }
                Step::Prepare(count) => {
                    let numbers: Vec<u32> = (next..next + count).collect();
                    next += count;
                    let ticket = Uuid::now_v7();
                    spool.prepare(ticket, numbers.iter().map(|n| entry(*n)).collect()).unwrap();
                    open.insert(ticket, numbers);
                }
                Step::Confirm(at) => if let Some(ticket) = pick(&open, at) {
                    spool.confirm(ticket);
                    waiting.extend(open.remove(&ticket).unwrap());
                },
                Step::Cancel(at) => if let Some(ticket) = pick(&open, at) {
                    spool.cancel(ticket);
                    open.remove(&ticket);
                },
                Step::Deliver(limit) => {
                    let taken = spool.take(limit).unwrap();
                    for number in numbers_of(&taken) {
                        prop_assert!(waiting.remove(&number) || delivered.contains(&number));
                        delivered.insert(number);
                    }
                    spool.done(&taken);
                }
                Step::Reopen => {
                    drop(spool);
                    spool = open_spool();
                    // Nobody can say any more how these ended.
                    waiting.extend(std::mem::take(&mut open).into_values().flatten());
                }
            }
            // What was delivered may come again after a start; nothing that waits is ever missing.
            let here: std::collections::BTreeSet<u32> = due(&spool).into_iter().collect();
            prop_assert!(waiting.is_subset(&here), "{waiting:?} of {here:?}");
            prop_assert!(here.difference(&waiting).all(|number| delivered.contains(number)));
        }
    }
}

#[test]
fn c14_what_is_synced_once_a_second_is_synced_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let open = |sync| Spool::open(dir.path(), sync, 1 << 30).unwrap();
    let second = open(SpoolSync::Second);
    // The first is synced at once; of those that follow within a second some wait, and are told of once.
    let left = (0..1000).any(|n| {
        second.append(&[query(n)]).unwrap();
        second.lock().dirty
    });
    assert!(left, "a thousand records, each more than a second after the one before");
    assert!(second.sync_rest().unwrap());
    assert!(!second.lock().dirty && !second.sync_rest().unwrap());
    // What was synced together counts as the last time.
    assert!(second.lock().synced.is_some_and(|at| at.elapsed() < Duration::from_secs(60)));
    let count = due(&second).len();
    drop(second);
    // The other two leave nothing for later: what they don't sync they never do.
    let (always, never) = (SpoolSync::Always, SpoolSync::Never);
    for sync in [always, never] {
        let spool = open(sync);
        spool.append(&[query(1)]).unwrap();
        assert!(!spool.sync_rest().unwrap());
        assert_eq!(spool.lock().dirty, sync == never);
    }
    assert_eq!(due(&open(SpoolSync::Second)).len(), count + 2);
}
