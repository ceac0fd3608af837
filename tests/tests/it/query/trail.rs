//! Q2: trails of resources, activity of actors, related entries.

use audit_seaorm::entity::audit_log::{Column, Model};
use audit_seaorm::{
    AuditContext, Entry, LogReader, Resource, get_audit_trail, get_user_activity, join_key, scope,
};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, ModelTrait, QueryFilter, QuerySelect, Set};

use super::{at, entry, ids, write};
use crate::fixtures::create_table;
use crate::fixtures::music::{TABLES, band, disc};

fn of(resource: Resource, action: &'static str) -> Entry {
    Entry::new(at(0), action, resource)
}

db_test!(q2_the_trail_of_a_resource_is_all_that_was_recorded_of_it, async |t| {
    let composite = join_key(&["a/b", "7"]);
    let long = "k".repeat(3000);
    write(
        &t.db,
        &[
            of(Resource::new("Order").id(7), "create"),
            of(Resource::new("Order").id(70), "create"),
            of(Resource::new("Invoice").id(7), "create"),
            of(Resource::new("Shelf").id(&composite), "create"),
            of(Resource::new("Order").id(7), "delete"),
            of(Resource::new("Note").id(&long), "create"),
        ],
    )
    .await;
    let actions = async |rows: sea_orm::Select<_>| -> Vec<String> {
        rows.all(&t.db).await.unwrap().into_iter().map(|row: Model| row.action).collect()
    };
    assert_eq!(actions(get_audit_trail("Order", 7)).await, ["delete", "create"]);
    assert_eq!(actions(get_audit_trail("Order", 7).limit(1)).await, ["delete"]);
    assert_eq!(actions(get_audit_trail("Shelf", composite)).await, ["create"]);
    assert_eq!(actions(get_audit_trail("Note", long)).await, ["create"]);
    assert_eq!(actions(get_audit_trail("Order", 7).filter(Column::Action.eq("create"))).await, ["create"]);
    assert_eq!(actions(get_audit_trail("Order", "7' OR '1'='1")).await, [""; 0]);
});

db_test!(q2_the_activity_of_an_actor_is_limited, async |t| {
    let mut entries: Vec<Entry> = (0..10).map(entry).collect();
    for (n, entry) in entries.iter_mut().enumerate() {
        entry.actor = audit_seaorm::Actor::user(n % 2);
    }
    write(&t.db, &entries).await;
    assert_eq!(ids(t, get_user_activity(1, 3)).await, ["5", "7", "9"]);
    assert_eq!(ids(t, get_user_activity(1, 100)).await.len(), 5);
    assert_eq!(ids(t, get_user_activity(2, 100)).await.len(), 0);
});

db_test!(q2_related_entries_share_transaction_request_or_resource, async |t| {
    let with = |id: u32, transaction: Option<&str>, request: Option<&str>, hours: i64| {
        let mut entry = Entry::new(at(hours * 3600), "update", Resource::new("Thing").id(id));
        (entry.transaction_id, entry.request_id) = (transaction.map(Into::into), request.map(Into::into));
        entry
    };
    write(
        &t.db,
        &[
            with(1, Some("t1"), Some("r1"), 0),
            with(2, Some("t1"), None, 1),
            with(3, None, Some("r1"), -1),
            with(1, None, None, -5000),
            with(4, Some("t2"), Some("r2"), 0),
            with(5, Some("t1"), Some("r1"), 100),
            with(6, None, None, 0),
        ],
    )
    .await;
    let all = crate::fixtures::entries(t).await;
    let reader = LogReader::new();
    assert_eq!(ids(t, reader.related(&all[0])).await, ["2", "3", "1"], "the entry itself isn't among them");
    assert_eq!(ids(t, reader.same_transaction(&all[0])).await, ["2"]);
    assert_eq!(ids(t, reader.same_request(&all[0])).await, ["3"]);
    assert_eq!(ids(t, reader.related(&all[6])).await, [""; 0]);
    let nothing = Model { resource_id: None, ..all[6].clone() };
    assert_eq!(ids(t, reader.related(&nothing)).await, [""; 0], "nothing in common is not everything");
    assert_eq!(ids(t, reader.same_transaction(&all[6])).await, [""; 0]);
});

db_test!(q2_one_timeline_of_several_resources, async |t| {
    let order = |id: u32| Resource::new("Order").id(id);
    let resources =
        [order(1), Resource::new("Invoice").id(1), order(2), order(1), Resource::new("Payment").id(9)];
    write(&t.db, &resources.clone().map(|resource| of(resource, "x"))).await;
    let reader = LogReader::new();
    let both = reader.timeline(&[order(1), Resource::new("Payment")]);
    let rows = both.all(&t.db).await.unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.resource_type.as_str(), row.seq)).collect();
    assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["Payment", "Order", "Order"]);
    assert!(seen.is_sorted_by(|a, b| a.1 > b.1), "merged by their order: {seen:?}");
    assert_eq!(ids(t, reader.timeline(&[])).await, [""; 0]);
});

db_test!(q2_everything_that_touches_a_resource, raw, async |t| {
    audit_migration_up(t).await;
    for sql in TABLES {
        t.execute(sql).await.unwrap();
    }
    scope(AuditContext::user(1), async {
        let new_band = |id: i32, name: &str| band::ActiveModel {
            id: Set(id),
            name: Set(Some(name.into())),
            password_hint: Set(None),
        };
        let new_disc = |id: i32, band: Option<i32>| disc::ActiveModel {
            id: Set(id),
            title: Set(format!("disc {id}")),
            band_id: Set(band),
            ..Default::default()
        };
        for id in [1, 2, 12] {
            new_band(id, "a name").insert(&t.db).await.unwrap();
        }
        new_disc(10, Some(1)).insert(&t.db).await.unwrap();
        let moved = new_disc(20, Some(2)).insert(&t.db).await.unwrap();
        new_disc(30, Some(12)).insert(&t.db).await.unwrap();
        new_disc(40, None).insert(&t.db).await.unwrap();
        // From 2 to 1, and away again: it once referred to it.
        let mut moved = moved.into_active_model();
        moved.band_id = Set(Some(1));
        let mut moved = moved.update(&t.db).await.unwrap().into_active_model();
        moved.band_id = Set(None);
        let moved = moved.update(&t.db).await.unwrap();
        // By another of its references.
        let mut produced = new_disc(50, None);
        produced.producer_id = Set(Some(1));
        produced.insert(&t.db).await.unwrap();
        let mut renamed = moved.into_active_model();
        renamed.title = Set("a new title".into());
        renamed.update(&t.db).await.unwrap().delete(&t.db).await.unwrap();
        new_band(1, "renamed").update(&t.db).await.unwrap();
    })
    .await;
    let mut touching: Vec<String> = LogReader::new()
        .touching(&t.db, "band", 1)
        .all(&t.db)
        .await
        .unwrap()
        .into_iter()
        .map(|row| format!("{} {} {}", row.action, row.resource_type, row.resource_id.unwrap_or_default()))
        .collect();
    touching.reverse();
    assert_eq!(
        touching,
        [
            "create band 1",
            "create disc 10",
            "create disc 20",
            "update disc 20",
            "update disc 20",
            "create disc 50",
            "update disc 20",
            "delete disc 20",
            "update band 1",
        ]
    );
    let none = LogReader::new().touching(&t.db, "band", "1' OR 1=1 --").all(&t.db).await.unwrap();
    assert_eq!(none, []);
    // Of what no entity is known, there are its own entries.
    write(&t.db, &[of(Resource::new("elsewhere").id(1), "x")]).await;
    assert_eq!(ids(t, LogReader::new().touching(&t.db, "elsewhere", 1)).await, ["1"]);
});

db_test!(q2_text_keys_are_followed, raw, async |t| {
    audit_migration_up(t).await;
    create_table(t, crate::fixtures::blog::author::Entity).await;
    let follow = |resource: &str, field: &str| {
        let mut entry = of(Resource::new("post").id("p/1"), "create");
        entry.changes = Some(format!(r#"{{"{field}":{{"new":{resource}}}}}"#));
        entry
    };
    write(
        &t.db,
        &[of(Resource::new("author").id(5), "create"), follow("5", "author_id"), follow("55", "author_id")],
    )
    .await;
    let mut broken = of(Resource::new("post").id("p/2"), "create");
    broken.changes = Some(r#"["author_id" is no JSON"#.into());
    write(&t.db, &[broken]).await;
    assert_eq!(ids(t, LogReader::new().touching(&t.db, "author", 5)).await, ["5", "p/1", "p/1"]);
});

async fn audit_migration_up(t: &audit_tests::TestDb) {
    use sea_orm_migration::MigratorTrait;
    audit_migration::Migrator::up(&t.db, None).await.expect("the audit tables");
}
