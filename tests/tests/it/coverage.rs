//! Everything in the database is audited, or waived by name with a reason; what isn't is found.

use audit_seaorm::coverage::{Coverage, State};
use audit_seaorm::{Audit, AuditBuilder, Config, EntityOptions, MemorySink, is_audit_error};
use audit_tests::{DbBackend, TestDb, db_test};

use crate::fixtures::{account, create_table, shop, undecorated, waived};

async fn set_up(t: &TestDb) {
    for table in shop::TABLES {
        t.execute(table).await.expect("a table");
    }
    create_table(t, waived::session::Entity).await;
}

async fn coverage(t: &TestDb, audit: AuditBuilder) -> Coverage {
    audit.build().expect("an audit").coverage(&t.db).await.expect("the report")
}

/// What is said of this table; an empty text if nothing is.
fn said(coverage: &Coverage, table: &str) -> String {
    let Some(row) = coverage.tables.iter().find(|row| row.table == table) else { return String::new() };
    let state = match &row.state {
        State::Audited { resource } => format!("audited as {resource}"),
        State::Waived { reason } => format!("waived: {reason}"),
        State::Uncovered { cause } => format!("uncovered: {cause}"),
        State::Missing => "missing".to_owned(),
        State::Stale { reason } => format!("stale: {reason}"),
        other => format!("{other:?}"),
    };
    match row.unknown_columns.join(",") {
        none if none.is_empty() => state,
        columns => format!("{state}; unknown {columns}"),
    }
}

db_test!(c17_every_table_is_audited_waived_or_a_gap, async |t| {
    set_up(t).await;
    create_table(t, waived::scratch::Entity).await;
    t.execute("CREATE TABLE stock (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    t.execute("CREATE TABLE seaql_migrations (version VARCHAR(20) NOT NULL PRIMARY KEY)").await.unwrap();
    t.execute("CREATE VIEW open_order AS SELECT * FROM shop_order").await.unwrap();
    let found = coverage(t, Audit::builder()).await;
    for (table, expected) in [
        ("shop_order", "audited as Order"),
        ("shop_line", "audited as Line"),
        ("session", "waived: rows live for an hour"),
        ("scratch", "uncovered: its entity isn't audited: it says `skip`, without a `reason`"),
        ("stock", "uncovered: no entity with this table is known to the audit"),
        ("account", "missing"),
        ("open_order", ""),
        ("seaql_migrations", ""),
        ("audit_log", ""),
    ] {
        assert_eq!(said(&found, table), expected, "{table}\n{found}");
    }
    let gaps: Vec<&str> = found.gaps().map(|row| row.table.as_str()).collect();
    assert_eq!(gaps, ["scratch", "stock"]);
    assert!(!found.is_complete());
    let order = found.tables.iter().find(|row| row.table == "shop_order").unwrap();
    assert!(order.hooks && order.entity.as_deref().unwrap().ends_with("fixtures::shop::order::Entity"));
    // An audited connection is as good.
    let audit = Audit::builder().build().unwrap();
    assert_eq!(audit.coverage(&audit.connect(t.db.clone())).await.unwrap(), found);
});

db_test!(c17_a_start_with_gaps_fails_and_says_what_to_do, async |t| {
    set_up(t).await;
    create_table(t, waived::scratch::Entity).await;
    t.execute("CREATE TABLE stock (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    t.execute("ALTER TABLE shop_line ADD COLUMN discount INT").await.unwrap();
    let error = Audit::builder().build().unwrap().require_coverage(&t.db).await.unwrap_err();
    let text = error.to_string();
    assert!(is_audit_error(&error), "{text}");
    for part in [
        "doesn't cover 3 tables:",
        "- stock: no entity with this table is known",
        "`AuditBuilder::waive(\"stock\", \"..\")`",
        "- scratch: its entity isn't audited",
        "fixtures::waived::scratch::Entity",
        "`#[audit(skip, reason = \"..\")]`",
        "- shop_line: its entity doesn't know the column `discount`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let misspelt = Audit::builder().waive("stokc", "counted elsewhere").build().unwrap();
    let text = misspelt.require_coverage(&t.db).await.unwrap_err().to_string();
    let meant = "; a waiver names `stokc`, which isn't there: did you mean `stock`?";
    assert_eq!(text.matches(meant).count(), 1, "{text}");
    let audit = Audit::builder()
        .waive("stock", "counted elsewhere")
        .waive_entity::<waived::scratch::Entity>("nobody needs it")
        .waive("shop_line.discount", "not in use yet");
    let found = audit.build().unwrap().require_coverage(&t.db).await.unwrap();
    assert!(found.is_complete());
    assert_eq!(said(&found, "stock"), "waived: counted elsewhere");
    assert_eq!(said(&found, "scratch"), "waived: nobody needs it");
    assert_eq!(said(&found, "shop_line"), "audited as Line");
});

db_test!(c17_waivers_come_from_the_configuration_too_and_leave_entities_out, async |t| {
    set_up(t).await;
    let mut config = Config::default();
    config
        .apply_toml("[audit.waivers]\nOrder = 'by resource'\nshop_line = 'by table'\nghost = 'long gone'")
        .unwrap();
    let audit =
        Audit::builder().config(config).waive("account.note", "of a table that isn't there").build().unwrap();
    let found = audit.coverage(&t.db).await.unwrap();
    assert_eq!(said(&found, "shop_order"), "waived: by resource");
    assert_eq!(said(&found, "shop_line"), "waived: by table");
    assert_eq!(said(&found, "ghost"), "stale: long gone");
    assert_eq!(said(&found, "account.note"), "stale: of a table that isn't there");
    assert!(found.is_complete(), "what is about nothing leaves nothing unrecorded\n{found}");
    // A waiver is what it says: nothing is recorded.
    let db = audit.connect(t.db.clone());
    sea_orm::ConnectionTrait::execute_unprepared(&db, "INSERT INTO shop_order (id, state) VALUES (1, 'x')")
        .await
        .unwrap();
    assert_eq!(crate::fixtures::entries(t).await, []);
});

// It took effect, and was called stale.
db_test!(c17_a_waiver_by_a_registered_name_is_no_stale_one, on(sqlite), async |t| {
    set_up(t).await;
    let options = EntityOptions { resource: Some("Purchase".into()), ..EntityOptions::default() };
    let audit = Audit::builder().register::<shop::order::Entity>(options).waive("Purchase", "elsewhere");
    let found = coverage(t, audit).await;
    assert_eq!(
        (said(&found, "shop_order").as_str(), said(&found, "Purchase").as_str()),
        ("waived: elsewhere", "")
    );
});

#[test]
fn c17_a_waiver_without_a_reason_is_none() {
    let error = Audit::builder().waive("stock", " ").build().unwrap_err().to_string();
    assert!(error.contains("`stock` has no reason"), "{error}");
    let mut config = Config::default();
    config.apply_vars([("AUDIT_WAIVERS", "stock=")]).unwrap();
    let error = Audit::builder().config(config).build().unwrap_err().to_string();
    assert!(error.contains("`waivers.stock` has no reason"), "{error}");
}

db_test!(c17_what_settings_leave_out_is_found, async |t| {
    set_up(t).await;
    create_table(t, undecorated::Entity).await;
    let config = |toml: &str| Config::from_toml(toml).unwrap();
    let found = coverage(t, Audit::builder().config(config("enabled = false"))).await;
    assert!(said(&found, "shop_order").contains("`enabled = false`"));
    let found = coverage(t, Audit::builder().exclude::<shop::order::Entity>()).await;
    assert!(said(&found, "shop_order").contains("the builder excludes it"));
    let found = coverage(t, Audit::builder().config(config("skip_resources = ['Order']"))).await;
    assert!(said(&found, "shop_order").contains("a list of exceptions names it"));
    let found = coverage(t, Audit::builder().register_module("crate::fixtures::account")).await;
    assert!(said(&found, "shop_order").contains("outside of the registered modules"));
    let registered = Audit::builder()
        .register_module("crate::fixtures::account")
        .register::<shop::order::Entity>(EntityOptions::default());
    let found = coverage(t, registered.config(config("skip_actions = ['delete']"))).await;
    assert_eq!(said(&found, "shop_order"), "audited as Order");
    let order = found.tables.iter().find(|row| row.table == "shop_order").unwrap();
    assert_eq!(order.unrecorded_actions, ["delete"]);
});

db_test!(c17_an_action_that_is_left_out_is_a_gap_unless_it_is_waived, async |t| {
    set_up(t).await;
    let audit = |waived: &[&str]| {
        let config = Config::from_toml("skip_actions = ['delete']").unwrap();
        let audit = Audit::builder().config(config);
        waived.iter().fold(audit, |audit, name| audit.waive(*name, "counters only"))
    };
    let error =
        audit(&["Line:delete"]).build().unwrap().require_coverage(&t.db).await.unwrap_err().to_string();
    assert!(error.contains("doesn't cover 1 table:"), "{error}");
    assert!(error.contains("- shop_order: `delete` isn't recorded"), "{error}");
    assert!(error.contains("`AuditBuilder::waive(\"shop_order:delete\", \"..\")`"), "{error}");
    for waived in [&["Line:delete", "shop_order:delete"][..], &["*:delete"]] {
        let found = audit(waived).build().unwrap().require_coverage(&t.db).await.unwrap();
        let order = found.tables.iter().find(|row| row.table == "shop_order").unwrap();
        assert!(order.unrecorded_actions.is_empty());
        assert_eq!(order.waived_actions.get("delete").map(String::as_str), Some("counters only"));
        assert!(found.to_string().contains("without delete: counters only"), "{found}");
        assert!(waived.iter().all(|name| said(&found, name).is_empty()), "none is stale\n{found}");
    }
    // Another action's waiver doesn't help; one of a table that isn't there is about nothing.
    let found = audit(&["*:delete", "shop_order:update", "ghost:delete"])
        .build()
        .unwrap()
        .coverage(&t.db)
        .await
        .unwrap();
    assert_eq!(said(&found, "ghost:delete"), "stale: counters only");
    assert!(!coverage(t, audit(&["*:update"])).await.is_complete());
});

// The start went well, and the first write failed.
db_test!(c17_tables_that_the_audit_needs_are_missed, async |t| {
    set_up(t).await;
    create_table(t, account::Entity).await;
    let rename =
        async |from: &str, to: &str| t.execute(&format!("ALTER TABLE {from} RENAME TO {to}")).await.unwrap();
    let only = |reads: bool| {
        let mut config = Config::default();
        config.log_reads = reads;
        Audit::builder()
            .config(config)
            .register_module("crate::fixtures::shop")
            .waive("account", "not of the shop")
    };
    // Each may be written by a function that no configuration names: an export, a failed login, an event.
    for table in [
        "audit_query",
        "audit_export",
        "audit_violation",
        "audit_login_attempt",
        "audit_system_event",
        "audit_transition",
    ] {
        // Another name for each: SQLite's other connections may not know yet that one is free again.
        let hidden = format!("{table}_hidden");
        rename(table, &hidden).await;
        let found = coverage(t, only(false)).await;
        assert_eq!(found.gaps().map(|row| row.table.as_str()).collect::<Vec<_>>(), [table]);
        rename(&hidden, table).await;
    }
    assert!(coverage(t, only(false)).await.is_complete());
    // What workers keep can be made anew from the log, and they say themselves if it isn't there.
    rename("audit_detector", "audit_detector_hidden").await;
    assert!(coverage(t, only(false)).await.is_complete());
    rename("audit_detector_hidden", "audit_detector").await;
    rename("audit_query", "elsewhere").await;
    let audit = only(true).waive("elsewhere", "hidden");
    let error = audit.build().unwrap().require_coverage(&t.db).await.unwrap_err().to_string();
    assert!(
        error.contains(
            "1 audit table is missing or not up to date; run the migrations (`audit_migration::Migrator::up`):\n\
             - audit_query: there is no such table"
        ),
        "{error}"
    );
    assert!(!error.contains("doesn't cover"), "{error}");
    rename("elsewhere", "audit_query").await;
    rename("audit_log", "somewhere").await;
    let found = coverage(t, only(true).waive("somewhere", "hidden")).await;
    assert_eq!(found.gaps().map(|row| row.table.as_str()).collect::<Vec<_>>(), ["audit_log"]);
    assert!(found.to_string().contains("NOT THERE: there is no such table"), "{found}");
    rename("somewhere", "audit_log").await;
    t.execute("ALTER TABLE audit_log RENAME COLUMN reason TO why").await.unwrap();
    let error = only(true).build().unwrap().require_coverage(&t.db).await.unwrap_err().to_string();
    assert!(error.contains("- audit_log: it doesn't have the column `reason`"), "{error}");
    // Where entries go elsewhere, the tables aren't needed.
    assert!(coverage(t, only(true).sink(MemorySink::default())).await.is_complete());
});

// Who had dropped the guards could change the log, and nobody was told.
db_test!(c17_records_that_can_be_changed_are_a_gap, async |t| {
    set_up(t).await;
    create_table(t, account::Entity).await;
    let audit =
        || Audit::builder().register_module("crate::fixtures::shop").waive("account", "not of the shop");
    assert!(coverage(t, audit()).await.is_complete());
    let (off, missing): (&[&str], &str) = t.pick(
        (
            &["DROP TRIGGER audit_log_refuse_replace", "DROP TRIGGER audit_log_refuse_delete"],
            "triggers `audit_log_refuse_delete`, `audit_log_refuse_replace` are",
        ),
        (
            &["ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only"],
            "trigger `audit_log_append_only` is",
        ),
        (&["DROP TRIGGER audit_log_refuse_update"], "trigger `audit_log_refuse_update` is"),
    );
    for sql in off {
        t.execute(sql).await.unwrap();
    }
    let found = coverage(t, audit()).await;
    assert!(found.to_string().ends_with("1 of the audit's own not guarded"), "{found}");
    let error = audit().build().unwrap().require_coverage(&t.db).await.unwrap_err().to_string();
    let says = format!(
        "1 table of records can be changed by whoever may write to the database:\n- audit_log: the {missing} missing or switched off; find out why"
    );
    assert!(error.contains(&says), "{error}");
    // As where a job of the DBA's takes old records away.
    assert!(coverage(t, audit().waive("audit_log", "the DBA's archive job")).await.is_complete());
    // Where entries go elsewhere, nothing is there to be guarded.
    assert!(coverage(t, audit().sink(MemorySink::default())).await.is_complete());
});

db_test!(c17_names_in_the_configuration_that_are_nobodys_are_gaps, on(sqlite), async |t| {
    set_up(t).await;
    let config = || {
        let text =
            "skip_resources = ['Ordre', 'session', 'scratch']\n[resources.Lines]\non_failure = 'best_effort'";
        Audit::builder().config(Config::from_toml(text).unwrap())
    };
    let error = config().build().unwrap().require_coverage(&t.db).await.unwrap_err().to_string();
    assert!(error.contains("- Ordre: the setting `skip_resources` names it"), "{error}");
    assert!(error.contains("; did you mean `Order`?"), "{error}");
    assert!(error.contains("- Lines: the setting `resources` names it"), "{error}");
    assert!(!error.contains("session") && !error.contains("scratch"), "known, though not audited: {error}");
    let found =
        coverage(t, config().waive("Lines", "printed by hand").waive("Ordre", "of another program")).await;
    assert!(found.is_complete() && said(&found, "Lines").is_empty(), "{found}");
});

#[test]
fn c17_an_exception_that_is_nobodys_name_is_an_error() {
    let error = Audit::builder().audit_everything_except(["Acount"]).build().unwrap_err().to_string();
    assert!(error.contains("`audit_everything_except` names `Acount`"), "{error}");
    assert!(error.contains("did you mean `Account`?"), "{error}");
    Audit::builder().audit_everything_except(["Account", "shop_line", "session"]).build().unwrap();
}

db_test!(c17_names_are_the_databases_own, async |t| {
    let quote = t.pick("\"", "\"", "`");
    // Where names that differ by case are different tables, `Account` isn't the audited one.
    t.execute(&format!("CREATE TABLE {quote}Account{quote} ({quote}ID{quote} INT NOT NULL PRIMARY KEY)"))
        .await
        .unwrap();
    t.execute(&format!("CREATE TABLE {quote}Order Lines{quote} (id INT NOT NULL PRIMARY KEY)"))
        .await
        .unwrap();
    t.execute(&format!("CREATE TABLE {quote}it.em{quote} (id INT NOT NULL PRIMARY KEY)")).await.unwrap();
    let found = coverage(t, Audit::builder().waive("Order Lines", "odd").waive("it.em", "odder")).await;
    let insensitive = t.backend == DbBackend::Sqlite;
    let expected = if insensitive {
        "audited as Account"
    } else {
        "uncovered: no entity with this table is known to the audit"
    };
    assert_eq!(said(&found, "Account"), expected, "{found}");
    assert_eq!(said(&found, "account"), if insensitive { "" } else { "missing" });
    assert_eq!(said(&found, "Order Lines"), "waived: odd");
    assert_eq!(said(&found, "it.em"), "waived: odder");
});

db_test!(c17_schemas_and_partitions, on(postgres), async |t| {
    set_up(t).await;
    t.execute(
        "CREATE SCHEMA other; CREATE TABLE other.shop_order (id int); CREATE TABLE other.hidden (id int); \
         CREATE TABLE measured (day date) PARTITION BY RANGE (day); \
         CREATE TABLE measured_2026 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); \
         CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM shop_order; CREATE TEMP TABLE passing (id int); \
         CREATE SEQUENCE numbers",
    )
    .await
    .unwrap();
    let found = coverage(t, Audit::builder()).await;
    assert!(said(&found, "measured").starts_with("uncovered"));
    for none in
        ["measured_2026", "totals", "passing", "numbers", "other.hidden", "other.shop_order", "hidden"]
    {
        assert_eq!(said(&found, none), "", "{none}\n{found}");
    }
    // Both schemas in use: the first one's table is meant by the entity, the other's by nobody.
    let mut options = t.options();
    options.set_schema_search_path("public,other");
    let both = sea_orm::Database::connect(options).await.unwrap();
    let found =
        Audit::builder().waive("other.hidden", "elsewhere").build().unwrap().coverage(&both).await.unwrap();
    assert_eq!(said(&found, "shop_order"), "audited as Order");
    assert!(said(&found, "other.shop_order").starts_with("uncovered"), "{found}");
    assert_eq!(said(&found, "hidden"), "waived: elsewhere");
});

db_test!(c17_generated_columns_need_no_entity, async |t| {
    set_up(t).await;
    t.execute(t.pick(
        "ALTER TABLE shop_order ADD COLUMN loud TEXT AS (upper(state)) VIRTUAL",
        "ALTER TABLE shop_order ADD COLUMN loud TEXT GENERATED ALWAYS AS (upper(state)) STORED",
        "ALTER TABLE shop_order ADD COLUMN loud VARCHAR(20) AS (upper(state)) VIRTUAL",
    ))
    .await
    .unwrap();
    t.execute("ALTER TABLE shop_order ADD COLUMN quiet VARCHAR(20) DEFAULT 'x'").await.unwrap();
    let found = coverage(t, Audit::builder()).await;
    assert_eq!(said(&found, "shop_order"), "audited as Order; unknown quiet");
});

db_test!(c17_partitions_are_no_tables, on(mysql), async |t| {
    t.execute("CREATE TABLE measured (day INT NOT NULL) PARTITION BY HASH (day) PARTITIONS 3").await.unwrap();
    let found = coverage(t, Audit::builder()).await;
    assert!(said(&found, "measured").starts_with("uncovered"));
    assert_eq!(found.tables.iter().filter(|row| row.table.contains("measured")).count(), 1);
});

db_test!(c17_the_report_reads_well, on(sqlite), async |t| {
    set_up(t).await;
    t.execute("CREATE TABLE stock (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    create_table(t, account::Entity).await;
    let found = coverage(t, Audit::builder().register_module("crate::fixtures::shop")).await;
    let shown: Vec<String> =
        found.to_string().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(
        shown.contains(&"stock - NOT COVERED: no entity with this table is known to the audit".to_owned()),
        "{found}"
    );
    assert!(
        shown.iter().any(|line| line.starts_with("shop_order ")
            && line.ends_with("::shop::order::Entity audited as Order"))
    );
    assert_eq!(shown.last().unwrap(), "2 tables not covered");
    let json = serde_json::to_value(&found).unwrap();
    let stock = json["tables"].as_array().unwrap().iter().find(|row| row["table"] == "stock").unwrap();
    assert_eq!(stock["state"]["state"], "uncovered");
});
