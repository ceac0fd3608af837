//! The versions of one row.

use audit_seaorm::{Audit, AuditContext, AuditedEntity, FieldState, Unknown, scope};
use audit_tests::db_test;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ModelTrait, QueryFilter, Set};
use serde_json::json;

use crate::connection::connect;
use crate::fixtures::{blog, create_table, keys, set_up_shelves};

db_test!(q6_a_row_tells_its_history_as_models, async |t| {
    create_table(t, blog::author::Entity).await;
    create_table(t, blog::post::Entity).await;
    for id in [1, 9] {
        blog::author::ActiveModel { id: Set(id), name: Set("a".into()) }.insert(&t.db).await.unwrap();
    }
    let row = scope(
        AuditContext::user(1).named("Ann").reason("first draft"),
        blog::post::ActiveModel { author_id: Set(1), title: Set("one".into()), ..Default::default() }
            .insert(&t.db),
    )
    .await
    .unwrap();
    // Another row of the same table.
    let other =
        blog::post::ActiveModel { author_id: Set(9), title: Set("other".into()), ..Default::default() };
    other.insert(&t.db).await.unwrap();
    let change = blog::post::ActiveModel { id: Set(row.id), title: Set("two".into()), ..Default::default() };
    let row = scope(AuditContext::user(2).named("Ben"), change.update(&t.db)).await.unwrap();
    let id = row.id;
    row.clone().delete(&t.db).await.unwrap();

    let versions = blog::post::Entity::history(id).all(&t.db).await.unwrap();
    let told: Vec<_> = versions
        .iter()
        .map(|version| {
            let change = version.change().unwrap();
            let model = version.model().unwrap();
            (change.action.as_str(), change.actor.name.as_deref(), model.title, change.changed.join(","))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("create", Some("Ann"), "one".to_owned(), "id,author_id,headline".to_owned()),
            ("update", Some("Ben"), "two".to_owned(), "headline".to_owned()),
            ("delete", None, "two".to_owned(), "id,author_id,headline".to_owned()),
        ]
    );
    assert_eq!(versions[0].change().unwrap().reason.as_deref(), Some("first draft"));
    assert_eq!(versions[2].model().unwrap(), row, "a deleted row is shown as it was before");
    assert!(versions[2].is_deleted() && !versions[1].is_deleted());
    // By the name in entries, and by the column's.
    for name in ["headline", "title"] {
        assert_eq!(versions[0].get(name), Some(FieldState::Known(json!("one"))), "{name}");
    }
    assert_eq!(versions[0].get("no such field"), None);
    assert_eq!(blog::post::Entity::history(id + 1000).all(&t.db).await.unwrap().len(), 0);
});

db_test!(q6_bulk_and_raw_statements_are_in_the_history, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    keys::shelf::Entity::update_many()
        .col_expr(keys::shelf::Column::Label, Expr::value("bulk"))
        .filter(keys::shelf::Column::Room.eq("a"))
        .exec(&db)
        .await
        .unwrap();
    db.execute_unprepared("UPDATE shelf SET label = 'raw' WHERE room = 'a' AND number = 2").await.unwrap();
    db.execute_unprepared("DELETE FROM shelf WHERE number = 2").await.unwrap();
    db.execute_unprepared("INSERT INTO shelf (room, number, label) VALUES ('a', 2, 'again')").await.unwrap();
    let history = keys::shelf::Entity::history(("a".to_owned(), 2)).tenant("acme");
    let versions = history.all(&db).await.unwrap();
    let labels: Vec<_> = versions.iter().map(|version| version.get("label").unwrap()).collect();
    let known = |label: &str| FieldState::Known(json!(label));
    assert_eq!(labels, [known("bulk"), known("raw"), known("raw"), known("again")]);
    // The first life began before auditing; its end tells the key, which no entry before did.
    let whole = |label: &str| keys::shelf::Model { room: "a".into(), number: 2, label: label.into() };
    let models: Vec<_> = versions.iter().map(|version| version.model().unwrap()).collect();
    assert_eq!(models, [whole("bulk"), whole("raw"), whole("raw"), whole("again")]);
});

db_test!(q6_a_row_older_than_its_entries_is_known_in_parts, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    db.execute_unprepared("UPDATE shelf SET label = 'new' WHERE room = 'b'").await.unwrap();
    let versions = keys::shelf::Entity::history(("b".to_owned(), 1)).all(&db).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].get("label"), Some(FieldState::Known(json!("new"))));
    assert_eq!(versions[0].get("room"), Some(FieldState::Unknown(Unknown::BeforeFirstEntry)));
    let error = versions[0].model().unwrap_err();
    let named: Vec<_> = error.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named, ["room", "number"]);
    assert!(error.to_string().contains("`room` (before the first entry)"), "{error}");
    let filled = versions[0].model_with(|field| match field {
        "room" => Some("b".into()),
        "number" => Some(1.into()),
        _ => None,
    });
    assert_eq!(filled.unwrap(), keys::shelf::Model { room: "b".into(), number: 1, label: "new".into() });
    // A value of another type doesn't fill it.
    let error = versions[0].model_with(|_| Some(1.into())).unwrap_err();
    assert_eq!(error.fields.len(), 1);
});

db_test!(q6_snapshots_tell_what_did_not_change, async |t| {
    set_up_shelves(t).await;
    let mut config = audit_seaorm::Config::default();
    config.snapshot = true;
    let audit = Audit::builder().config(config).build().unwrap();
    let db = audit.connect(t.db.clone());
    db.execute_unprepared("UPDATE shelf SET label = 'new' WHERE room = 'b'").await.unwrap();
    let versions = keys::shelf::Entity::history(("b".to_owned(), 1)).all(&t.db).await.unwrap();
    assert_eq!(
        versions[0].model().unwrap(),
        keys::shelf::Model { room: "b".into(), number: 1, label: "new".into() }
    );
    assert_eq!(versions[0].change().unwrap().changed, ["label"]);
});

db_test!(q6_failed_operations_are_no_versions, async |t| {
    create_table(t, keys::device::Entity).await;
    let id = uuid::Uuid::from_u128(7);
    keys::device::ActiveModel { id: Set(id), label: Set("a".into()) }.insert(&t.db).await.unwrap();
    let failed = |status| {
        audit_seaorm::Operation::new("update", "device")
            .id(id)
            .status(status)
            .old_data(json!({"label": "a"}))
            .new_data(json!({"label": "never"}))
            .log(&t.db)
    };
    failed(audit_seaorm::Status::Failed).await.unwrap();
    failed(audit_seaorm::Status::Info).await.unwrap();
    audit_seaorm::Operation::new("approve", "device")
        .id(id)
        .new_data(json!({"label": "no"}))
        .log(&t.db)
        .await
        .unwrap();
    let versions = keys::device::Entity::history(id).all(&t.db).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].model().unwrap().label, "a");
    // It isn't known that it wasn't committed: it counts, and says so.
    failed(audit_seaorm::Status::Warning).await.unwrap();
    let versions = keys::device::Entity::history(id).all(&t.db).await.unwrap();
    assert_eq!((versions.len(), versions[1].change().unwrap().uncertain), (2, true));
});
