//! C20: what the rows were called that a changed row refers to, on every way of capture.

use audit_seaorm::{Audit, AuditContext, Config, EntityOptions, scope};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
    QueryFilter, Set, TransactionTrait,
};
use serde_json::{Value as Json, json};

use crate::connection::connect;
use crate::fixtures::music::{TABLES, band, disc};
use crate::fixtures::{blog, changes, create_table, entries};

const ROWS: [&str; 5] = [
    "INSERT INTO band (id, name) VALUES (1, 'AC/DC'), (2, 'Accept'), (3, NULL)",
    "INSERT INTO style (code, title, sort_order) VALUES ('rock', 'Rock', 1), ('metal', 'Metal', 2)",
    "INSERT INTO disc (id, title, band_id, style_code) VALUES (10, 'High Voltage', 1, 'rock')",
    "INSERT INTO disc (id, title, band_id, style_code, previous_id) VALUES (11, 'Powerage', 1, 'rock', 10)",
    "INSERT INTO disc (id, title, band_id, style_code) VALUES (20, 'Restless', 2, 'metal')",
];

async fn set_up(t: &TestDb) {
    for sql in TABLES.into_iter().chain(ROWS) {
        t.execute(sql).await.expect("the tables");
    }
}

fn context() -> AuditContext {
    AuditContext::user(7)
}

fn told(entry: &audit_seaorm::entity::audit_log::Model) -> (String, Json) {
    let id = entry.resource_id.as_deref().unwrap_or("-");
    (format!("{} {} {id}", entry.action, entry.resource_type), changes(entry))
}

async fn all(t: &TestDb) -> Vec<(String, Json)> {
    entries(t).await.iter().map(told).collect()
}

fn disc(id: i32, band_id: Option<i32>) -> disc::Model {
    disc::Model { id, title: "t".into(), band_id, style: None, previous_id: None, producer_id: None }
}

/// Creates, moves, renames, takes away.
async fn life<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    let row = disc(30, Some(1)).into_active_model().reset_all().insert(db).await?;
    let mut change = row.into_active_model();
    change.band_id = Set(Some(2));
    change.style = Set(Some("metal".into()));
    change.previous_id = Set(Some(30));
    let row = change.update(db).await?;
    let renamed = band::ActiveModel { id: Set(2), name: Set(Some("Accept!".into())), ..Default::default() };
    renamed.update(db).await?;
    let mut change = row.into_active_model();
    change.title = Set("u".into());
    let row = change.update(db).await?;
    let mut change = row.into_active_model();
    change.band_id = Set(None);
    let row = change.update(db).await?;
    let mut change = row.into_active_model();
    change.band_id = Set(Some(3));
    let row = change.update(db).await?;
    row.delete(db).await.map(|_| ())
}

fn lived() -> Vec<(String, Json)> {
    let told = |what: &str, changes: Json| (what.to_owned(), changes);
    vec![
        told(
            "create disc 30",
            json!({
                "id": {"new": 30}, "title": {"new": "t"}, "band_id": {"new": 1, "new_label": "AC/DC"},
                "style": {"new": null}, "previous_id": {"new": null}, "producer_id": {"new": null},
            }),
        ),
        told(
            "update disc 30",
            json!({
                "band_id": {"old": 1, "new": 2, "old_label": "AC/DC", "new_label": "Accept"},
                "style": {"old": null, "new": "metal", "new_label": "Metal"},
                "previous_id": {"old": null, "new": 30, "new_label": "t"},
            }),
        ),
        told("update band 2", json!({"name": {"old": "Accept", "new": "Accept!"}})),
        told("update disc 30", json!({"title": {"old": "t", "new": "u"}})),
        told("update disc 30", json!({"band_id": {"old": 2, "new": null, "old_label": "Accept!"}})),
        told("update disc 30", json!({"band_id": {"old": null, "new": 3}})),
        told(
            "delete disc 30",
            json!({
                "id": {"old": 30}, "title": {"old": "u"}, "band_id": {"old": 3},
                "style": {"old": "metal", "old_label": "Metal"},
                "previous_id": {"old": 30, "old_label": "u"}, "producer_id": {"old": null},
            }),
        ),
    ]
}

db_test!(c20_labels_keep_the_names_of_their_time, async |t| {
    set_up(t).await;
    let db = connect(t);
    life(&db).await.unwrap();
    let found = all(t).await;
    for (found, expected) in found.iter().zip(lived()) {
        assert_eq!(*found, expected);
    }
    assert_eq!(found.len(), 7);
    for entry in entries(t).await {
        assert_eq!(entry.hash_matches(), Some(true));
    }
});

db_test!(c20_labels_are_the_same_through_hooks_and_in_transactions, async |t| {
    set_up(t).await;
    let hooks = Audit::builder().build().unwrap();
    hooks.within(life(&t.db)).await.unwrap();
    t.execute("UPDATE band SET name = 'Accept' WHERE id = 2").await.unwrap();
    let transaction = t.db.begin().await.unwrap();
    hooks.within(life(&transaction)).await.unwrap();
    transaction.commit().await.unwrap();
    t.execute("UPDATE band SET name = 'Accept' WHERE id = 2").await.unwrap();
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    life(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let found = all(t).await;
    assert_eq!(found.len(), 21);
    for (found, expected) in found.into_iter().zip(lived().into_iter().cycle()) {
        assert_eq!(found, expected);
    }
});

db_test!(c20_bulk_and_raw_writes_have_labels, async |t| {
    set_up(t).await;
    let db = connect(t);
    let rows = (0..700).map(|n| disc(1000 + n, Some(1 + n % 2)).into_active_model().reset_all());
    disc::Entity::insert_many(rows).exec_without_returning(&db).await.unwrap();
    disc::Entity::update_many()
        .col_expr(disc::Column::BandId, Expr::value(2))
        .filter(disc::Column::Id.gte(1000))
        .exec(&db)
        .await
        .unwrap();
    db.execute_unprepared("UPDATE disc SET style_code = 'rock' WHERE id = 20").await.unwrap();
    db.execute_unprepared("DELETE FROM disc WHERE id >= 1000").await.unwrap();
    let all = all(t).await;
    let labelled = |action: &str, side: &str, label: &str| {
        all.iter()
            .filter(|(what, changes)| what.starts_with(action) && changes["band_id"][side] == label)
            .count()
    };
    assert_eq!(
        (labelled("create", "new_label", "AC/DC"), labelled("create", "new_label", "Accept")),
        (350, 350)
    );
    assert_eq!(
        (labelled("update", "old_label", "AC/DC"), labelled("update", "new_label", "Accept")),
        (350, 350)
    );
    assert_eq!(labelled("delete", "old_label", "Accept"), 700);
    assert!(all.iter().any(|(what, changes)| {
        what == "update disc 20"
            && *changes
                == json!({"style": {"old": "metal", "new": "rock", "old_label": "Metal", "new_label": "Rock"}})
    }));
});

db_test!(c20_what_goes_with_the_row_referred_to_keeps_its_label, async |t| {
    set_up(t).await;
    let db = connect(t);
    db.execute_unprepared("DELETE FROM band WHERE id = 1").await.unwrap();
    let mut found = all(t).await;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let discs = |id: i32, title: &str, previous: Json| {
        json!({
            "id": {"old": id}, "title": {"old": title}, "band_id": {"old": 1, "old_label": "AC/DC"},
            "style": {"old": "rock", "old_label": "Rock"}, "previous_id": previous,
            "producer_id": {"old": null},
        })
    };
    let band = json!({"id": {"old": 1}, "name": {"old": "AC/DC"}, "password_hint": {"old": "***"}});
    let previous = json!({"old": 10, "old_label": "High Voltage"});
    let expected = [
        ("delete band 1".to_owned(), band),
        ("delete disc 10".to_owned(), discs(10, "High Voltage", json!({"old": null}))),
        ("delete disc 11".to_owned(), discs(11, "Powerage", previous)),
    ];
    assert_eq!(found, expected);
});

db_test!(c20_what_refers_to_rows_that_are_not_audited_keeps_its_label, async |t| {
    set_up(t).await;
    let db = connect(t);
    db.execute_unprepared("DELETE FROM style WHERE code = 'metal'").await.unwrap();
    db.execute_unprepared("UPDATE style SET code = 'r' WHERE code = 'rock'").await.unwrap();
    let mut found = all(t).await;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let moved = json!({"style": {"old": "rock", "new": "r", "old_label": "Rock", "new_label": "Rock"}});
    assert_eq!(
        found,
        [
            ("update disc 10".to_owned(), moved.clone()),
            ("update disc 11".to_owned(), moved),
            (
                "update disc 20".to_owned(),
                json!({"style": {"old": "metal", "new": null, "old_label": "Metal"}})
            ),
        ]
    );
});

db_test!(c20_rows_that_refer_to_each_other_in_one_statement_have_labels, async |t| {
    set_up(t).await;
    let db = connect(t);
    let sql = "INSERT INTO disc (id, title, previous_id) VALUES (40, 'one', NULL), (41, 'two', 40)";
    db.execute_unprepared(sql).await.unwrap();
    let sql = "UPDATE disc SET title = concat(title, '+'), previous_id = NULL WHERE id IN (40, 41)";
    db.execute_unprepared(sql).await.unwrap();
    db.execute_unprepared("UPDATE disc SET previous_id = 40 WHERE id = 41").await.unwrap();
    db.execute_unprepared("DELETE FROM disc WHERE id IN (40, 41)").await.unwrap();
    let found = all(t).await;
    let of = |what: &str| -> Vec<Json> {
        found.iter().filter(|(found, _)| found == what).map(|(_, c)| c["previous_id"].clone()).collect()
    };
    assert_eq!(of("create disc 41"), [json!({"new": 40, "new_label": "one"})]);
    assert_eq!(
        of("update disc 41"),
        [
            json!({"old": 40, "new": null, "old_label": "one"}),
            json!({"old": null, "new": 40, "new_label": "one+"})
        ]
    );
    assert_eq!(of("delete disc 41"), [json!({"old": 40, "old_label": "one+"})]);
});

db_test!(c20_an_update_of_other_fields_reads_no_label, async |t| {
    set_up(t).await;
    let db = connect(t);
    let audit = Audit::builder().build().unwrap();
    let title = |title: &str| disc::ActiveModel {
        id: Set(10),
        title: Set(title.into()),
        band_id: Set(Some(1)),
        ..Default::default()
    };
    // If a label were read by a statement, these would fail: the table isn't there.
    if t.backend != DbBackend::Sqlite {
        t.execute("ALTER TABLE band RENAME TO former_band").await.unwrap();
    }
    title("over the connection").update(&db).await.unwrap();
    audit.within(scope(context(), title("hooks").update(&t.db))).await.unwrap();
    let found = all(t).await;
    assert_eq!(found[1].1, json!({"title": {"old": "over the connection", "new": "hooks"}}));
    assert_eq!(found.len(), 2);
});

db_test!(c20_secrets_in_labels_are_cut_out_and_long_ones_are_digests, async |t| {
    set_up(t).await;
    t.execute("UPDATE band SET name = 'pay 4111 1111 1111 1111' WHERE id = 1").await.unwrap();
    let mut config = Config::default();
    config.max_value_bytes = 100;
    let audit = Audit::builder().config(config).build().unwrap();
    let db = audit.connect(t.db.clone());
    disc(50, Some(1)).into_active_model().reset_all().insert(&db).await.unwrap();
    t.execute(&format!("UPDATE band SET name = '{}' WHERE id = 1", "x".repeat(150))).await.unwrap();
    audit
        .within(async {
            disc(51, Some(1)).into_active_model().reset_all().insert(&t.db).await.unwrap();
        })
        .await;
    db.execute_unprepared("DELETE FROM disc WHERE id = 50").await.unwrap();
    let found = all(t).await;
    assert_eq!(found[0].1["band_id"], json!({"new": 1, "new_label": "pay ***"}));
    assert_eq!(found[1].1["band_id"]["new_label"]["$oversized"]["bytes"], 152);
    assert_eq!(found[2].1["band_id"]["old_label"]["$oversized"]["bytes"], 152);
});

db_test!(c20_links_say_what_was_attached_to_what, async |t| {
    create_table(t, blog::author::Entity).await;
    create_table(t, blog::post::Entity).await;
    create_table(t, blog::tag::Entity).await;
    create_table(t, blog::post_tag::Entity).await;
    let hooks = Audit::builder().build().unwrap();
    let connection = connect(t);
    let graph = || {
        blog::post::ActiveModel::builder()
            .set_author_id(1)
            .set_title("First")
            .add_tag(blog::tag::ActiveModel::builder().set_name("rust"))
            .add_tag(blog::tag::ActiveModel::builder().set_name("audit"))
    };
    t.execute("INSERT INTO author (name) VALUES ('Ada')").await.unwrap();
    graph().save(&connection).await.unwrap();
    hooks.within(graph().save(&t.db)).await.unwrap();
    connection.execute_unprepared("INSERT INTO post_tag (post_id, tag_id) VALUES (1, 4)").await.unwrap();
    connection.execute_unprepared("DELETE FROM post_tag WHERE post_id = 1").await.unwrap();
    let mut links: Vec<_> = all(t).await.into_iter().filter(|(what, _)| what.contains("post_tag")).collect();
    links[5..].sort_by(|a, b| a.0.cmp(&b.0));
    let attached = |post: i32, tag: i32, side: &str, name: &str| {
        let label = format!("{side}_label");
        json!({"post_id": {side: post, &label: "First"}, "tag_id": {side: tag, &label: name}})
    };
    let expected = [
        ("create post_tag 1/1", attached(1, 1, "new", "rust")),
        ("create post_tag 1/2", attached(1, 2, "new", "audit")),
        ("create post_tag 2/3", attached(2, 3, "new", "rust")),
        ("create post_tag 2/4", attached(2, 4, "new", "audit")),
        ("create post_tag 1/4", attached(1, 4, "new", "audit")),
        ("delete post_tag 1/1", attached(1, 1, "old", "rust")),
        ("delete post_tag 1/2", attached(1, 2, "old", "audit")),
        ("delete post_tag 1/4", attached(1, 4, "old", "audit")),
    ];
    assert_eq!(links, expected.map(|(what, changes)| (what.to_owned(), changes)));
});

#[tokio::test]
async fn s10_labels_can_be_asserted() {
    let t = TestDb::new(DbBackend::Sqlite).await;
    set_up(&t).await;
    let row = disc(60, Some(2)).into_active_model().reset_all();
    let (_, entries) = audit_seaorm::testing::capture(row.insert(&t.db)).await;
    entries.only().assert_labels("band_id", None, Some("Accept")).assert_labels("style", None, None);
}

fn build(labels: &[(&str, &str)]) -> Result<Audit, String> {
    let labels = labels.iter().map(|(field, label)| ((*field).to_owned(), (*label).to_owned())).collect();
    let options = EntityOptions { labels, ..Default::default() };
    Audit::builder().register::<disc::Entity>(options).build().map_err(|error| error.to_string())
}

#[test]
fn c20_labels_that_lead_nowhere_are_errors() {
    build(&[("band_id", "name"), ("style_code", "Relation::Style.title")]).unwrap();
    build(&[("producer_id", "Relation::Producer")]).unwrap();
    for (field, label, why) in [
        ("band", "name", "isn't a column"),
        ("band_id", "Relation::", "is no label"),
        ("band_id", "nam", "has no column `nam`; its columns are id, name, password_hint"),
        ("band_id", "Relation::Style", "those that do are `Band`"),
        ("producer_id", "name", "may mean several relations: `Producer`, `Odd`"),
        ("style_code", "", "none of whose fields has `#[audit(name)]`"),
        ("style_code", "sort_order", "isn't a column of texts"),
        ("title", "label", "refers by several columns together"),
        ("band_id", "password_hint", "don't show as it is"),
        ("id", "Relation::Unknown.name", "no entity is known here"),
    ] {
        let error = build(&[(field, label)]).expect_err(label);
        assert!(error.contains(why), "{field} {label}: {error}");
        assert!(error.contains(&format!("`{field}`")) && error.contains("disc"), "{error}");
    }
    let error = build(&[("band_id", "nam")]).unwrap_err();
    assert!(error.contains("accepted are `label`, `label = \"column\"`"), "{error}");
}

#[test]
fn i5_labels_of_what_must_not_be_seen_are_errors() {
    let target = |options: EntityOptions| {
        Audit::builder().register::<band::Entity>(options).build().map_err(|error| error.to_string())
    };
    let names = || vec!["name".to_owned()];
    for options in [
        EntityOptions { include: vec!["id".into()], name: Some("id".into()), ..Default::default() },
        EntityOptions { exclude: names(), name: Some("id".into()), ..Default::default() },
        EntityOptions { mask: names(), name: Some("id".into()), ..Default::default() },
    ] {
        let labels = vec![("band_id".to_owned(), "name".to_owned())];
        let disc = EntityOptions { labels, ..Default::default() };
        let error = Audit::builder()
            .register::<band::Entity>(options)
            .register::<disc::Entity>(disc)
            .build()
            .unwrap_err()
            .to_string();
        assert!(error.contains("`name` of `band`, which entries about that table don't show"), "{error}");
    }
    target(EntityOptions::default()).unwrap();
    let mut config = Config::default();
    config.sensitive_fields = vec!["band_id".into()];
    let error = Audit::builder().config(config).build().unwrap_err().to_string();
    assert!(error.contains("`band_id` of `disc` can't have a label"), "{error}");
    let mask = EntityOptions { mask: vec!["band_id".into()], ..Default::default() };
    let error = Audit::builder().register::<disc::Entity>(mask).build().unwrap_err().to_string();
    assert!(error.contains("`band_id` of `disc` can't have a label"), "{error}");
}
