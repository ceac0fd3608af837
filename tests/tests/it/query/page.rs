//! Q1: pages, by number and by cursor.

use std::collections::BTreeSet;

use audit_seaorm::entity::audit_log::{self, Column, Model};
use audit_seaorm::{
    AuditContext, LogFilter, LogReader, MAX_PAGE_SIZE, Page, PageRequest, get_audit_logs, log_operation,
};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, TransactionTrait};
use serde_json::json;

use super::{entry, write};
use crate::random::Random;

async fn page(t: &TestDb, filter: &LogFilter, request: PageRequest) -> Page<Model> {
    LogReader::new().page(&t.db, filter, &request).await.expect("a page")
}

fn names(page: &Page<Model>) -> Vec<&str> {
    page.rows.iter().filter_map(|row| row.resource_id.as_deref()).collect()
}

async fn error(t: &TestDb, filter: &LogFilter, request: PageRequest) -> String {
    LogReader::new().page(&t.db, filter, &request).await.expect_err("an error").to_string()
}

db_test!(q1_pages_are_counted_from_one_and_say_where_they_stand, async |t| {
    write(&t.db, &(0..7).map(entry).collect::<Vec<_>>()).await;
    let all = LogFilter::new();
    let second = page(t, &all, PageRequest::new().page(2).page_size(3)).await;
    assert_eq!(names(&second), ["3", "2", "1"]);
    let cursor = second.pagination.next_cursor.clone().expect("a cursor");
    let back = second.pagination.previous_cursor.clone();
    assert_eq!(
        serde_json::to_value(&second.pagination).unwrap(),
        json!({
            "current_page": 2, "page_size": 3, "total_pages": 3, "total_count": 7, "has_next": true,
            "has_previous": true, "next_cursor": cursor, "previous_cursor": back,
        })
    );
    let last = page(t, &all, PageRequest::new().page_size(3).cursor(cursor)).await;
    assert_eq!(names(&last), ["0"]);
    assert_eq!(
        serde_json::to_value(&last.pagination).unwrap(),
        json!({
            "current_page": null, "page_size": 3, "total_pages": 3, "total_count": 7, "has_next": false,
            "has_previous": true, "next_cursor": null, "previous_cursor": last.pagination.previous_cursor,
        })
    );
    let first = page(t, &all, PageRequest::new().page_size(3).cursor(back.unwrap()).without_count()).await;
    assert_eq!(names(&first), ["6", "5", "4"]);
    assert_eq!((first.pagination.total_count, first.pagination.total_pages), (None, None));
    assert!(first.pagination.has_next && !first.pagination.has_previous);
    let beyond = page(t, &all, PageRequest::new().page(u64::MAX).page_size(3)).await;
    assert_eq!((names(&beyond).len(), beyond.pagination.has_next), (0, false));
    let none = page(t, &LogFilter::new().action("never"), PageRequest::new()).await;
    let pagination = none.pagination;
    assert_eq!(
        (pagination.total_count, pagination.total_pages, pagination.next_cursor),
        (Some(0), Some(0), None)
    );
});

db_test!(q1_what_is_no_page_is_refused_and_what_is_too_large_is_capped, async |t| {
    write(&t.db, &(0..1_002).map(entry).collect::<Vec<_>>()).await;
    let all = LogFilter::new();
    let large = page(t, &all, PageRequest::new().page_size(10_000_000)).await;
    assert_eq!(large.rows.len() as u64, MAX_PAGE_SIZE);
    let said = serde_json::to_value(&large.pagination).unwrap();
    assert_eq!((&said["page_size"], &said["page_size_capped"]), (&json!(1000), &json!(true)));
    assert!(error(t, &all, PageRequest::new().page(0)).await.contains("no page 0"));
    assert!(error(t, &all, PageRequest::new().page_size(0)).await.contains("from 1 to 1000"));
    for broken in ["", "x", "../../etc/passwd", "AQEAAAAAAAAAAQ", &"A".repeat(40), &"é".repeat(20)] {
        assert!(
            error(t, &all, PageRequest::new().cursor(broken)).await.contains("cursor is broken"),
            "{broken}"
        );
    }
    let cursor = large.pagination.next_cursor.unwrap();
    let other = LogFilter::new().action("update");
    assert!(error(t, &other, PageRequest::new().cursor(&cursor)).await.contains("another question"));
    // "The last 30 days" begin at another moment each time, and are the same question.
    let days = LogFilter::new().last_days(3650).entity("Thing");
    let first = page(t, &days, PageRequest::new().page_size(1)).await;
    let next = page(t, &days, PageRequest::new().cursor(first.pagination.next_cursor.unwrap())).await;
    assert_eq!(names(&next)[0], "1000");
});

db_test!(q1_rows_are_counted_as_far_as_is_asked, async |t| {
    write(&t.db, &(0..7).map(entry).collect::<Vec<_>>()).await;
    let counted = async |request: PageRequest| {
        let said = page(t, &LogFilter::new(), request.page_size(2)).await.pagination;
        assert!(said.has_next, "whether there are more rows doesn't depend on the count");
        (said.total_count, said.total_pages, said.total_count_capped)
    };
    let new = PageRequest::new;
    assert_eq!(counted(new().count_up_to(5)).await, (Some(5), Some(3), true));
    assert_eq!(counted(new().count_up_to(6)).await, (Some(6), Some(3), true));
    for enough in [7, 8, 10_000, i64::MAX as u64, u64::MAX] {
        assert_eq!(counted(new().count_up_to(enough)).await, (Some(7), Some(4), false), "{enough}");
    }
    assert_eq!(counted(new().count_up_to(0)).await, (Some(0), Some(0), true));
    assert_eq!(counted(new()).await, counted(new().exact_count()).await);
    // Beyond what was counted the pages go on.
    let third = page(t, &LogFilter::new(), new().count_up_to(1).page_size(2).page(3)).await;
    assert_eq!(names(&third), ["2", "1"]);
    let said = serde_json::to_value(&third.pagination).unwrap();
    assert_eq!((&said["total_count"], &said["total_count_capped"]), (&json!(1), &json!(true)));
});

db_test!(q1_any_select_has_pages, async |t| {
    write(&t.db, &(0..5).map(entry).collect::<Vec<_>>()).await;
    let odd = || {
        let ids = Column::ResourceId.is_in(["1", "3"]);
        get_audit_logs(&LogFilter::new()).unwrap().filter(ids).order_by_asc(Column::Action)
    };
    let first = PageRequest::new().page_size(1).fetch(&t.db, odd()).await.unwrap();
    assert_eq!((names(&first), first.pagination.total_count), (vec!["3"], Some(2)));
    let cursor = first.pagination.next_cursor.unwrap();
    let second = PageRequest::new().page_size(1).cursor(&cursor).fetch(&t.db, odd()).await.unwrap();
    assert_eq!((names(&second), second.pagination.has_next), (vec!["1"], false));
    let another = audit_log::Entity::find();
    assert!(PageRequest::new().cursor(&cursor).fetch(&t.db, another).await.is_err());
});

/// Reads on to the end by cursors while rows arrive; what was there at the start comes exactly once, in order.
async fn walk(t: &TestDb, random: &mut Random) {
    let filter = LogFilter::new().action("update");
    let other = || {
        let mut other = entry("other");
        other.action = "delete".into();
        other
    };
    let expected: BTreeSet<i64> =
        get_audit_logs(&filter).unwrap().all(&t.db).await.unwrap().iter().map(|row| row.seq).collect();
    let mut seen: Vec<i64> = Vec::new();
    let mut request = PageRequest::new().page_size(u64::from(random.below(7)) + 1).without_count();
    let mut newer = None;
    loop {
        let page = page(t, &filter, request.clone()).await;
        let seqs: Vec<i64> = page.rows.iter().map(|row| row.seq).collect();
        if let Some(back) = newer.replace((page.pagination.previous_cursor.clone(), seqs.clone()))
            && let Some(cursor) = page.pagination.previous_cursor.clone()
        {
            let again = LogReader::new()
                .page(&t.db, &filter, &PageRequest::new().page_size(back.1.len() as u64).cursor(cursor))
                .await
                .unwrap();
            let again: Vec<i64> = again.rows.iter().map(|row| row.seq).collect();
            assert_eq!(again, back.1, "the way back leads over the same rows");
        }
        seen.extend(seqs);
        for _ in 0..random.below(4) {
            write(&t.db, &[entry(random.below(100)), other()]).await;
        }
        match page.pagination.next_cursor {
            Some(cursor) => {
                let size = u64::from(random.below(7)) + 1;
                request = PageRequest::new().page_size(size).cursor(cursor).without_count();
            }
            None => break,
        }
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice: {seen:?}");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

db_test!(q1_cursors_are_stable_while_rows_arrive_at_the_same_time, async |t| {
    let mut random = Random(7);
    for _ in 0..6 {
        let some: Vec<_> = (0..random.below(30)).map(entry).collect();
        write(&t.db, &some).await;
        walk(t, &mut random).await;
    }
});

// A transaction takes its places in the order first, and commits last.
db_test!(q1_a_late_commit_disturbs_no_cursor, on(postgres, mysql), async |t| {
    assert_ne!(t.backend, DbBackend::Sqlite);
    write(&t.db, &[entry("0"), entry("1")]).await;
    let late = t.db.begin().await.unwrap();
    write(&late, &[entry("late")]).await;
    write(&t.db, &[entry("2"), entry("3")]).await;
    let all = LogFilter::new();
    let first = page(t, &all, PageRequest::new().page_size(2)).await;
    assert_eq!(names(&first), ["3", "2"]);
    late.commit().await.unwrap();
    let second = page(t, &all, PageRequest::new().cursor(first.pagination.next_cursor.unwrap())).await;
    assert_eq!(names(&second), ["late", "1", "0"]);
});

db_test!(q1_pages_are_read_over_an_audited_connection_and_within_a_transaction, async |t| {
    let audit = audit_seaorm::Audit::builder().build().unwrap();
    let db = audit.connect(t.db.clone()).with_context(AuditContext::user(1));
    log_operation(&db, audit_seaorm::Operation::new("x", "y").id(1)).await.unwrap();
    let reader = LogReader::new();
    assert_eq!(reader.page(&db, &LogFilter::new(), &PageRequest::new()).await.unwrap().rows.len(), 1);
    let txn = db.begin().await.unwrap();
    log_operation(&txn, audit_seaorm::Operation::new("x", "y").id(2)).await.unwrap();
    assert_eq!(reader.page(&txn, &LogFilter::new(), &PageRequest::new()).await.unwrap().rows.len(), 2);
    txn.rollback().await.unwrap();
});

// As after the retention procedure, or when a period has moved on.
db_test!(q1_a_page_beyond_the_newest_row_leads_back_to_older_ones, async |t| {
    write(&t.db, &(0..4).map(entry).collect::<Vec<_>>()).await;
    let all = LogFilter::new();
    let at =
        |cursor: &Option<String>| PageRequest::new().page_size(2).cursor(cursor.clone().expect("a cursor"));
    let first = page(t, &all, PageRequest::new().page_size(2)).await.pagination;
    let second = page(t, &all, at(&first.next_cursor)).await.pagination;
    let unguard = "DROP TRIGGER audit_log_refuse_delete";
    t.execute(t.pick(unguard, "ALTER TABLE audit_log DISABLE TRIGGER ALL", unguard)).await.unwrap();
    t.execute("DELETE FROM audit_log WHERE resource_id IN ('2', '3')").await.unwrap();
    let beyond = page(t, &all, at(&second.previous_cursor)).await;
    assert_eq!(names(&beyond), [""; 0]);
    assert!(beyond.pagination.has_next && !beyond.pagination.has_previous);
    assert_eq!(names(&page(t, &all, at(&beyond.pagination.next_cursor)).await), ["1", "0"]);
    // What comes then is found by the same cursor.
    write(&t.db, &[entry(5)]).await;
    assert_eq!(names(&page(t, &all, at(&second.previous_cursor)).await), ["5"]);
    // And beyond the oldest row the way leads back to newer ones.
    t.execute("DELETE FROM audit_log WHERE resource_id IN ('0', '1')").await.unwrap();
    let beyond = page(t, &all, at(&first.next_cursor)).await;
    assert_eq!(names(&beyond), [""; 0]);
    assert!(!beyond.pagination.has_next && beyond.pagination.has_previous);
    assert_eq!(names(&page(t, &all, at(&beyond.pagination.previous_cursor)).await), ["5"]);
});

db_test!(q1_a_page_without_rows_leads_back_to_those_there_are, async |t| {
    write(&t.db, &(0..4).map(entry).collect::<Vec<_>>()).await;
    let all = LogFilter::new();
    let at =
        |cursor: &Option<String>| PageRequest::new().page_size(2).cursor(cursor.clone().expect("a cursor"));
    // Beyond the oldest row, by number.
    let beyond = page(t, &all, PageRequest::new().page(9).page_size(2)).await.pagination;
    assert!(beyond.has_previous && !beyond.has_next && beyond.next_cursor.is_none());
    assert_eq!(names(&page(t, &all, at(&beyond.previous_cursor)).await), ["1", "0"]);
    // Where there is nothing at all there is nowhere to go.
    let never = LogFilter::new().action("never");
    let nothing = page(t, &never, PageRequest::new().page(9)).await.pagination;
    assert!(!nothing.has_previous && nothing.previous_cursor.is_none());
});
