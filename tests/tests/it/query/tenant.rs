//! I7: a reader that is bound to a tenant gets no entry of another by any parameter.

use audit_seaorm::entity::audit_log::{Column, Model};
use audit_seaorm::{Actor, Entry, LogFilter, LogReader, PageRequest, Resource, Severity};
use audit_tests::{TestDb, db_test};
use sea_orm::{ColumnTrait, Condition, QueryFilter, Select};

use super::{at, write};
use crate::random::Random;

/// Entries that look alike but for their tenant.
async fn fill(t: &TestDb) -> Vec<Model> {
    let mut entries = Vec::new();
    for n in 0..30 {
        let kind = ["band", "disc"][n % 2];
        let mut entry = Entry::new(at(0), "update", Resource::new(kind).id(n % 5).name("a thing"));
        entry.tenant = [Some("acme".to_owned()), Some("globex".to_owned()), None][n % 3].clone();
        entry.actor = Actor { email: Some("ann@example.org".into()), ..Actor::user(n % 4).clone() };
        entry.changes = Some(format!(r#"{{"band_id":{{"old":1,"new":{}}}}}"#, n % 5));
        entry.metadata = Some(r#"{"department":"treasury"}"#.into());
        (entry.transaction_id, entry.request_id) = (Some("t".into()), Some("r".into()));
        (entry.session_id, entry.ip_address) = (Some("s".into()), Some("192.0.2.1".into()));
        entry.severity = Severity::High;
        entries.push(entry);
    }
    write(&t.db, &entries).await;
    crate::fixtures::entries(t).await
}

async fn only_acme(t: &TestDb, what: &str, select: Select<audit_seaorm::entity::audit_log::Entity>) -> usize {
    let rows = select.all(&t.db).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(rows.iter().all(|row| row.tenant.as_deref() == Some("acme")), "{what}");
    rows.len()
}

db_test!(i7_no_question_of_a_bound_reader_finds_another_tenants_entry, async |t| {
    let all = fill(t).await;
    let acme = LogReader::for_tenant("acme");
    assert_eq!(only_acme(t, "all", acme.logs(&LogFilter::new()).unwrap()).await, 10);
    assert!(only_acme(t, "trail", acme.trail("band", 0)).await > 0);
    assert!(only_acme(t, "activity", acme.activity(1)).await > 0);
    let things = [Resource::new("band"), Resource::new("disc").id(1)];
    assert!(only_acme(t, "timeline", acme.timeline(&things)).await > 0);
    for id in 0..5 {
        only_acme(t, "touching", acme.touching(&t.db, "band", id)).await;
    }
    for entry in &all {
        // Also of an entry that it should never have come by.
        only_acme(t, "related", acme.related(entry)).await;
        only_acme(t, "transaction", acme.same_transaction(entry)).await;
        only_acme(t, "request", acme.same_request(entry)).await;
        let by_id = acme.entry(&t.db, entry.id).await.unwrap();
        assert_eq!(by_id.is_some(), entry.tenant.as_deref() == Some("acme"));
    }
    for odd in ["globex", "", "%", "acme' OR '1'='1", "ACME", "acme\0"] {
        assert_eq!(only_acme(t, odd, acme.logs(&LogFilter::new().tenant(odd)).unwrap()).await, 0, "{odd}");
    }
    let several = LogFilter::new().tenants(["globex", "acme"]);
    assert_eq!(only_acme(t, "tenants", acme.logs(&several).unwrap()).await, 10);
    // What the caller goes on with can't widen it either.
    let wide = Condition::any().add(Column::Tenant.eq("globex")).add(Column::Tenant.is_null());
    assert_eq!(only_acme(t, "wide", acme.logs(&LogFilter::new()).unwrap().filter(wide)).await, 0);
    assert_eq!(only_acme(t, "empty", LogReader::for_tenant("").logs(&LogFilter::new()).unwrap()).await, 0);
});

db_test!(i7_no_filter_widens_a_bound_reader, async |t| {
    fill(t).await;
    let acme = LogReader::for_tenant("acme");
    let mut random = Random(3);
    for _ in 0..60 {
        let mut filter = LogFilter::new();
        for _ in 0..=random.below(4) {
            let text =
                ["", "%", "t", "r", "s", "1", "globex", "' OR 1=1 --", "band"][random.below(9) as usize];
            filter = match random.below(14) {
                0 => filter.tenants([text, "globex"]),
                1 => filter.actors([text, "1"]),
                2 => filter.search(text),
                3 => filter.user("ann@example.org"),
                4 => filter.entity("band"),
                5 => filter.entity_ids(["1", text]),
                6 => filter.transaction_id("t"),
                7 => filter.request_id("r"),
                8 => filter.session_id("s"),
                9 => filter.ip("192.0.2.1"),
                10 => filter.security_events(),
                11 => filter.metadata("department", "treasury").on(&t.db),
                12 => filter.last_days(36_500),
                _ => filter.severities([Severity::High]),
            };
        }
        only_acme(t, &format!("{filter:?}"), acme.logs(&filter).unwrap()).await;
    }
});

db_test!(i7_cursors_lead_to_nobody_elses_entries, async |t| {
    fill(t).await;
    let filter = LogFilter::new();
    let (acme, globex, all) =
        (LogReader::for_tenant("acme"), LogReader::for_tenant("globex"), LogReader::new());
    for other in [&globex, &all] {
        let page = other.page(&t.db, &filter, &PageRequest::new().page_size(2)).await.unwrap();
        let cursor = page.pagination.next_cursor.unwrap();
        let error = acme.page(&t.db, &filter, &PageRequest::new().cursor(cursor)).await.unwrap_err();
        assert!(error.to_string().contains("another question"), "{error}");
    }
    let mut request = PageRequest::new().page_size(3);
    let mut seen = 0;
    loop {
        let page = acme.page(&t.db, &filter, &request).await.unwrap();
        assert!(page.rows.iter().all(|row| row.tenant.as_deref() == Some("acme")));
        assert_eq!(page.pagination.total_count, Some(10), "the count is its own as well");
        seen += page.rows.len();
        let Some(cursor) = page.pagination.next_cursor else { break };
        request = PageRequest::new().page_size(3).cursor(cursor);
    }
    assert_eq!(seen, 10);
});
