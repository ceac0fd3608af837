//! Single rows and fields.

use audit_seaorm::restore::Effect;
use audit_seaorm::{AuditContext, Restore, Unknown};
use audit_tests::{DbBackend, db_test};
use sea_orm::{ActiveModelTrait, EntityTrait, ModelTrait, Set};
use serde_json::json;

use super::{conflicts, newest, refusal, restore, run, told};
use crate::connection::connect;
use crate::fixtures::{
    account, changes, create_table, entries, everything, keys, renamed, scalars, set_up_shelves,
};

fn shelf(room: &str, number: i32) -> (String, i32) {
    (room.to_owned(), number)
}

db_test!(q5_a_deleted_row_comes_back_and_its_return_is_recorded, async |t| {
    create_table(t, everything::Entity).await;
    let db = connect(t);
    let row = everything::ActiveModel {
        text: Set("text".into()),
        empty: Set(Some(String::new())),
        double: Set(0.1 + 0.2),
        json: Set(json!({"a": [1, 2.5, null]})),
        bytes: Set(vec![0, 255]),
        decimal: Set("12.3400".parse().unwrap()),
        ..everything::plain()
    };
    let id = row.insert(&db).await.unwrap().id;
    let row = everything::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
    row.clone().delete(&db).await.unwrap();
    let deletion = newest(t, "delete", "everything").await;

    let before = entries(t).await.len();
    let plan = Restore::deleted::<everything::Entity>(id).reason("a mistake").plan(&db).await.unwrap();
    assert_eq!(told(&plan), [format!("insert everything {id}")]);
    assert_eq!(plan.steps()[0].entries, [deletion.id]);
    assert!(plan.to_string().contains("text: - -> \"text\""), "{plan}");
    // A plan does nothing.
    assert_eq!(entries(t).await.len(), before);
    assert_eq!(everything::Entity::find().all(&t.db).await.unwrap(), []);

    let restored =
        plan.execute(&db.with_context(AuditContext::user(8).named("Rita").tenant("acme"))).await.unwrap();
    assert_eq!(restored.rows, 1);
    assert_eq!(everything::Entity::find().all(&t.db).await.unwrap(), [row]);
    let fresh = entries(t).await.split_off(before);
    let actions: Vec<_> = fresh.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["create", "restore"]);
    for entry in &fresh {
        let metadata: serde_json::Value = serde_json::from_str(entry.metadata.as_deref().unwrap()).unwrap();
        assert_eq!(metadata["restores"], json!(deletion.id.to_string()));
        assert_eq!(entry.reason.as_deref(), Some("a mistake"));
        assert_eq!(entry.actor_name.as_deref(), Some("Rita"));
        assert_eq!(entry.transaction_id.as_deref(), Some(restored.transaction_id.as_str()));
        assert_eq!(entry.resource_id, Some(id.to_string()));
        assert_eq!(entry.hash_matches(), Some(true));
    }
    // Once is enough.
    let error = refusal(&db, Restore::deleted::<everything::Entity>(id)).await;
    assert_eq!(error, format!("restore: everything {id} is there; nothing of it is deleted"));
    let error = plan.execute(&db).await.unwrap_err().to_string();
    assert!(error.contains("has changed since the plan was made"), "{error}");
});

db_test!(q5_rows_come_back_whatever_their_key, async |t| {
    set_up_shelves(t).await;
    create_table(t, keys::device::Entity).await;
    create_table(t, keys::plan::Entity).await;
    let db = connect(t);
    let device = keys::device::ActiveModel { id: Set(uuid::Uuid::from_u128(5)), label: Set("d".into()) };
    let device = device.insert(&db).await.unwrap();
    let plan = keys::plan::ActiveModel {
        tier: Set(keys::plan::Tier::Pro),
        level: Set(keys::plan::Level::Two),
        fallback: Set(None),
        seats: Set(keys::plan::Seats(3)),
    };
    let plan = plan.insert(&db).await.unwrap();
    run(&db, &["DELETE FROM device", "DELETE FROM plan", "DELETE FROM shelf WHERE room = 'b'"]).await;
    restore(&db, Restore::deleted::<keys::device::Entity>(device.id)).await;
    restore(&db, Restore::deleted_resource("plan", "pro")).await;
    restore(&db, Restore::deleted_resource("shelf", "b/1")).await;
    assert_eq!(keys::device::Entity::find().all(&t.db).await.unwrap(), [device]);
    assert_eq!(keys::plan::Entity::find().all(&t.db).await.unwrap(), [plan]);
    let back = keys::shelf::Entity::find_by_id(shelf("b", 1)).one(&t.db).await.unwrap().unwrap();
    assert_eq!(back.label, "three");
});

db_test!(q5_a_change_is_taken_back_whole_or_by_field, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(&db, &["UPDATE shelf SET label = 'new', number = 9 WHERE room = 'b'"]).await;
    let update = newest(t, "update", "shelf").await;
    restore(&db, Restore::revert_field(update.id, "label")).await;
    let now = keys::shelf::Entity::find_by_id(shelf("b", 9)).one(&t.db).await.unwrap().unwrap();
    assert_eq!(now.label, "three");
    // What is left of the entry is its change of the key.
    let plan = restore(&db, Restore::revert_entry(update.id)).await;
    assert_eq!(told(&plan), ["update shelf b/9"]);
    assert_eq!(plan.steps()[0].fields.len(), 1);
    assert!(keys::shelf::Entity::find_by_id(shelf("b", 1)).one(&t.db).await.unwrap().is_some());
    let error = refusal(&db, Restore::revert_field(update.id, "no such field")).await;
    assert_eq!(error, "restore: `shelf` has no field `no such field`");
    let error = refusal(&db, Restore::revert_field(update.id, "room")).await;
    assert!(error.contains("says nothing of a change of `room`"), "{error}");

    // A row that began goes.
    run(&db, &["INSERT INTO shelf (room, number, label) VALUES ('n', 1, 'x')"]).await;
    let created = newest(t, "create", "shelf").await;
    let error = refusal(&db, Restore::revert_field(created.id, "label")).await;
    assert!(error.contains("take it back by `revert_entry`"), "{error}");
    restore(&db, Restore::revert_entry(created.id)).await;
    assert!(keys::shelf::Entity::find_by_id(shelf("n", 1)).one(&t.db).await.unwrap().is_none());
    let error = refusal(&db, Restore::revert_entry(created.id)).await;
    assert_eq!(error, "restore: nothing to do: shelf n/1 is as it was");
    // And its going is taken back like any other.
    let gone = newest(t, "delete", "shelf").await;
    restore(&db, Restore::revert_entry(gone.id)).await;
    assert!(keys::shelf::Entity::find_by_id(shelf("n", 1)).one(&t.db).await.unwrap().is_some());
    let summary = newest(t, "revert", "shelf").await;
    assert_eq!(summary.severity, "medium");
});

db_test!(q5_a_row_becomes_what_it_was, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    run(
        &db,
        &[
            "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one')",
            "UPDATE shelf SET label = 'two'",
            "UPDATE shelf SET label = 'three'",
        ],
    )
    .await;
    let all = entries(t).await;
    let label = async || {
        keys::shelf::Entity::find_by_id(shelf("a", 1)).one(&t.db).await.unwrap().map(|row| row.label)
    };
    // Later changes are what is taken back: no conflict.
    restore(&db, Restore::to_version(all[1].id)).await;
    assert_eq!(label().await.as_deref(), Some("two"));
    restore(&db, Restore::as_of::<keys::shelf::Entity>(shelf("a", 1), all[0].timestamp)).await;
    assert_eq!(label().await.as_deref(), Some("one"));
    run(&db, &["DELETE FROM shelf"]).await;
    restore(&db, Restore::to_version(all[2].id)).await;
    assert_eq!(label().await.as_deref(), Some("three"));
    // To before it was: it goes.
    let before = all[0].timestamp - chrono::TimeDelta::seconds(1);
    let plan = restore(&db, Restore::resource_as_of("shelf", "a/1", before)).await;
    assert_eq!(told(&plan), ["delete shelf a/1"]);
    assert_eq!(label().await, None);
});

db_test!(q5_what_is_not_recorded_is_named_and_has_to_be_given, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let mut new = crate::fixtures::account("Ada", 100);
    new.api_token = Set(Some("t0ken".into()));
    let row = new.insert(&db).await.unwrap();
    row.clone().delete(&db).await.unwrap();
    let description = Restore::deleted::<account::Entity>(row.id);
    let plan = description.clone().plan(&db).await.unwrap();
    let unrestorable: Vec<_> = plan.steps()[0]
        .unrestorable
        .iter()
        .map(|field| (field.field.as_str(), field.why, field.effect))
        .collect();
    assert_eq!(
        unrestorable,
        [
            ("iban", Unknown::Masked, Effect::Needed),
            ("pin_hash", Unknown::NotRecorded, Effect::Needed),
            ("api_token", Unknown::Masked, Effect::BecomesNull),
        ]
    );
    let id = row.id;
    assert_eq!(
        conflicts(&plan),
        [
            format!("Account {id} needs a value of `iban`, which isn't known (masked); give it by `set`"),
            format!(
                "Account {id} needs a value of `pin_hash`, which isn't known (not recorded); give it by `set`"
            ),
        ]
    );
    let error = plan.force().execute(&db).await.unwrap_err().to_string();
    assert!(error.contains("needs a value of `iban`"), "not even by force: {error}");
    assert_eq!(account::Entity::find().all(&t.db).await.unwrap(), []);

    let error = refusal(&db, description.clone().set("iban", 5)).await;
    assert_eq!(error, "restore: the value given for `iban` of Account isn't of its type");
    let given = description
        .set("iban", "DE-new")
        .set_of("Account", id, "pin_hash", "pin-new")
        .set("owner", "not Ada");
    let plan = restore(&db, given).await;
    let shown = format!("{plan} {plan:?} {}", serde_json::to_string(plan.steps()).unwrap());
    assert!(!shown.contains("DE-new") && !shown.contains("pin-new") && !shown.contains("t0ken"), "{shown}");
    let expected =
        account::Model { iban: "DE-new".into(), pin_hash: "pin-new".into(), api_token: None, ..row };
    assert_eq!(
        account::Entity::find().all(&t.db).await.unwrap(),
        [expected],
        "what is recorded isn't overruled"
    );
});

db_test!(q5_hidden_fields_of_a_row_that_is_there_stay, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let row = crate::fixtures::account("Ada", 100).insert(&db).await.unwrap();
    run(&db, &["UPDATE account SET iban = 'DE-other', balance = 2"]).await;
    let update = newest(t, "update", "Account").await;
    let plan = restore(&db, Restore::revert_entry(update.id)).await;
    assert_eq!(plan.steps()[0].fields.len(), 1);
    assert_eq!(
        plan.steps()[0].unrestorable.iter().map(|f| (f.field.as_str(), f.effect)).collect::<Vec<_>>(),
        [("iban", Effect::Stays)]
    );
    let now = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!((now.balance, now.iban.as_str()), (row.balance, "DE-other"));
    assert_eq!(
        changes(&newest(t, "update", "Account").await),
        json!({"balance": {"old": "2.00", "new": "1.00"}})
    );
    // Where nothing else changed, nothing can be done.
    run(&db, &["UPDATE account SET iban = 'DE-third'"]).await;
    let update = newest(t, "update", "Account").await;
    let error = refusal(&db, Restore::revert_entry(update.id)).await;
    assert_eq!(error, format!("restore: nothing of Account {} can be restored: `iban` (masked)", row.id));
    restore(&db, Restore::revert_entry(update.id).set("iban", "DE-given")).await;
    let now = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(now.iban, "DE-given");
});

db_test!(q5_rows_come_back_into_renamed_columns, async |t| {
    t.execute(renamed::TABLE).await.unwrap();
    let old = renamed::before::ActiveModel {
        id: Set(1),
        headline: Set("first".into()),
        grade: Set(5),
        dropped: Set(Some("gone".into())),
    };
    old.insert(&t.db).await.unwrap().delete(&t.db).await.unwrap();
    for sql in [
        "ALTER TABLE article RENAME COLUMN headline TO title",
        "ALTER TABLE article RENAME COLUMN grade TO position",
        "ALTER TABLE article DROP COLUMN dropped",
        "ALTER TABLE article ADD COLUMN added INT NULL",
        "ALTER TABLE article ADD COLUMN extra INT NULL",
    ] {
        t.execute(sql).await.unwrap();
    }
    let audit = audit_seaorm::Audit::builder().exclude::<renamed::before::Entity>().build().unwrap();
    let db = audit.connect(t.db.clone());
    restore(&db, Restore::deleted::<renamed::after::Entity>(1)).await;
    let expected =
        renamed::after::Model { id: 1, title: "first".into(), position: 5, added: None, extra: None };
    assert_eq!(renamed::after::Entity::find().all(&t.db).await.unwrap(), [expected]);
});

db_test!(q5_columns_of_unusual_types_and_names_come_back, async |t| {
    if t.backend == DbBackend::Postgres {
        t.execute("CREATE TYPE mood AS ENUM ('calm', 'so so')").await.unwrap();
    }
    create_table(t, scalars::Entity).await;
    let db = connect(t);
    let row = scalars::ActiveModel {
        id: Set(1),
        part: Set("p/1".into()),
        title: Set("t".into()),
        flag: Set(true),
        small: Set(-3),
        int: Set(None),
        big: Set(i64::MIN),
        big_optional: Set(Some(i64::MAX)),
        single: Set(0.1),
        double: Set(Some(1e-7)),
        text: Set(None),
        fixed: Set("fix".into()),
        bytes: Set(vec![0, 255]),
        binary: Set(vec![4, 3, 2, 1]),
        var_binary: Set(None),
        date: Set("2024-02-29".parse().unwrap()),
        time: Set(Some("10:30:00".parse().unwrap())),
        naive: Set("2024-01-15T10:30:00".parse().unwrap()),
        utc: Set(None),
        zoned: Set("2024-01-15T10:30:00Z".parse().unwrap()),
        uuid: Set(Some(uuid::Uuid::from_u128(3))),
        decimal: Set("1.5000".parse().unwrap()),
        mood: Set(scalars::Mood::SoSo),
        other_mood: Set(Some(scalars::Mood::Calm)),
        masked: Set(Some("m".into())),
        api_token: Set(None),
        excluded: Set(Some("e".into())),
        silent: Set(Some(5)),
        odd: Set(9),
    };
    scalars::Entity::insert(row).exec_without_returning(&db).await.unwrap();
    let key = (1_i64, "p/1".to_owned());
    let stored = scalars::Entity::find_by_id(key.clone()).one(&t.db).await.unwrap().unwrap();
    stored.clone().delete(&db).await.unwrap();
    restore(&db, Restore::deleted::<scalars::Entity>(key.clone()).set("masked", "given")).await;
    let expected = scalars::Model { masked: Some("given".into()), excluded: None, ..stored };
    let back = scalars::Entity::find_by_id(key.clone()).one(&t.db).await.unwrap().unwrap();
    assert_eq!(back, expected);
    // And values of such types are set back.
    let change = scalars::ActiveModel {
        id: Set(1),
        part: Set("p/1".into()),
        mood: Set(scalars::Mood::Calm),
        other_mood: Set(None),
        odd: Set(10),
        silent: Set(None),
        ..Default::default()
    };
    change.update(&db).await.unwrap();
    let update = newest(t, "update", "Scalar's").await;
    restore(&db, Restore::revert_entry(update.id)).await;
    assert_eq!(scalars::Entity::find_by_id(key).one(&t.db).await.unwrap().unwrap(), expected);
});

db_test!(q5_arrays_come_back, on(postgres), async |t| {
    use everything::arrays;
    create_table(t, arrays::Entity).await;
    let db = connect(t);
    let row = arrays::ActiveModel {
        numbers: Set(vec![1, -2]),
        words: Set(Some(vec!["a\"b".to_owned(), String::new()])),
        ..Default::default()
    };
    let row = row.insert(&db).await.unwrap();
    row.clone().delete(&db).await.unwrap();
    restore(&db, Restore::deleted::<arrays::Entity>(row.id)).await;
    assert_eq!(arrays::Entity::find().all(&t.db).await.unwrap(), [row]);
});
