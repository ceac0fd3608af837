//! What happens to a write whose entry can't be written: the entity's policy decides, on every path.

use audit_seaorm::capture::hooks;
use audit_seaorm::{
    Audit, Config, EntityOptions, Error, FailurePolicy, Operation, is_audit_error, log_failure,
};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseExecutor, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
    PaginatorTrait, Set, TransactionTrait,
};

use crate::fixtures::shop::{self, line, order};
use crate::fixtures::{drop_audit_table, entries, keys, set_up_shelves};

/// Orders 1 and 2, the first with the lines 11 and 12, which nobody's audit saw come into being.
async fn set_up(t: &TestDb) {
    for table in shop::TABLES {
        t.execute(table).await.expect("a table");
    }
    t.execute("INSERT INTO shop_order (id, state) VALUES (1, 'open'), (2, 'open')")
        .await
        .expect("the orders");
    t.execute("INSERT INTO shop_line (id, order_id, article) VALUES (11, 1, 'tea'), (12, 1, 'cup')")
        .await
        .expect("the lines");
}

/// From now on entries about this resource can't be written.
async fn break_entries_about(t: &TestDb, resource: &str) {
    let script = t.pick(
        "CREATE TRIGGER broken BEFORE INSERT ON audit_log WHEN NEW.resource_type = '$' \
         BEGIN SELECT RAISE(ABORT, 'the database is read-only today'); END",
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \
           IF NEW.resource_type = '$' THEN RAISE EXCEPTION 'the database is read-only today'; END IF; RETURN NEW; END $f$; \
         CREATE TRIGGER broken BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION broken()",
        "CREATE TRIGGER broken BEFORE INSERT ON audit_log FOR EACH ROW BEGIN IF NEW.resource_type = '$' THEN \
           SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the database is read-only today'; END IF; END",
    );
    t.execute(&script.replace("'$'", &format!("'{resource}'"))).await.expect("a trigger");
}

fn audit() -> Audit {
    Audit::builder().build().expect("an audit")
}

async fn counts(t: &TestDb) -> (u64, u64) {
    let orders = order::Entity::find().count(&t.db).await.expect("the orders");
    (orders, line::Entity::find().count(&t.db).await.expect("the lines"))
}

/// `action resource id` of all entries.
async fn trail(t: &TestDb) -> Vec<String> {
    let mut trail: Vec<String> = entries(t)
        .await
        .iter()
        .map(|e| format!("{} {} {}", e.action, e.resource_type, e.resource_id.as_deref().unwrap_or("-")))
        .collect();
    trail.sort();
    trail
}

fn policy_of(audit: &Audit, resource: &str) -> FailurePolicy {
    let policies = audit.registry().policies();
    policies.iter().find(|policy| policy.resource == resource).expect("an entity").on_failure
}

#[test]
fn c19_configuration_goes_before_registration_before_attribute_before_the_default() {
    use FailurePolicy::{BestEffort, Block};
    assert_eq!([policy_of(&audit(), "Order"), policy_of(&audit(), "Line")], [Block, BestEffort]);

    let mut config = Config::default();
    config.on_failure = BestEffort;
    let audit = Audit::builder()
        .config(config.clone())
        .register::<line::Entity>(EntityOptions::default().on_failure(Block))
        .build()
        .unwrap();
    let policies = ["Order", "Line", "Account"].map(|resource| policy_of(&audit, resource));
    assert_eq!(policies, [Block, Block, BestEffort]);

    config.apply_toml("[audit.resources.Line]\non_failure = 'best_effort'").unwrap();
    config
        .apply_vars([("AUDIT_RESOURCES", "shop_order.on_failure=best_effort,Account.on_failure=block")])
        .unwrap();
    let audit = Audit::builder()
        .config(config)
        .register::<line::Entity>(EntityOptions::default().on_failure(Block))
        .build()
        .unwrap();
    let policies = ["Order", "Line", "Account"].map(|resource| policy_of(&audit, resource));
    assert_eq!(policies, [BestEffort, BestEffort, Block]);
}

/// Writes of each sort to a table with the columns `id` and another one.
fn statements(table: &str, column: &str) -> [String; 4] {
    let more = if table == "shop_line" { ("order_id, ", "2, ") } else { ("", "") };
    [
        format!(
            "INSERT INTO {table} (id, {}{column}) VALUES (31, {}'a'), (32, {}'b')",
            more.0, more.1, more.1
        ),
        format!("UPDATE {table} SET {column} = 'changed'"),
        format!("UPDATE {table} SET id = id + 100 WHERE id = (SELECT 12)"),
        format!("DELETE FROM {table} WHERE id IN (2, 32)"),
    ]
}

/// The whole contents of both tables.
async fn contents(t: &TestDb) -> String {
    use sea_orm::QueryOrder;
    let orders = order::Entity::find().order_by_asc(order::Column::Id).all(&t.db).await.expect("the orders");
    let lines = line::Entity::find().order_by_asc(line::Column::Id).all(&t.db).await.expect("the lines");
    format!("{orders:?} {lines:?}")
}

db_test!(c19_block_leaves_nothing_of_any_statement_and_names_the_cause, async |t| {
    set_up(t).await;
    let audit = audit();
    let db = audit.connect(t.db.clone());
    // What is learnt at the first write must not depend on the table of entries.
    db.execute_unprepared("UPDATE shop_order SET state = 'open'").await.unwrap();
    drop_audit_table(t).await;
    let before = contents(t).await;
    for sql in statements("shop_order", "state").iter().filter(|sql| !sql.contains("SELECT 12")) {
        let error = db.execute_unprepared(sql).await.unwrap_err();
        assert!(is_audit_error(&error), "{sql}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("of Order could not be written") && text.contains("run the audit migrations"),
            "{text}"
        );
        assert!(!text.contains("changed"), "no value in an error: {text}");
        assert_eq!(contents(t).await, before, "{sql}");

        let transaction = db.begin().await.unwrap();
        let error = transaction.execute_unprepared(sql).await.unwrap_err();
        assert!(is_audit_error(&error), "{sql}: {error}");
        // Committing all the same is refused, or commits nothing.
        _ = transaction.commit().await;
        assert_eq!(contents(t).await, before, "{sql}, in a transaction");
    }
    let order = order::Entity::find_by_id(1).one(&t.db).await.unwrap().unwrap();
    let error = order.delete(&db).await.unwrap_err();
    assert!(is_audit_error(&error), "{error}");
    assert_eq!(contents(t).await, before);
    assert_eq!(audit.metrics().lost, 0);
});

db_test!(c19_best_effort_keeps_every_statement_and_the_transaction, async |t| {
    set_up(t).await;
    let audit = audit();
    let db = audit.connect(t.db.clone());
    drop_audit_table(t).await;
    let twin = TestDb::raw(t.backend).await;
    set_up(&twin).await;
    for (done, sql) in statements("shop_line", "article").iter().enumerate() {
        let lost = audit.metrics().lost;
        let affected =
            db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected();
        assert_eq!(affected, twin.execute(sql).await.unwrap().rows_affected(), "{sql}");
        assert_eq!(contents(t).await, contents(&twin).await, "{sql}");
        assert_eq!(audit.metrics().lost - lost, affected, "{sql}: one entry for each row, statement {done}");
    }
    // In a transaction, which goes on.
    let lost = audit.metrics().lost;
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("UPDATE shop_line SET article = 'one' WHERE id = 11").await.unwrap();
    transaction.execute_unprepared("UPDATE shop_line SET article = 'two' WHERE id = 31").await.unwrap();
    assert_eq!(line::Entity::find().count(&transaction).await.unwrap(), 3);
    let nested = transaction.begin().await.unwrap();
    line::Entity::delete_by_id(31).exec(&nested).await.unwrap();
    nested.rollback().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(audit.metrics().lost - lost, 3);
    let articles: Vec<String> = t.column("SELECT article FROM shop_line ORDER BY id").await.unwrap();
    assert_eq!(articles, ["one", "two", "changed"]);
    // The other entity's policy is its own.
    assert!(db.execute_unprepared("UPDATE shop_order SET state = 'x'").await.is_err());
});

db_test!(c19_in_one_cascade_each_entity_has_its_own_policy, async |t| {
    set_up(t).await;
    let audit = audit();
    let db = audit.connect(t.db.clone());
    break_entries_about(t, "Line").await;
    for transaction in [false, true] {
        let order =
            order::Entity::find_by_id(if transaction { 2 } else { 1 }).one(&t.db).await.unwrap().unwrap();
        if transaction {
            t.execute("INSERT INTO shop_line (id, order_id, article) VALUES (21, 2, 'pot')").await.unwrap();
            let transaction = db.begin().await.unwrap();
            order.delete(&transaction).await.unwrap();
            transaction.commit().await.unwrap();
        } else {
            order.delete(&db).await.unwrap();
        }
    }
    assert_eq!(counts(t).await, (0, 0));
    assert_eq!(trail(t).await, ["delete Order 1", "delete Order 2"]);
    assert_eq!(audit.metrics().lost, 3, "the lines' entries");
});

db_test!(c19_a_cascade_that_must_be_recorded_and_cannot_is_refused, async |t| {
    set_up(t).await;
    // Order and line change roles.
    let mut config = Config::default();
    config
        .apply_toml("resources = {Order = {on_failure='best_effort'}, shop_line = {on_failure='block'}}")
        .unwrap();
    let audit = Audit::builder().config(config).build().unwrap();
    let db = audit.connect(t.db.clone());
    break_entries_about(t, "Line").await;
    let order = order::Entity::find_by_id(1).one(&t.db).await.unwrap().unwrap();
    let error = order.clone().delete(&db).await.unwrap_err();
    assert!(is_audit_error(&error) && error.to_string().contains("delete of Line"), "{error}");
    assert!(error.to_string().contains("the database is read-only"), "{error}");
    let transaction = db.begin().await.unwrap();
    assert!(order.delete(&transaction).await.is_err());
    _ = transaction.commit().await;
    assert_eq!(counts(t).await, (2, 2));
    assert_eq!(trail(t).await, [""; 0]);
    // An order without lines has no need of them.
    order::Entity::delete_by_id(2).exec(&db).await.unwrap();
    assert_eq!(trail(t).await, ["delete Order 2"]);
    assert_eq!(audit.metrics().lost, 0);
});

db_test!(c19_several_statements_in_one_text_have_each_entitys_policy, async |t| {
    set_up(t).await;
    let audit = audit();
    let db = audit.connect(t.db.clone());
    break_entries_about(t, "Line").await;
    let text = "UPDATE shop_line SET article = 'x' WHERE id = 11; UPDATE shop_order SET state = 'y' WHERE id = 2; \
                DELETE FROM shop_line WHERE id = 12";
    db.execute_unprepared(text).await.unwrap();
    assert_eq!(trail(t).await, ["update Order 2"]);
    assert_eq!((audit.metrics().lost, counts(t).await), (2, (2, 1)));
});

db_test!(c19_best_effort_records_what_can_be_recorded, async |t| {
    set_up(t).await;
    let audit = audit();
    let db = audit.connect(t.db.clone());
    let order = order::Entity::find_by_id(1).one(&t.db).await.unwrap().unwrap();
    db.execute_unprepared("UPDATE shop_line SET article = 'x' WHERE id = 11").await.unwrap();
    order.delete(&db).await.unwrap();
    assert_eq!(trail(t).await, ["delete Line 11", "delete Line 12", "delete Order 1", "update Line 11"]);
    let ids: std::collections::BTreeSet<_> =
        entries(t).await[1..].iter().map(|e| e.transaction_id.clone()).collect();
    assert_eq!((ids.len(), audit.metrics().lost), (1, 0));
});

db_test!(c19_upserts_keep_to_the_policy, async |t| {
    set_up_shelves(t).await;
    let upsert = t.pick(
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'up'), ('z', 9, 'new') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'up'), ('z', 9, 'new') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'up'), ('z', 9, 'new') ON DUPLICATE KEY UPDATE label = VALUES(label)",
    );
    let audit = |policy| {
        Audit::builder()
            .register::<keys::shelf::Entity>(EntityOptions::default().on_failure(policy))
            .build()
            .unwrap()
    };
    let (strict, lenient) = (audit(FailurePolicy::Block), audit(FailurePolicy::BestEffort));
    drop_audit_table(t).await;
    let transaction = strict.connect(t.db.clone()).begin().await.unwrap();
    assert!(is_audit_error(&transaction.execute_unprepared(upsert).await.unwrap_err()));
    _ = transaction.commit().await;
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shelf").await.unwrap(), 3);
    let transaction = lenient.connect(t.db.clone()).begin().await.unwrap();
    transaction.execute_unprepared(upsert).await.unwrap();
    transaction.execute_unprepared("UPDATE shelf SET label = 'after' WHERE room = 'z'").await.unwrap();
    transaction.commit().await.unwrap();
    let labels: Vec<String> = t.column("SELECT label FROM shelf ORDER BY room, number").await.unwrap();
    assert_eq!((labels.join(" ").as_str(), lenient.metrics().lost), ("up two three after", 3));
});

db_test!(c19_hooks_keep_to_the_entitys_policy, async |t| {
    set_up(t).await;
    let audit = audit();
    break_entries_about(t, "Line").await;
    let change = |id, article: &str| line::ActiveModel {
        id: Set(id),
        article: Set(article.into()),
        ..Default::default()
    };
    let saved = audit.within(async {
        change(11, "alone").update(&t.db).await?;
        let transaction = t.db.begin().await?;
        change(12, "within").update(&transaction).await?;
        line::ActiveModel { id: Set(13), order_id: Set(2), article: Set("new".into()) }
            .insert(&transaction)
            .await?;
        change(11, "").delete(&transaction).await?;
        // The transaction goes on, and what must be recorded is.
        order::ActiveModel { id: Set(2), state: Set("paid".into()) }.update(&transaction).await?;
        transaction.commit().await
    });
    saved.await.unwrap();
    assert_eq!(
        t.column::<String>("SELECT article FROM shop_line ORDER BY id").await.unwrap(),
        ["within", "new"]
    );
    assert_eq!((trail(t).await, audit.metrics().lost), (vec!["update Order 2".to_owned()], 4));

    drop_audit_table(t).await;
    let transaction = t.db.begin().await.unwrap();
    let paid = order::ActiveModel { id: Set(1), state: Set("paid".into()) };
    let error = audit.within(paid.update(&transaction)).await.unwrap_err();
    assert!(is_audit_error(&error) && error.to_string().contains("run the audit migrations"), "{error}");
    transaction.rollback().await.unwrap();
    assert_eq!(
        t.column::<String>("SELECT state FROM shop_order ORDER BY id").await.unwrap(),
        ["open", "paid"]
    );
});

// The change can't be recorded for another reason than the table of entries: the row as it was is not known.
db_test!(c19_a_lost_old_row_is_a_loss_or_a_refusal, on(sqlite), async |t| {
    set_up(t).await;
    let audit = audit();
    let line = line::Entity::find_by_id(11).one(&t.db).await.unwrap().unwrap();
    let order = order::Entity::find_by_id(1).one(&t.db).await.unwrap().unwrap();
    let (line, order) = audit
        .within(async {
            (
                hooks::after_save::<line::ActiveModel, _>(line, &t.db, false).await,
                hooks::after_delete(order.into_active_model(), &t.db).await,
            )
        })
        .await;
    assert!(line.is_ok() && audit.metrics().lost == 1, "{line:?}");
    assert!(is_audit_error(&order.unwrap_err()));
});

// A failed statement would take the migration's transaction along.
db_test!(c19_a_migration_that_comes_before_ours_goes_on, async |t| {
    set_up(t).await;
    drop_audit_table(t).await;
    let mut config = Config::default();
    config.log_migrations = true;
    let audit = Audit::builder().config(config).build().unwrap();
    let transaction = t.db.begin().await.unwrap();
    let executor = DatabaseExecutor::from(&transaction);
    let seeded = audit.within(async {
        line::ActiveModel { id: Set(90), order_id: Set(2), article: Set("seed".into()) }
            .insert(&executor)
            .await?;
        line::ActiveModel { id: Set(91), order_id: Set(2), article: Set("seed".into()) }
            .insert(&executor)
            .await
    });
    seeded.await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((counts(t).await.1, audit.metrics().lost), (4, 2));
});

// SQLite ends the whole transaction on some failures; going on would commit each later statement by itself.
db_test!(c19_a_transaction_that_went_with_its_entry_is_no_success, on(sqlite), async |t| -> Result<
    (),
    DbErr,
> {
    set_up(t).await;
    t.execute("CREATE TRIGGER broken BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ROLLBACK, 'gone'); END")
        .await?;
    let db = audit().connect(t.db.clone());
    let transaction = db.begin().await?;
    let error = transaction.execute_unprepared("UPDATE shop_line SET article = 'x'").await.unwrap_err();
    assert!(is_audit_error(&error), "{error}");
    _ = transaction.rollback().await;
    assert!(db.execute_unprepared("UPDATE shop_line SET article = 'x'").await.is_err());
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shop_line WHERE article = 'x'").await?, 0);
    Ok(())
});

db_test!(c19_operations_by_hand_have_their_resources_policy, async |t| {
    set_up(t).await;
    drop_audit_table(t).await;
    let mut config = Config::default();
    config.apply_vars([("AUDIT_RESOURCES", "report.on_failure=best_effort")]).unwrap();
    let audit = Audit::builder().config(config).build().unwrap();
    let db = audit.connect(t.db.clone());
    let transaction = db.begin().await.unwrap();
    let logged = audit.within(async {
        Operation::new("print", "report").log(&transaction).await?;
        Operation::new("count", "Line").log(&transaction).await?;
        Operation::new("print", "ledger").log(&t.db).await
    });
    let error = logged.await.unwrap_err();
    assert!(matches!(&error, Error::Store { resource, .. } if resource == "ledger"), "{error}");
    // Two entries were lost within the transaction, which is as good as before.
    transaction.execute_unprepared("UPDATE shop_line SET article = 'y' WHERE id = 11").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(audit.metrics().lost, 3);
});

// It was taken for a connection outside of any transaction, and the entry was rolled back along.
db_test!(c12_a_failure_logged_within_an_audited_transaction_is_refused, async |t| {
    let audit = audit();
    let transaction = audit.connect(t.db.clone()).begin().await.unwrap();
    let error = audit.within(log_failure(&transaction, Operation::new("x", "y"), "no")).await.unwrap_err();
    assert!(error.to_string().contains("AuditBuilder::store"), "{error}");
    transaction.rollback().await.unwrap();
});

// Best effort has to go the longer way; its entries must look like those of the shorter one.
db_test!(i6_entries_look_alike_under_each_policy, on(postgres), async |t| {
    set_up_shelves(t).await;
    let shown = async |policy| {
        let before = entries(t).await.len();
        let options = EntityOptions::default().on_failure(policy);
        let audit = Audit::builder().register::<keys::shelf::Entity>(options).build().unwrap();
        let db = audit.connect(t.db.clone());
        for sql in [
            "INSERT INTO shelf (room, number, label) VALUES ('q', 1, 'new')",
            "UPDATE shelf SET label = 'x' WHERE room = 'q'",
            "DELETE FROM shelf WHERE room = 'q'",
        ] {
            db.execute_unprepared(sql).await.unwrap();
        }
        let fresh = entries(t).await.split_off(before);
        fresh
            .into_iter()
            .map(|e| (e.action, e.resource_id, e.changes, e.changed_fields, e.severity))
            .collect::<Vec<_>>()
    };
    let block = shown(FailurePolicy::Block).await;
    assert_eq!(block.len(), 3);
    assert_eq!(block, shown(FailurePolicy::BestEffort).await);
    assert_eq!(t.backend, DbBackend::Postgres);
});
