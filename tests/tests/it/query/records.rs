//! Q1, I7: questions to the records besides the log.

mod samples;

use std::collections::BTreeSet;

use audit_seaorm::entity::{
    StoredFamily, audit_export, audit_login_attempt, audit_query, audit_system_event, audit_transition,
    audit_violation,
};
use audit_seaorm::{
    Actor, AuditContext, EventKind, Export, LogReader, LoginAttempt, LoginStatus, PageRequest, Query,
    QueryType, RecordFamily, RecordFilter, RecordReader, Recorded, Severity, Status, SystemEvent, Transition,
    Violation, ViolationStatus, scope, set_status, status_of,
};
use audit_tests::{TestDb, db_test};
use chrono::{NaiveDate, TimeDelta, Utc};
use sea_orm::sea_query::Value;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IdenStatic, IntoActiveModel, Iterable, ModelTrait,
    QueryFilter, Select,
};
use uuid::Uuid;

use super::at;
use samples::{events, exports, logins, queries, steps, violations};

const TENANTS: [Option<&str>; 3] = [Some("acme"), Some("globex"), None];

/// Writes records as they are, the n-th with the n-th tenant, actor and address, an hour after the one before.
async fn write<F, A>(t: &TestDb, what: impl IntoIterator<Item = F>) -> Vec<Uuid>
where
    F: RecordFamily,
    for<'a> A: ActiveModelTrait<Entity = F::Entity> + From<&'a Recorded<F>> + Send,
    <F::Entity as EntityTrait>::Model: IntoActiveModel<A>,
{
    let mut ids = Vec::new();
    for (n, what) in what.into_iter().enumerate() {
        let mut record = Recorded::new(at(n as i64 * 3600), what);
        record.tenant = TENANTS[n % 3].map(str::to_owned);
        record.actor = Actor { email: Some(format!("u{n}@example.org")), ..Actor::user(n) };
        record.actor.name = Some(["Ann", "Ben", "Cleo"][n % 3].to_owned());
        record.ip_address = Some(format!("192.0.2.{n}"));
        (record.session_id, record.request_id) = (Some(format!("s{n}")), Some(format!("r{n}")));
        record.transaction_id = Some(format!("t{n}"));
        record.finish();
        ids.push(record.id);
        F::Entity::insert(A::from(&record)).exec_without_returning(&t.db).await.expect("a record");
    }
    ids
}

fn get<M: ModelTrait>(row: &M, name: &str) -> Value {
    let column = <M::Entity as EntityTrait>::Column::iter().find(|column| column.as_str() == name);
    row.get(column.expect("the column"))
}

/// Which of these the select finds, oldest first.
async fn found<F: RecordFamily>(t: &TestDb, ids: &[Uuid], select: Select<F::Entity>) -> Vec<usize> {
    let mut rows = select.all(&t.db).await.expect("the records");
    rows.reverse();
    let at = |row| ids.iter().position(|id| Value::from(*id) == get(row, "id")).expect("one of them");
    rows.iter().map(at).collect()
}

async fn finds<F: RecordFamily>(t: &TestDb, ids: &[Uuid], filter: RecordFilter<F>, expected: &[usize]) {
    let select = RecordReader::<F>::new().find(&filter).expect("a question");
    assert_eq!(found::<F>(t, ids, select).await, expected, "{filter:?}");
}

/// The same, said by name.
async fn named<F: RecordFamily>(t: &TestDb, ids: &[Uuid], name: &str, text: &str, expected: &[usize]) {
    finds(t, ids, RecordFilter::<F>::new().set(name, text, &Utc).expect(text), expected).await;
}

/// What all families have in common.
async fn common<F: RecordFamily>(t: &TestDb, ids: &[Uuid]) {
    assert_eq!(ids.len(), 6, "{}", F::TABLE);
    let all = RecordFilter::<F>::new;
    for (filter, expected) in [
        (all(), vec![0, 1, 2, 3, 4, 5]),
        (all().actor(1), vec![1]),
        (all().actors([1, 4, 9]), vec![1, 4]),
        (all().actor_name("Cleo"), vec![2, 5]),
        (all().actor_email("u3@example.org"), vec![3]),
        (all().user("Ben"), vec![1, 4]),
        (all().user(5), vec![5]),
        (all().user("u2@example.org"), vec![2]),
        (all().ip("192.0.2.3"), vec![3]),
        (all().session_id("s0"), vec![0]),
        (all().request_ids(["r0", "r1"]), vec![0, 1]),
        (all().transaction_id("t5"), vec![5]),
        (all().tenant("globex"), vec![1, 4]),
        (all().tenants(["globex", "acme"]).actor_name("Ann"), vec![0, 3]),
        (all().actors([] as [&str; 0]), vec![]),
        (all().start_date(at(3600)).end_date(at(3 * 3600)), vec![1, 2]),
        (all().actor("' OR 1=1 --"), vec![]),
    ] {
        finds(t, ids, filter, &expected).await;
    }
    for (name, text, expected) in [
        ("actor", "1", vec![1]),
        ("actor_name", "Ann", vec![0, 3]),
        ("actor_email", "u1@example.org", vec![1]),
        ("user", "Ben", vec![1, 4]),
        ("ip", "192.0.2.2", vec![2]),
        ("session_id", "s1", vec![1]),
        ("request_id", "r2", vec![2]),
        ("transaction_id", "t3", vec![3]),
        ("tenant", "acme", vec![0, 3]),
        ("start_date", "2026-01-01T14:00:00Z", vec![2, 3, 4, 5]),
        ("end_date", "2026-01-01T13:00:00+00:00", vec![0]),
        ("start_date", "2026-01-02", vec![]),
        ("days", "36500", vec![0, 1, 2, 3, 4, 5]),
    ] {
        named::<F>(t, ids, name, text, &expected).await;
    }
    let day = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    finds(t, ids, all().from_day(day, &Utc).to_day(day, &Utc), &[0, 1, 2, 3, 4, 5]).await;
    let reader = RecordReader::<F>::new();
    for (filter, says) in [
        (all().last_days(0), "at least 1"),
        (all().start_date(at(1)).end_date(at(0)), "before it starts"),
        (all().to_day(NaiveDate::MAX, &Utc), "no day after"),
        (all().actors(0..1001), "more than 1000 values for `actor`"),
    ] {
        let error = reader.find(&filter).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // What the caller goes on with.
    let seq = |row: &<F::Entity as EntityTrait>::Model| get(row, "seq");
    let newest = sea_orm::QuerySelect::limit(reader.find(&all()).unwrap(), 1).all(&t.db).await.unwrap();
    let pages = reader.page(&t.db, &all(), &PageRequest::new().page(2).page_size(4)).await.unwrap();
    assert_eq!((pages.rows.len(), pages.pagination.total_count), (2, Some(6)));
    let first = reader.page(&t.db, &all(), &PageRequest::new().page_size(4)).await.unwrap();
    assert_eq!(seq(&newest[0]), seq(&first.rows[0]), "newest first");
    let cursor = first.pagination.next_cursor.unwrap();
    let second = reader.page(&t.db, &all(), &PageRequest::new().page_size(4).cursor(&cursor)).await.unwrap();
    assert_eq!(
        second.rows.iter().map(seq).collect::<Vec<_>>(),
        pages.rows.iter().map(seq).collect::<Vec<_>>()
    );
    let other = all().actor(1);
    let error = reader.page(&t.db, &other, &PageRequest::new().cursor(cursor)).await.unwrap_err();
    assert!(error.to_string().contains("another question"), "{error}");
    assert!(reader.record(&t.db, ids[2]).await.unwrap().is_some());
    assert!(reader.record(&t.db, Uuid::nil()).await.unwrap().is_none());
}

/// That a reader that is bound to acme finds nothing of others.
async fn bound<F: RecordFamily>(t: &TestDb, ids: &[Uuid]) {
    let (reader, all) = (LogReader::for_tenant("acme").records::<F>(), RecordFilter::<F>::new);
    assert_eq!(
        (reader.tenant(), RecordReader::<F>::for_tenant("acme").tenant()),
        (Some("acme"), Some("acme"))
    );
    let select = |filter: &RecordFilter<F>| reader.find(filter).unwrap();
    assert_eq!(found::<F>(t, ids, select(&all())).await, [0, 3], "{}", F::TABLE);
    for odd in ["globex", "", "%", "acme' OR '1'='1", "ACME", "acme\0"] {
        assert!(found::<F>(t, ids, select(&all().tenant(odd))).await.is_empty(), "{odd}");
    }
    assert_eq!(found::<F>(t, ids, select(&all().tenants(["globex", "acme"]))).await, [0, 3]);
    assert!(found::<F>(t, ids, select(&all().actors([1, 2]))).await.is_empty());
    assert!(found::<F>(t, ids, select(&all().user("Ben"))).await.is_empty());
    assert_eq!(found::<F>(t, ids, select(&all().last_days(36_500))).await, [0, 3]);
    // What the caller goes on with can't widen it either.
    let tenant =
        <F::Entity as EntityTrait>::Column::iter().find(|column| column.as_str() == "tenant").unwrap();
    let wide = Condition::any().add(tenant.eq("globex")).add(tenant.is_null());
    assert!(found::<F>(t, ids, select(&all()).filter(wide)).await.is_empty());
    let nobody = RecordReader::<F>::for_tenant("").find(&all()).unwrap();
    assert!(found::<F>(t, ids, nobody).await.is_empty());
    for (n, id) in ids.iter().enumerate() {
        let by_id = reader.record(&t.db, *id).await.unwrap();
        assert_eq!(by_id.is_some(), TENANTS[n % 3] == Some("acme"), "{} {n}", F::TABLE);
    }
    // Cursors lead to nobody else's.
    let one = PageRequest::new().page_size(1);
    for other in [RecordReader::<F>::for_tenant("globex"), RecordReader::new()] {
        let page = other.page(&t.db, &all(), &one).await.unwrap();
        let request = one.clone().cursor(page.pagination.next_cursor.unwrap());
        let error = reader.page(&t.db, &all(), &request).await.unwrap_err();
        assert!(error.to_string().contains("another question"), "{error}");
    }
    let first = reader.page(&t.db, &all(), &one).await.unwrap();
    assert_eq!(first.pagination.total_count, Some(2), "the count is its own as well");
    let second = one.cursor(first.pagination.next_cursor.unwrap());
    let second = reader.page(&t.db, &all(), &second).await.unwrap();
    assert_eq!((get(&second.rows[0], "id"), second.pagination.has_next), (ids[0].into(), false));
}

db_test!(i7_records_of_other_families_stay_with_their_tenant, async |t| {
    let ids = write::<_, audit_violation::ActiveModel>(t, violations()).await;
    bound::<Violation>(t, &ids).await;
    bound::<SystemEvent>(t, &write::<_, audit_system_event::ActiveModel>(t, events()).await).await;
    bound::<LoginAttempt>(t, &write::<_, audit_login_attempt::ActiveModel>(t, logins()).await).await;
    bound::<Export>(t, &write::<_, audit_export::ActiveModel>(t, exports()).await).await;
    bound::<Query>(t, &write::<_, audit_query::ActiveModel>(t, queries()).await).await;
    bound::<Transition>(t, &write::<_, audit_transition::ActiveModel>(t, steps(ids[0])).await).await;
});

db_test!(i7_no_filter_of_a_family_widens_a_bound_reader, async |t| {
    let ids = write::<_, audit_violation::ActiveModel>(t, violations()).await;
    for id in &ids {
        set_status(&t.db, *id, ViolationStatus::Investigating, None).await.unwrap();
    }
    let reader = RecordReader::<Violation>::for_tenant("acme");
    let all = RecordFilter::<Violation>::new;
    for (filter, expected) in [
        (all().violation_type("slow_request"), vec![3]),
        (all().severities(Severity::ALL.iter().copied()), vec![0, 3]),
        (all().statuses(ViolationStatus::ALL.iter().copied()), vec![0, 3]),
        (all().status(ViolationStatus::Investigating), vec![0, 3]),
        (all().modules(["sales", "finance", "blog"]), vec![0, 3]),
        (all().model("Account").resource_id(7), vec![3]),
    ] {
        assert_eq!(found::<Violation>(t, &ids, reader.find(&filter).unwrap()).await, expected, "{filter:?}");
    }
    // Also of those that it should never have come by.
    let handling = reader.handling(&t.db, ids.iter().copied()).await.unwrap();
    assert_eq!(handling.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([ids[0], ids[3]]));
    assert!(handling.values().all(|status| status.status == "investigating"));
    assert_eq!(RecordReader::<Violation>::new().handling(&t.db, ids).await.unwrap().len(), 6);
});

db_test!(r3_violations_are_found_by_type_severity_and_where_they_stand, async |t| {
    use ViolationStatus::{Closed, Investigating, Open, Resolved};
    let ids = write::<_, audit_violation::ActiveModel>(t, violations()).await;
    common::<Violation>(t, &ids).await;
    let events = write::<_, audit_system_event::ActiveModel>(t, events()).await;
    let context = AuditContext::user("ann");
    for (n, to) in [
        (1, Investigating),
        (2, Resolved),
        (3, Investigating),
        (3, Resolved),
        (3, Investigating),
        (4, Resolved),
        (4, Closed),
    ] {
        scope(context.clone(), set_status(&t.db, ids[n], to, None)).await.unwrap();
    }
    scope(context, set_status(&t.db, events[0], Resolved, Some("bought a disk"))).await.unwrap();
    let all = RecordFilter::<Violation>::new;
    for (filter, expected) in [
        (all().violation_type("slow_request"), vec![2, 3]),
        (all().violation_types(["slow_request", "other_tenant"]), vec![2, 3, 4, 5]),
        (all().violation_type("never heard of"), vec![]),
        (all().severity(Severity::High), vec![0, 4]),
        (all().severities([Severity::Low, Severity::Medium]), vec![1, 2, 5]),
        (all().status(Open), vec![0, 5]),
        (all().status(Investigating), vec![1, 3]),
        (all().status(Resolved), vec![2]),
        (all().status(Closed), vec![4]),
        (all().statuses([Open, Closed]), vec![0, 4, 5]),
        (all().statuses([]), vec![]),
        (all().statuses([Open, Closed]).severity(Severity::High).violation_type("other_tenant"), vec![4]),
        (all().module("finance").status(Investigating), vec![3]),
        (all().model("Account"), vec![2, 3]),
        (all().model("Order").resource_ids([1, 3]), vec![0, 4, 5]),
        (all().status(Closed).status(Open), vec![0, 5]),
    ] {
        finds(t, &ids, filter, &expected).await;
    }
    for (name, text, expected) in [
        ("violation_type", "mass_deletion, slow_request", vec![0, 1, 2, 3]),
        ("severity", "HIGH,critical", vec![0, 3, 4]),
        ("status", "open,investigating", vec![0, 1, 3, 5]),
        ("module", "blog", vec![5]),
        ("model", "Account", vec![2, 3]),
        ("entity", "Account", vec![2, 3]),
        ("resource_id", "7", vec![2, 3]),
        ("entity_id", "2", vec![1]),
    ] {
        named::<Violation>(t, &ids, name, text, &expected).await;
    }
    // It is what the view says, for every record of either sort.
    let reader = LogReader::new().records::<Violation>();
    let handling = reader.handling(&t.db, ids.iter().chain(&events).copied()).await.unwrap();
    assert_eq!(handling.len(), 6, "its own alone");
    for (n, id) in ids.iter().enumerate() {
        let stands = status_of(&t.db, *id).await.unwrap();
        assert_eq!(handling[id], stands);
        let status: ViolationStatus = stands.status.parse().unwrap();
        let found = found::<Violation>(t, &ids, reader.find(&all().status(status)).unwrap()).await;
        assert!(found.contains(&n), "{n}");
    }
    let page = reader.page(&t.db, &all().status(Open), &PageRequest::new().page_size(1)).await.unwrap();
    assert_eq!((page.rows[0].id, page.pagination.total_count), (ids[5], Some(2)));
});

db_test!(r5_events_are_found_by_sort_and_where_they_stand, async |t| {
    let ids = write::<_, audit_system_event::ActiveModel>(t, events()).await;
    common::<SystemEvent>(t, &ids).await;
    set_status(&t.db, ids[1], ViolationStatus::Resolved, Some("done")).await.unwrap();
    let all = RecordFilter::<SystemEvent>::new;
    finds(t, &ids, all().event_type(EventKind::Error), &[0, 5]).await;
    finds(t, &ids, all().event_types([EventKind::Warning, EventKind::Security]), &[1, 3]).await;
    finds(t, &ids, all().status(ViolationStatus::Resolved), &[1]).await;
    finds(t, &ids, all().status(ViolationStatus::Open).module("mail"), &[3, 5]).await;
    for (name, text, expected) in [
        ("event_type", "info,performance", vec![2, 4]),
        ("status", "resolved", vec![1]),
        ("module", "db", vec![0, 2, 4]),
        ("error_code", "E3", vec![3]),
    ] {
        named::<SystemEvent>(t, &ids, name, text, &expected).await;
    }
    let handling = LogReader::new().records::<SystemEvent>().handling(&t.db, ids.clone()).await.unwrap();
    assert_eq!(handling[&ids[1]].notes.as_deref(), Some("done"));
    assert_eq!(handling[&ids[0]].status, "open");
});

db_test!(r4_logins_are_found_by_name_and_result, async |t| {
    let ids = write::<_, audit_login_attempt::ActiveModel>(t, logins()).await;
    common::<LoginAttempt>(t, &ids).await;
    let all = RecordFilter::<LoginAttempt>::new;
    finds(t, &ids, all().username("ann"), &[0, 1, 2]).await;
    finds(t, &ids, all().username("ann").status(LoginStatus::Failed), &[1]).await;
    finds(t, &ids, all().statuses([LoginStatus::Failed, LoginStatus::Blocked]), &[1, 2, 4, 5]).await;
    finds(t, &ids, all().usernames(["ben", "cleo%"]).ip("192.0.2.4"), &[4]).await;
    for (name, text, expected) in [
        ("username", "cleo%", vec![5]),
        ("username", "%", vec![]),
        ("status", "success", vec![0, 3]),
        ("result", "failed,blocked", vec![1, 2, 4, 5]),
        ("country", "DE", vec![0]),
    ] {
        named::<LoginAttempt>(t, &ids, name, text, &expected).await;
    }
    // Another name of the same replaces what was said.
    let twice = all().set("status", "success", &Utc).unwrap().set("result", "blocked", &Utc).unwrap();
    finds(t, &ids, twice, &[2]).await;
});

db_test!(r2_exports_and_reads_are_found_by_what_they_are_of, async |t| {
    let ids = write::<_, audit_export::ActiveModel>(t, exports()).await;
    common::<Export>(t, &ids).await;
    let all = RecordFilter::<Export>::new;
    finds(t, &ids, all().format("csv"), &[0, 2, 3]).await;
    finds(t, &ids, all().formats(["csv", "pdf"]).model("Account"), &[0, 1]).await;
    finds(t, &ids, all().status(Status::Failed), &[3]).await;
    for (name, text, expected) in [
        ("format", "pdf,xlsx", vec![1, 4, 5]),
        ("model", "Order", vec![2, 3, 4]),
        ("entity", "Post", vec![5]),
        ("export_type", "user data", vec![4]),
        ("status", "success", vec![0, 1, 2, 4, 5]),
        ("module", "sales", vec![]),
    ] {
        named::<Export>(t, &ids, name, text, &expected).await;
    }
    let ids = write::<_, audit_query::ActiveModel>(t, queries()).await;
    common::<Query>(t, &ids).await;
    let all = RecordFilter::<Query>::new;
    finds(t, &ids, all().query_type(QueryType::Select).model("Order"), &[4]).await;
    for (name, text, expected) in [
        ("query_type", "count,exists", vec![1, 3]),
        ("model", "Order", vec![2, 3, 4]),
        ("entity", "Post", vec![5]),
        ("status", "failed", vec![4]),
        ("module", "sales", vec![]),
    ] {
        named::<Query>(t, &ids, name, text, &expected).await;
    }
});

db_test!(r3_the_steps_of_one_record_are_found, async |t| {
    let of = Uuid::from_u128(7);
    let ids = write::<_, audit_transition::ActiveModel>(t, steps(of)).await;
    common::<Transition>(t, &ids).await;
    let all = RecordFilter::<Transition>::new;
    finds(t, &ids, all().record_id(of), &[0, 1, 2]).await;
    finds(t, &ids, all().record_ids([of, Uuid::nil()]).status(ViolationStatus::Investigating), &[0, 3, 4, 5])
        .await;
    named::<Transition>(t, &ids, "record_id", &of.to_string(), &[0, 1, 2]).await;
    named::<Transition>(t, &ids, "status", "resolved,closed", &[1, 2]).await;
});

db_test!(q1_the_last_days_of_a_family_are_one_question, async |t| {
    let now = Utc::now();
    for days in 0..6 {
        let mut record =
            Recorded::new(now - TimeDelta::days(days) - TimeDelta::hours(1), Export::new("csv", "x"));
        record.finish();
        let row = <Export as StoredFamily>::row(&record);
        audit_export::Entity::insert(row).exec_without_returning(&t.db).await.unwrap();
    }
    let (reader, filter) = (RecordReader::<Export>::new(), RecordFilter::<Export>::new().last_days(3));
    let first = reader.page(&t.db, &filter, &PageRequest::new().page_size(2)).await.unwrap();
    assert_eq!((first.rows.len(), first.pagination.total_count), (2, Some(3)));
    // It begins at another moment each time, and is the same question.
    let next = PageRequest::new().page_size(2).cursor(first.pagination.next_cursor.unwrap());
    assert_eq!(reader.page(&t.db, &filter, &next).await.unwrap().rows.len(), 1);
});
