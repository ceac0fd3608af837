//! What isn't known is said to be unknown, and never made up.

use audit_seaorm::{Audit, AuditedEntity, Config, FieldState, Unknown};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, Set};
use serde_json::json;

use super::{Steps, at};
use crate::fixtures::{account, create_table, everything, renamed};

fn known(value: serde_json::Value) -> Option<FieldState> {
    Some(FieldState::Known(value))
}

fn unknown(why: Unknown) -> Option<FieldState> {
    Some(FieldState::Unknown(why))
}

db_test!(q6_hidden_fields_are_unknown, async |t| {
    create_table(t, account::Entity).await;
    let mut new = crate::fixtures::account("Ada", 100);
    new.api_token = Set(Some("t0ken".into()));
    let row = new.insert(&t.db).await.unwrap();
    let version = &account::Entity::history(row.id).all(&t.db).await.unwrap()[0];
    assert_eq!(version.get("owner"), known(json!("Ada")));
    assert_eq!(version.get("iban"), unknown(Unknown::Masked));
    assert_eq!(version.get("api_token"), unknown(Unknown::Masked));
    assert_eq!(version.get("pin_hash"), unknown(Unknown::NotRecorded));
    assert_eq!(version.last_recorded("iban"), None);
    let error = version.model().unwrap_err();
    assert_eq!(
        error.to_string(),
        "not all of the row is known: `iban` (masked), `pin_hash` (not recorded), `api_token` (masked); fill them in by `model_with`"
    );
    assert_eq!(version.model_or(&row).unwrap(), row);
    let shown = format!("{version:?} {error:?}");
    assert!(!shown.contains("Ada") && !shown.contains("t0ken"), "{shown}");
});

db_test!(q6_a_silent_field_is_known_where_an_entry_tells_it, async |t| {
    create_table(t, account::Entity).await;
    let audit = Audit::builder().clock(Steps::new()).build().unwrap();
    let db = audit.connect(t.db.clone());
    let moment = |day: &str| Some(format!("2024-01-{day}T00:00:00Z").parse().unwrap());
    let mut new = crate::fixtures::account("Ada", 100);
    new.last_seen = Set(moment("01"));
    let row = account::Entity::insert(new).exec_with_returning(&db).await.unwrap(); // 1
    let seen = account::ActiveModel { id: Set(row.id), last_seen: Set(moment("02")), ..Default::default() };
    seen.update(&db).await.unwrap(); // no entry
    db.execute_unprepared("UPDATE account SET note = 'x'").await.unwrap(); // 2
    let both = account::ActiveModel {
        id: Set(row.id),
        last_seen: Set(moment("03")),
        note: Set(None),
        ..Default::default()
    };
    both.update(&db).await.unwrap(); // 3
    let versions = account::Entity::history(row.id).all(&db).await.unwrap();
    let told: Vec<_> = versions.iter().map(|version| version.get("last_seen").unwrap()).collect();
    let day = |day: &str| FieldState::Known(json!(format!("2024-01-{day}T00:00:00Z")));
    assert_eq!(told, [day("01"), FieldState::Unknown(Unknown::Contradicted), day("03")]);
    let later = account::Entity::as_of(at(9)).one(&db, row.id).await.unwrap().unwrap();
    assert_eq!(later.get("last_seen").unwrap(), day("03"), "by the last entry itself");
    db.execute_unprepared("UPDATE account SET note = 'y'").await.unwrap(); // 4
    let later = account::Entity::as_of(at(9)).one(&db, row.id).await.unwrap().unwrap();
    assert_eq!(later.get("last_seen"), unknown(Unknown::Silent));
    assert_eq!(later.last_recorded("last_seen"), Some(json!("2024-01-03T00:00:00Z")));
});

db_test!(q6_an_unrecorded_change_makes_what_was_in_between_unknown, async |t| {
    crate::fixtures::set_up_shelves(t).await;
    let db = Audit::builder().clock(Steps::new()).build().unwrap().connect(t.db.clone());
    use crate::fixtures::keys::shelf;
    db.execute_unprepared("UPDATE shelf SET label = 'a' WHERE room = 'b'").await.unwrap(); // 1
    t.execute("UPDATE shelf SET label = 'behind its back' WHERE room = 'b'").await.unwrap();
    db.execute_unprepared("UPDATE shelf SET label = 'c' WHERE room = 'b'").await.unwrap(); // 2
    let label = async |second| {
        let was = shelf::Entity::as_of(at(second)).one(&db, ("b".to_owned(), 1)).await.unwrap().unwrap();
        (was.get("label").unwrap(), was.last_recorded("label"))
    };
    assert_eq!(label(0).await.0, FieldState::Known(json!("three")));
    assert_eq!(label(2).await.0, FieldState::Known(json!("c")));
    let versions = shelf::Entity::history(("b".to_owned(), 1)).all(&db).await.unwrap();
    assert_eq!(versions[0].get("label"), known(json!("a")), "right after its entry it was so");
});

db_test!(q6_secrets_inside_and_large_values_are_unknown, async |t| {
    create_table(t, everything::Entity).await;
    let mut config = Config::default();
    config.max_value_bytes = 1024;
    let audit = Audit::builder().config(config).build().unwrap();
    let insert = async |text: &str, json: serde_json::Value| {
        let row = everything::ActiveModel { text: Set(text.into()), json: Set(json), ..everything::plain() };
        let row = audit.within(row.insert(&t.db)).await.unwrap();
        everything::Entity::history(row.id).audit(&audit).all(&t.db).await.unwrap().remove(0)
    };
    let card = insert("paid by 4111 1111 1111 1111", json!({"password": "x", "a": 1})).await;
    assert_eq!(card.get("text"), unknown(Unknown::Sanitised));
    assert_eq!(card.get("json"), unknown(Unknown::Sanitised));
    let large = insert(&"x".repeat(5000), json!({"a": [1.5, null]})).await;
    assert_eq!(large.get("text"), unknown(Unknown::Oversized));
    assert_eq!(large.get("json"), known(json!({"a": [1.5, null]})));
    assert_eq!(insert("***", json!(null)).await.get("text"), unknown(Unknown::Masked), "it can't be told");
});

db_test!(q6_renamed_and_dropped_columns_stay_readable, async |t| {
    t.execute(renamed::TABLE).await.unwrap();
    let old = renamed::before::ActiveModel {
        id: Set(1),
        headline: Set("first".into()),
        grade: Set(5),
        dropped: Set(Some("gone".into())),
    };
    let old = old.insert(&t.db).await.unwrap();
    let mut change: renamed::before::ActiveModel = old.into();
    change.headline = Set("second".into());
    change.update(&t.db).await.unwrap();
    for sql in [
        "ALTER TABLE article RENAME COLUMN headline TO title",
        "ALTER TABLE article RENAME COLUMN grade TO position",
        "ALTER TABLE article DROP COLUMN dropped",
        "ALTER TABLE article ADD COLUMN added INT NULL",
        "ALTER TABLE article ADD COLUMN extra INT NULL",
    ] {
        t.execute(sql).await.unwrap();
    }
    let change = renamed::after::ActiveModel {
        id: Set(1),
        title: Set("third".into()),
        added: Set(Some(3)),
        ..Default::default()
    };
    change.update(&t.db).await.unwrap();
    let versions = renamed::after::Entity::history(1).all(&t.db).await.unwrap();
    let titles: Vec<_> = versions.iter().map(|version| version.get("title").unwrap()).collect();
    assert_eq!(titles, ["first", "second", "third"].map(|title| FieldState::Known(json!(title))));
    assert_eq!(versions[1].change().unwrap().changed, ["title"], "by its name of today");
    for name in ["headline", "heading"] {
        assert_eq!(versions[0].get(name), known(json!("first")), "{name}");
    }
    for name in ["grade", "place", "position"] {
        assert_eq!(versions[2].get(name), known(json!(5)), "{name}");
    }
    // A column that is no more is there still, but no part of the model; one that wasn't there yet is unknown.
    assert_eq!(versions[0].get("dropped"), known(json!("gone")));
    assert_eq!(versions[0].get("added"), unknown(Unknown::NotRecorded));
    assert_eq!(versions[2].get("added"), known(json!(3)));
    let model =
        versions[1].model_with(|field| ["added", "extra"].contains(&field).then(|| None::<i32>.into()));
    assert_eq!(
        model.unwrap(),
        renamed::after::Model { id: 1, title: "second".into(), position: 5, added: None, extra: None }
    );
});
