//! Keys of every sort, and keys that change.

use audit_seaorm::{AuditContext, AuditedEntity, scope};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, Set};

use crate::connection::connect;
use crate::fixtures::{create_table, keys, set_up_shelves};

fn shelf(room: &str, number: i32) -> (String, i32) {
    (room.to_owned(), number)
}

db_test!(q6_keys_of_every_sort_find_their_rows, async |t| {
    create_table(t, keys::device::Entity).await;
    create_table(t, keys::plan::Entity).await;
    create_table(t, keys::shelf::Entity).await;
    create_table(t, keys::reserved::Entity).await;
    let device = keys::device::ActiveModel { id: Set(uuid::Uuid::from_u128(5)), label: Set("d".into()) };
    let device = device.insert(&t.db).await.unwrap();
    let plan = keys::plan::ActiveModel {
        tier: Set(keys::plan::Tier::Pro),
        level: Set(keys::plan::Level::Two),
        fallback: Set(Some(keys::plan::Tier::Free)),
        seats: Set(keys::plan::Seats(3)),
    };
    let plan = plan.insert(&t.db).await.unwrap();
    let odd =
        keys::shelf::ActiveModel { room: Set("a/b\\".into()), number: Set(1), label: Set("odd".into()) };
    let odd = odd.insert(&t.db).await.unwrap();
    let reserved = keys::reserved::ActiveModel {
        id: Set(4),
        r#type: Set("t".into()),
        chosen: Set("c".into()),
        order: Set(1),
        mixed: Set("m".into()),
    };
    let reserved = reserved.insert(&t.db).await.unwrap();
    macro_rules! only {
        ($entity:ty, $id:expr) => {{
            let versions = <$entity>::history($id).all(&t.db).await.unwrap();
            assert_eq!(versions.len(), 1);
            versions[0].model().unwrap()
        }};
    }
    assert_eq!(only!(keys::device::Entity, device.id), device);
    assert_eq!(only!(keys::plan::Entity, keys::plan::Tier::Pro), plan);
    assert_eq!(only!(keys::shelf::Entity, shelf("a/b\\", 1)), odd);
    assert_eq!(only!(keys::reserved::Entity, 4), reserved, "a field that is no column has its default");
});

db_test!(q6_a_history_goes_on_over_changes_of_the_key, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    for sql in [
        "UPDATE shelf SET label = 'a' WHERE room = 'b'",
        "UPDATE shelf SET number = 2 WHERE room = 'b'",
        "UPDATE shelf SET label = 'c' WHERE room = 'b'",
        "UPDATE shelf SET room = 'z', number = 3 WHERE room = 'b'",
        "UPDATE shelf SET label = 'd' WHERE room = 'z'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    let versions = keys::shelf::Entity::history(shelf("z", 3)).all(&db).await.unwrap();
    let ids: Vec<_> = versions.iter().map(|v| v.change().unwrap().resource_id.clone().unwrap()).collect();
    assert_eq!(ids, ["b/1", "b/2", "b/2", "z/3", "z/3"]);
    assert_eq!(
        versions[4].model().unwrap(),
        keys::shelf::Model { room: "z".into(), number: 3, label: "d".into() }
    );
    assert_eq!(
        versions[0].model().unwrap(),
        keys::shelf::Model { room: "b".into(), number: 1, label: "a".into() },
        "its first key is known by the changes of it"
    );
    // Under the first key the story ends with the row's leaving.
    let versions = keys::shelf::Entity::history(shelf("b", 1)).all(&db).await.unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[1].change().unwrap().resource_id.as_deref(), Some("b/2"));
    let now = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
    assert!(keys::shelf::Entity::as_of(now).one(&db, shelf("b", 1)).await.unwrap().is_none());
    assert!(keys::shelf::Entity::as_of(now).one(&db, shelf("z", 3)).await.unwrap().is_some());
});

db_test!(q6_rows_that_had_one_key_in_turn_are_told_apart, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    for sql in [
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'first')",
        "UPDATE shelf SET number = 2 WHERE label = 'first'",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 3, 'second')",
        "UPDATE shelf SET number = 1 WHERE label = 'second'",
        "UPDATE shelf SET label = 'changed' WHERE number = 1",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    let versions = keys::shelf::Entity::history(shelf("a", 1)).all(&db).await.unwrap();
    let told: Vec<_> =
        versions.iter().map(|v| v.model().unwrap()).map(|row| (row.number, row.label)).collect();
    assert_eq!(
        told,
        [
            (1, "first".to_owned()),
            (2, "first".to_owned()),
            (3, "second".to_owned()),
            (1, "second".to_owned()),
            (1, "changed".to_owned()),
        ]
    );
});

db_test!(i7_a_tenants_history_is_its_own, async |t| {
    create_table(t, keys::device::Entity).await;
    let id = uuid::Uuid::from_u128(9);
    let device = keys::device::ActiveModel { id: Set(id), label: Set("acme's".into()) };
    scope(AuditContext::user(1).tenant("acme"), device.insert(&t.db)).await.unwrap();
    let count = async |tenant: Option<&str>| {
        let mut context = AuditContext::user(2);
        context.tenant = tenant.map(str::to_owned);
        scope(context, keys::device::Entity::history(id).all(&t.db)).await.unwrap().len()
    };
    assert_eq!(count(Some("acme")).await, 1);
    assert_eq!(count(Some("globex")).await, 0);
    assert_eq!(count(None).await, 1);
    let later = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
    let context = AuditContext::user(2).tenant("globex");
    let as_of = keys::device::Entity::as_of(later);
    assert!(scope(context.clone(), as_of.one(&t.db, id)).await.unwrap().is_none());
    assert_eq!(scope(context.clone(), as_of.all(&t.db)).await.unwrap().len(), 0);
    // Said explicitly it counts instead of the context's.
    let explicit = keys::device::Entity::history(id).tenant("acme");
    assert_eq!(scope(context, explicit.all(&t.db)).await.unwrap().len(), 1);
    assert_eq!(keys::device::Entity::find().all(&t.db).await.unwrap().len(), 1);
});
