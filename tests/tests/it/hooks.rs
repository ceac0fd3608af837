//! What the hooks record of saves and deletes.

use audit_seaorm::{Actor, Audit, AuditContext, Config, scope};
use audit_tests::{DbBackend, db_test};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, DbErr, EntityTrait, IntoActiveModel, ModelTrait, Set,
    TransactionTrait, prelude::Decimal,
};
use serde_json::json;

use crate::fixtures::{
    account, changes, create_table, drop_audit_table, entries, keys, only_entry, quiet_account, set_balance,
    watched,
};

db_test!(c1_create_records_every_tracked_field, async |t| {
    create_table(t, account::Entity).await;
    let context = AuditContext::new(Actor::user(7)).named("Ann").email("ann@example.org").tenant("acme");
    let row = scope(context, crate::fixtures::account("Ada", 1000).insert(&t.db)).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(entry.action, "create");
    assert_eq!((entry.resource_type.as_str(), entry.resource_id.as_deref()), ("Account", Some("1")));
    assert_eq!(entry.resource_name.as_deref(), Some("Ada"));
    assert_eq!(entry.actor_id.as_deref(), Some("7"));
    assert_eq!((entry.actor_name.as_deref(), entry.actor_type.as_str()), (Some("Ann"), "user"));
    assert_eq!((entry.tenant.as_deref(), entry.module.as_deref()), (Some("acme"), Some("finance")));
    assert_eq!(entry.frameworks.as_deref(), Some(r#"["SOX","PCI_DSS"]"#));
    assert_eq!(entry.classification, "confidential");
    assert!(entry.is_sensitive, "a secret field was written");
    assert_eq!(row.overdraft, 100);
    assert_eq!(
        changes(&entry),
        json!({
            "id": {"new": 1}, "owner": {"new": "Ada"}, "balance": {"new": "10.00"}, "iban": {"new": "***"},
            "last_seen": {"new": null}, "note": {"new": null}, "api_token": {"new": "***"},
            "db_limit": {"new": 100},
        }),
        "the database's default is there, the excluded field isn't"
    );
    assert_eq!(entry.hash_matches(), Some(true));
});

db_test!(c6_update_records_old_and_new_of_what_changed, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    let mut change = row.into_active_model();
    change.balance = Set(Decimal::new(12_345, 2));
    change.note = Set(Some(String::new()));
    change.owner = Set("Ada".to_owned());
    change.update(&t.db).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(
        changes(&entry),
        json!({"balance": {"old": "10.00", "new": "123.45"}, "note": {"old": null, "new": ""}}),
        "set to the same value is no change; empty isn't NULL; what wasn't set doesn't appear"
    );
    assert_eq!(entry.changed_fields.as_deref(), Some(r#"["balance","note"]"#));
});

db_test!(c6_old_values_are_the_databases_though_the_model_is_stale, async |t| {
    create_table(t, account::Entity).await;
    let stale = quiet_account(&t.db, "Ada", 1000).await;
    t.execute("UPDATE account SET balance = 55.50, note = 'by raw SQL'").await.unwrap();
    let mut change = stale.into_active_model();
    change.balance = Set(Decimal::new(100, 2));
    change.update(&t.db).await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"balance": {"old": "55.50", "new": "1.00"}}));
});

db_test!(c6_saving_without_a_change_makes_no_entry, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    row.clone().into_active_model().save(&t.db).await.unwrap();
    row.into_active_model().reset_all().save(&t.db).await.unwrap();
    assert_eq!(entries(t).await, []);
});

db_test!(c1_silent_and_excluded_fields_make_no_entry_alone, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    let seen = "2024-01-15T10:30:00.25Z".parse().unwrap();
    let alone = account::ActiveModel {
        id: Set(row.id),
        last_seen: Set(Some(seen)),
        pin_hash: Set("pin-secret-2".into()),
        ..Default::default()
    };
    alone.update(&t.db).await.unwrap();
    assert_eq!(entries(t).await, []);
    let later = "2024-01-16T10:30:00Z".parse().unwrap();
    let together = account::ActiveModel {
        id: Set(row.id),
        last_seen: Set(Some(later)),
        note: Set(Some("x".into())),
        ..Default::default()
    };
    together.update(&t.db).await.unwrap();
    let fraction = if t.db.get_database_backend() == DbBackend::MySql { "" } else { ".25" };
    assert_eq!(
        changes(&only_entry(t).await),
        json!({
            "last_seen": {"old": format!("2024-01-15T10:30:00{fraction}Z"), "new": "2024-01-16T10:30:00Z"},
            "note": {"old": null, "new": "x"},
        })
    );
});

db_test!(c1_masked_field_records_that_it_changed, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    let same = account::ActiveModel { id: Set(row.id), iban: Set(row.iban), ..Default::default() };
    same.update(&t.db).await.unwrap();
    assert_eq!(entries(t).await, [], "masked, but not changed");
    let other = account::ActiveModel { id: Set(row.id), iban: Set("XX".into()), ..Default::default() };
    other.update(&t.db).await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"iban": {"old": "***", "new": "***"}}));
});

db_test!(c2_delete_records_the_whole_row, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    t.execute("UPDATE account SET note = 'since then'").await.unwrap();
    row.delete(&t.db).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!((entry.action.as_str(), entry.severity.as_str()), ("delete", "medium"));
    assert_eq!(changes(&entry)["note"], json!({"old": "since then"}));
    assert_eq!(changes(&entry)["balance"], json!({"old": "10.00"}));
    assert_eq!(entry.resource_name.as_deref(), Some("Ada"));
});

db_test!(c2_deleting_nothing_makes_no_entry, async |t| {
    create_table(t, account::Entity).await;
    let ghost = account::ActiveModel { id: Set(99), ..Default::default() };
    assert_eq!(ghost.delete(&t.db).await.unwrap().rows_affected, 0);
    assert_eq!(entries(t).await, []);
});

db_test!(c2_every_way_to_save_is_recorded, async |t| {
    create_table(t, account::Entity).await;
    let inserted = crate::fixtures::account("Ada", 1).insert(&t.db).await.unwrap();
    let saved = crate::fixtures::account("Ben", 2).save(&t.db).await.unwrap();
    let mut again = saved;
    again.note = Set(Some("x".into()));
    again.save(&t.db).await.unwrap();
    set_balance(&t.db, inserted.id, 300).await.unwrap();
    let quiet =
        account::ActiveModel { id: Set(inserted.id), note: Set(Some("y".into())), ..Default::default() };
    assert_eq!(quiet.update_without_returning(&t.db).await.unwrap().rows_affected, 1);
    inserted.clone().into_active_model().delete(&t.db).await.unwrap();
    let actions: Vec<_> = entries(t).await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["create", "create", "update", "update", "update", "delete"]);
    let entry = &entries(t).await[4];
    assert_eq!(changes(entry), json!({"note": {"old": null, "new": "y"}}));
});

db_test!(c2_update_without_returning_of_nothing_fails_as_without_audit, async |t| {
    create_table(t, account::Entity).await;
    let ghost = account::ActiveModel { id: Set(99), note: Set(None), ..Default::default() };
    assert!(matches!(ghost.update_without_returning(&t.db).await, Err(DbErr::RecordNotUpdated)));
    let ghost = account::ActiveModel { id: Set(99), note: Set(None), ..Default::default() };
    assert!(matches!(ghost.update(&t.db).await, Err(DbErr::RecordNotUpdated)));
    assert_eq!(entries(t).await, []);
});

db_test!(c2_the_users_own_hooks_run_and_are_recorded, async |t| {
    create_table(t, watched::Entity).await;
    let mut root = <watched::ActiveModel as sea_orm::ActiveModelBehavior>::new();
    root.title = Set("Hello World".to_owned());
    let root = root.insert(&t.db).await.unwrap();
    assert_eq!(root.title, "Hello World!", "after_save had the last word on the model");
    let entry = only_entry(t).await;
    assert_eq!(
        changes(&entry)["title"],
        json!({"new": "Hello World"}),
        "the record is of what the database holds"
    );
    assert_eq!(changes(&entry)["slug"], json!({"new": "hello-world"}), "before_save's change is in");
    assert_eq!(changes(&entry)["saves"], json!({"new": 0}));

    let refused =
        watched::ActiveModel { id: Set(root.id), title: Set("forbidden".into()), ..Default::default() };
    assert!(refused.update(&t.db).await.is_err());
    assert_eq!(entries(t).await.len(), 1, "refused before anything was written");

    let late = watched::ActiveModel { id: Set(root.id), title: Set("late".into()), ..Default::default() };
    assert!(late.update(&t.db).await.is_err());
    let stored = watched::Entity::find_by_id(root.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(
        (stored.title.as_str(), entries(t).await.len()),
        ("late", 2),
        "it was written, so it is recorded"
    );

    let protected = watched::ActiveModel { id: Set(root.id), saves: Set(11), ..Default::default() };
    assert!(protected.delete(&t.db).await.is_err());
    assert_eq!(entries(t).await.len(), 2);
});

db_test!(c2_the_users_own_after_delete_runs_behind_the_entry, async |t| {
    create_table(t, watched::Entity).await;
    let new = |title: &str, parent| watched::ActiveModel {
        id: NotSet,
        parent_id: Set(parent),
        title: Set(title.to_owned()),
        slug: NotSet,
        saves: Set(0),
    };
    let root = new("root", None).insert(&t.db).await.unwrap();
    let child = new("child", Some(root.id)).insert(&t.db).await.unwrap();
    let mourned = new("mourned", Some(root.id)).insert(&t.db).await.unwrap();
    let before = entries(t).await.len();
    child.clone().delete(&t.db).await.unwrap();
    let entries_of = async || entries(t).await.split_off(before);
    let said = |all: &[audit_seaorm::entity::audit_log::Model]| -> Vec<String> {
        let of = |e: &audit_seaorm::entity::audit_log::Model| e.resource_id.clone().unwrap();
        all.iter().map(|entry| format!("{} {}", entry.action, of(entry))).collect()
    };
    let all = entries_of().await;
    assert_eq!(said(&all), [format!("delete {}", child.id), format!("update {}", root.id)]);
    assert_eq!(changes(&all[0])["title"], json!({"old": "child"}));
    assert_eq!(changes(&all[1]), json!({"slug": {"old": "root", "new": "bereaved"}}));

    // Who fails after the fact doesn't undo what was recorded: the row is gone.
    let stored = watched::Entity::find_by_id(mourned.id).one(&t.db).await.unwrap().unwrap();
    assert!(stored.into_active_model().delete(&t.db).await.unwrap_err().to_string().contains("too late"));
    assert_eq!(said(&entries_of().await[2..]), [format!("delete {}", mourned.id)]);
    assert!(watched::Entity::find_by_id(mourned.id).one(&t.db).await.unwrap().is_none());

    // Where nothing is deleted there is no entry, and the hook runs all the same, as without audit.
    let ghost = watched::ActiveModel { id: Set(99), title: Set("mourned".into()), ..Default::default() };
    assert!(ghost.delete(&t.db).await.is_err());
    assert_eq!(entries_of().await.len(), 3);
});

db_test!(c2_saves_nested_in_a_users_hook_are_told_apart, async |t| {
    create_table(t, watched::Entity).await;
    let new = |title: &str, parent| watched::ActiveModel {
        id: NotSet,
        parent_id: Set(parent),
        title: Set(title.to_owned()),
        slug: NotSet,
        saves: Set(0),
    };
    let root = new("root", None).insert(&t.db).await.unwrap();
    let child = new("child", Some(root.id)).insert(&t.db).await.unwrap();
    // Saving the grandchild saves the child, which saves the root: three updates deep in each other.
    let grandchild = new("grandchild", Some(child.id)).insert(&t.db).await.unwrap();
    let mut again =
        watched::Entity::find_by_id(grandchild.id).one(&t.db).await.unwrap().unwrap().into_active_model();
    again.title = Set("again".into());
    again.update(&t.db).await.unwrap();
    let trail: Vec<_> = entries(t)
        .await
        .iter()
        .map(|entry| {
            let saves = changes(entry)["saves"].clone();
            format!("{} {} {saves}", entry.action, entry.resource_id.as_deref().unwrap())
        })
        .collect();
    assert_eq!(
        trail,
        [
            "create 1 {\"new\":0}",
            "update 1 {\"new\":1,\"old\":0}",
            "create 2 {\"new\":0}",
            "update 1 {\"new\":2,\"old\":1}",
            "update 2 {\"new\":1,\"old\":0}",
            "create 3 {\"new\":0}",
            "update 1 {\"new\":3,\"old\":2}",
            "update 2 {\"new\":2,\"old\":1}",
            "update 3 null",
        ]
    );
});

db_test!(c2_keys_of_every_sort_identify_their_rows, async |t| {
    create_table(t, keys::shelf::Entity).await;
    create_table(t, keys::device::Entity).await;
    create_table(t, keys::plan::Entity).await;
    let shelf =
        keys::shelf::ActiveModel { room: Set(r"a/b\c".to_owned()), number: Set(7), label: Set("x".into()) };
    shelf.insert(&t.db).await.unwrap();
    let relabel =
        keys::shelf::ActiveModel { room: Set(r"a/b\c".to_owned()), number: Set(7), label: Set("y".into()) };
    relabel.update(&t.db).await.unwrap();
    let id = uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    keys::device::ActiveModel { id: Set(id), label: Set("x".into()) }.insert(&t.db).await.unwrap();
    let plan = keys::plan::ActiveModel {
        tier: Set(keys::plan::Tier::Pro),
        level: Set(keys::plan::Level::One),
        fallback: Set(Some(keys::plan::Tier::Free)),
        seats: Set(keys::plan::Seats(5)),
    };
    let mut plan = plan.insert(&t.db).await.unwrap().into_active_model();
    plan.level = Set(keys::plan::Level::Two);
    plan.fallback = Set(None);
    plan.seats = Set(keys::plan::Seats(6));
    plan.update(&t.db).await.unwrap().delete(&t.db).await.unwrap();

    let all = entries(t).await;
    let ids: Vec<_> = all.iter().map(|e| (e.action.as_str(), e.resource_id.as_deref().unwrap())).collect();
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(
        ids,
        [
            ("create", r"a\/b\\c/7"),
            ("update", r"a\/b\\c/7"),
            ("create", uuid),
            ("create", "pro"),
            ("update", "pro"),
            ("delete", "pro"),
        ]
    );
    assert_eq!(audit_seaorm::split_key(ids[0].1), [r"a/b\c", "7"]);
    assert_eq!(changes(&all[1]), json!({"label": {"old": "x", "new": "y"}}));
    assert_eq!(
        changes(&all[4]),
        json!({"level": {"old": 1, "new": 2}, "fallback": {"old": "free", "new": null}, "seats": {"old": 5, "new": 6}})
    );
});

db_test!(c2_reserved_words_and_odd_names_are_recorded_by_column, async |t| {
    create_table(t, keys::reserved::Entity).await;
    let row = keys::reserved::ActiveModel {
        id: NotSet,
        r#type: Set("a".into()),
        chosen: Set("b".into()),
        order: Set(1),
        mixed: Set("c".into()),
    };
    let mut row = row.insert(&t.db).await.unwrap().into_active_model();
    row.chosen = Set("B".into());
    row.order = Set(2);
    row.mixed = Set("C".into());
    row.update(&t.db).await.unwrap();
    assert_eq!(
        changes(&entries(t).await[1]),
        json!({
            "select": {"old": "b", "new": "B"}, "order": {"old": 1, "new": 2},
            "mixedCase Name": {"old": "c", "new": "C"},
        })
    );
});

db_test!(c2_tables_in_schemas_are_recorded, on(postgres), async |t| {
    t.execute("CREATE SCHEMA warehouse").await.unwrap();
    create_table(t, keys::in_schema::Entity).await;
    let row = keys::in_schema::ActiveModel { id: NotSet, label: Set("a".into()) };
    row.insert(&t.db).await.unwrap().delete(&t.db).await.unwrap();
    let all = entries(t).await;
    assert_eq!((all.len(), all[0].resource_type.as_str()), (2, "warehouse.bin"));
});

db_test!(r1_snapshots_hold_the_whole_row_where_they_are_on, async |t| {
    create_table(t, account::Entity).await;
    let mut config = Config::default();
    config.snapshot = true;
    let audit = Audit::builder().config(config).build().unwrap();
    let row = quiet_account(&t.db, "Ada", 1000).await;
    audit.within(set_balance(&t.db, row.id, 200)).await.unwrap();
    let entry = only_entry(t).await;
    let old: serde_json::Value = serde_json::from_str(entry.old_data.as_deref().unwrap()).unwrap();
    let new: serde_json::Value = serde_json::from_str(entry.new_data.as_deref().unwrap()).unwrap();
    assert_eq!((&old["balance"], &new["balance"]), (&json!("10.00"), &json!("2.00")));
    assert_eq!((&old["iban"], old.get("pin_hash")), (&json!("***"), None));
    assert_eq!(old["db_limit"], json!(100));
});

db_test!(i1_rollback_of_transaction_and_savepoint_leaves_no_entry, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    let transaction = t.db.begin().await.unwrap();
    set_balance(&transaction, row.id, 1).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(entries(t).await, []);

    let transaction = t.db.begin().await.unwrap();
    set_balance(&transaction, row.id, 2).await.unwrap();
    let savepoint = transaction.begin().await.unwrap();
    set_balance(&savepoint, row.id, 3).await.unwrap();
    savepoint.rollback().await.unwrap();
    set_balance(&transaction, row.id, 4).await.unwrap();
    transaction.commit().await.unwrap();
    let trail: Vec<_> = entries(t).await.iter().map(changes).collect();
    assert_eq!(
        trail,
        [
            json!({"balance": {"old": "10.00", "new": "0.02"}}),
            json!({"balance": {"old": "0.02", "new": "0.04"}})
        ]
    );
});

db_test!(i1_a_save_whose_entry_cannot_be_written_fails_and_says_so, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    drop_audit_table(t).await;
    let transaction = t.db.begin().await.unwrap();
    let error = set_balance(&transaction, row.id, 7777).await.unwrap_err();
    drop(transaction);
    assert!(audit_seaorm::is_audit_error(&error), "{error}");
    let text = error.to_string();
    assert!(text.contains("the audit entry for update of Account could not be written"), "{text}");
    assert!(text.contains("run the audit migrations"), "{text}");
    assert!(!text.contains("77.77"), "no value in an error: {text}");
    let stored = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(stored.balance, Decimal::new(1000, 2), "nothing was committed");
});

db_test!(c19_best_effort_lets_the_write_through, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 1000).await;
    drop_audit_table(t).await;
    let mut config = Config::default();
    config.on_failure = audit_seaorm::FailurePolicy::BestEffort;
    let audit = Audit::builder().config(config).build().unwrap();
    audit
        .within(async {
            let transaction = t.db.begin().await.unwrap();
            set_balance(&transaction, row.id, 200).await.unwrap();
            set_balance(&transaction, row.id, 300).await.unwrap();
            transaction.commit().await.unwrap();
        })
        .await;
    let stored = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(stored.balance, Decimal::new(300, 2));
});

db_test!(c8_without_an_actor_a_write_is_refused_where_one_is_demanded, async |t| {
    create_table(t, account::Entity).await;
    let mut config = Config::default();
    config.require_actor = true;
    let audit = Audit::builder().config(config).build().unwrap();
    audit
        .within(async {
            let error = crate::fixtures::account("Ada", 1).insert(&t.db).await.unwrap_err();
            assert!(error.to_string().contains("no audit context"), "{error}");
            assert_eq!(account::Entity::find().all(&t.db).await.unwrap(), []);
            scope(AuditContext::user(1), crate::fixtures::account("Ada", 1).insert(&t.db)).await.unwrap();
        })
        .await;
    assert_eq!(entries(t).await.len(), 1);
});
