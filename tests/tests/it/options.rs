//! What the options of `#[derive(Auditable)]` make of entries, through the hooks and over the connection.

use audit_seaorm::entity::audit_log;
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ActiveValue::NotSet, ConnectionTrait, EntityTrait, ModelTrait, Set};
use serde_json::{Value, json};

use crate::connection::connect;
use crate::fixtures::contract::{self, notice};
use crate::fixtures::{changes, create_table, entries};

async fn contract_lives<C: ConnectionTrait>(db: &C) {
    let row = contract::ActiveModel {
        id: NotSet,
        title: Set("Lease".into()),
        signer: Set("Ada King".into()),
        clause: Set("in strict confidence".into()),
        visitor_password: Set("welcome".into()),
        worth: Set(1000),
        remark: Set(Some("signed late".into())),
    };
    let row = row.insert(db).await.unwrap();
    let id = row.id;
    let named = |signer: &str| contract::ActiveModel {
        id: Set(id),
        signer: Set(signer.into()),
        ..Default::default()
    };
    // The recorded value stays the same, or the field isn't recorded: no entry.
    named("Alan Kay").update(db).await.unwrap();
    let remark =
        contract::ActiveModel { id: Set(id), remark: Set(Some("filed".into())), ..Default::default() };
    remark.update(db).await.unwrap();
    let all = contract::ActiveModel {
        clause: Set("in stricter confidence".into()),
        visitor_password: Set("hello".into()),
        worth: Set(2000),
        ..named("Grace Hopper")
    };
    all.update(db).await.unwrap().delete(db).await.unwrap();
}

fn assert_contract(all: &[audit_log::Model], id: i32, way: &str) {
    let said: Vec<(&str, Value)> = all.iter().map(|entry| (entry.action.as_str(), changes(entry))).collect();
    let expected = [
        (
            "create",
            json!({
                "id": {"new": id}, "title": {"new": "Lease"}, "signer": {"new": "AK"}, "clause": {"new": "***"},
                "visitor_password": {"new": "welcome"}, "worth": {"new": 1000},
            }),
        ),
        (
            "update",
            json!({
                "signer": {"old": "AK", "new": "GH"}, "clause": {"old": "***", "new": "***"},
                "visitor_password": {"old": "welcome", "new": "hello"}, "worth": {"old": 1000, "new": 2000},
            }),
        ),
        (
            "delete",
            json!({
                "id": {"old": id}, "title": {"old": "Lease"}, "signer": {"old": "GH"}, "clause": {"old": "***"},
                "visitor_password": {"old": "hello"}, "worth": {"old": 2000},
            }),
        ),
    ];
    assert_eq!(said, expected, "{way}");
    for entry in all {
        assert_eq!(
            (entry.resource_type.as_str(), entry.resource_name.as_deref()),
            ("Contract", Some("Lease"))
        );
        assert_eq!((entry.classification.as_str(), entry.is_sensitive), ("top_secret", true), "{way}");
        assert_eq!((&entry.old_data, &entry.new_data), (&None, &None), "{way}");
    }
}

db_test!(c1_options_of_fields_make_the_same_entries_on_both_ways, async |t| {
    create_table(t, contract::Entity).await;
    contract_lives(&t.db).await;
    assert_contract(&entries(t).await, 1, "hooks");
    contract_lives(&connect(t)).await;
    assert_contract(&entries(t).await[3..], 2, "connection");
});

// A statement of its own, as SQL can render it elsewhere: the function of the program has to be asked all the same.
db_test!(c1_a_transformed_field_is_transformed_in_bulk_writes, async |t| {
    create_table(t, contract::Entity).await;
    let db = connect(t);
    let row = |signer: &str| contract::ActiveModel {
        id: NotSet,
        title: Set("Lease".into()),
        signer: Set(signer.into()),
        clause: Set("c".into()),
        visitor_password: Set("v".into()),
        worth: Set(1),
        remark: Set(None),
    };
    contract::Entity::insert_many([row("Ada King"), row("Alan Kay")]).exec(&db).await.unwrap();
    let signer = Expr::value("Grace Hopper");
    contract::Entity::update_many().col_expr(contract::Column::Signer, signer).exec(&db).await.unwrap();
    db.execute_unprepared("DELETE FROM contract").await.unwrap();
    let said: Vec<_> = entries(t).await.iter().map(|entry| changes(entry)["signer"].clone()).collect();
    let [created, updated, deleted] =
        [json!({"new": "AK"}), json!({"old": "AK", "new": "GH"}), json!({"old": "GH"})];
    assert_eq!(said, [&created, &created, &updated, &updated, &deleted, &deleted].map(Clone::clone));
});

async fn notice_lives<C: ConnectionTrait>(db: &C) {
    let row = notice::ActiveModel {
        id: NotSet,
        text: Set("open".into()),
        reader: Set(Some("Ada".into())),
        draft: Set(Some("opn".into())),
    };
    let row = row.insert(db).await.unwrap();
    let change = notice::ActiveModel { text: Set("closed".into()), ..row.into() };
    change.update(db).await.unwrap().delete(db).await.unwrap();
}

fn assert_notice(all: &[audit_log::Model], id: i32, way: &str) {
    let read = |text: &Option<String>| -> Option<Value> {
        text.as_deref().map(|text| serde_json::from_str(text).unwrap())
    };
    let said: Vec<_> = all
        .iter()
        .map(|entry| (entry.action.as_str(), changes(entry), read(&entry.old_data), read(&entry.new_data)))
        .collect();
    let expected = [
        (
            "create",
            json!({"id": {"new": id}, "text": {"new": "open"}, "reader": {"new": "***"}}),
            None,
            Some(json!({"id": id, "text": "open", "reader": "***"})),
        ),
        (
            "delete",
            json!({"id": {"old": id}, "text": {"old": "closed"}, "reader": {"old": "***"}}),
            Some(json!({"id": id, "text": "closed", "reader": "***"})),
            None,
        ),
    ];
    assert_eq!(said, expected, "{way}");
}

db_test!(c1_options_of_containers_make_the_same_entries_on_both_ways, async |t| {
    create_table(t, notice::Entity).await;
    notice_lives(&t.db).await;
    assert_notice(&entries(t).await, 1, "hooks");
    notice_lives(&connect(t)).await;
    assert_notice(&entries(t).await[2..], 2, "connection");
    let raw: &TestDb = t;
    connect(raw).execute_unprepared("INSERT INTO notice (text) VALUES ('raw')").await.unwrap();
    connect(raw).execute_unprepared("UPDATE notice SET text = 'unrecorded'").await.unwrap();
    let actions: Vec<_> = entries(t).await.split_off(4).into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["create"]);
});
