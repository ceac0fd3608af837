//! Which entities are audited.

use audit_seaorm::{Audit, Config, EntityOptions, Error, LogFilter, Operation, get_audit_logs, module};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, ActiveValue::NotSet, Set};
use serde_json::json;

use crate::fixtures::{account, blog, changes, create_table, document, entries, only_entry, undecorated};

fn legacy() -> undecorated::ActiveModel {
    undecorated::ActiveModel {
        id: NotSet,
        login: Set("ada".into()),
        password: Set("hunter2".into()),
        remarks: Set("likes machines".into()),
    }
}

fn resources(audit: &Audit) -> Vec<&str> {
    audit.registry().policies().into_iter().map(|policy| policy.resource.as_str()).collect()
}

#[test]
fn c3_a_module_is_registered_by_its_path() {
    let blog = ["author", "post", "post_tag", "tag"];
    for path in ["it::fixtures::blog", "it::fixtures::blog::*", "it::fixtures::bl*", "crate::fixtures::blog"]
    {
        let audit = Audit::builder().register_module(path).build().unwrap();
        assert_eq!(resources(&audit), blog, "{path}");
        assert!(audit.registry().left_out().contains(&"account".to_owned()));
    }
    let audit = Audit::builder()
        .register_module("it::fixtures::blog")
        .exclude::<blog::tag::Entity>()
        .register::<account::Entity>(EntityOptions::default())
        .build()
        .unwrap();
    assert_eq!(resources(&audit), ["Account", "author", "post", "post_tag"]);
}

#[test]
fn c3_a_module_without_entities_is_an_error_that_lists_those_with() {
    for path in ["it::fixtures::blo", "no_such_crate", "crate::nowhere"] {
        let error = Audit::builder().register_module(path).build().unwrap_err();
        assert!(matches!(&error, Error::Registration(text) if text.contains(path)), "{error}");
        assert!(error.to_string().contains("it::fixtures::blog::post"), "{error}");
    }
}

#[test]
fn c3_a_registration_that_names_no_column_is_an_error() {
    let options = EntityOptions { exclude: vec!["pasword".into()], ..Default::default() };
    let error = Audit::builder().register::<undecorated::Entity>(options).build().unwrap_err().to_string();
    assert!(error.contains("`pasword`") && error.contains("id, login, password, remarks"), "{error}");
    let both = vec!["login".to_owned()];
    let options = EntityOptions { exclude: both.clone(), include: both, ..Default::default() };
    assert!(Audit::builder().register::<undecorated::Entity>(options).build().is_err());
}

#[test]
fn c3_one_resource_name_for_two_tables_is_an_error() {
    let options = EntityOptions { resource: Some("post".into()), ..Default::default() };
    let error = Audit::builder().register::<account::Entity>(options).build().unwrap_err().to_string();
    assert!(error.contains("same resource name `post`"), "{error}");
}

db_test!(c4_an_entity_without_the_derive_is_tracked, async |t| {
    create_table(t, undecorated::Entity).await;
    let row = legacy().insert(&t.db).await.unwrap();
    let mut change: undecorated::ActiveModel = row.into();
    change.remarks = Set("likes poetry".into());
    change.password = Set("hunter3".into());
    change.update(&t.db).await.unwrap();
    let all = entries(t).await;
    assert_eq!(
        changes(&all[0]),
        json!({
            "id": {"new": 1}, "login": {"new": "ada"}, "password": {"new": "***"},
            "remarks": {"new": "likes machines"},
        }),
        "a password is a secret by its name"
    );
    assert_eq!(
        changes(&all[1]),
        json!({
            "password": {"old": "***", "new": "***"},
            "remarks": {"old": "likes machines", "new": "likes poetry"},
        })
    );
    assert!(all[1].is_sensitive);
});

db_test!(c3_registration_at_run_time_sets_include_and_exclude, async |t| {
    create_table(t, undecorated::Entity).await;
    let options = EntityOptions {
        resource: Some("LegacyUser".into()),
        module: Some("user_management".into()),
        include: vec!["login".into()],
        name: Some("login".into()),
        ..Default::default()
    };
    let audit = Audit::builder().register::<undecorated::Entity>(options).build().unwrap();
    audit.within(legacy().insert(&t.db)).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(changes(&entry), json!({"login": {"new": "ada"}}));
    assert_eq!((entry.resource_type.as_str(), entry.resource_name.as_deref()), ("LegacyUser", Some("ada")));
    assert_eq!(entry.module.as_deref(), Some("user_management"));
});

db_test!(c4_skip_lists_and_exceptions_leave_out, async |t| {
    create_table(t, undecorated::Entity).await;
    create_table(t, account::Entity).await;
    let mut config = Config::default();
    config.skip_resources = vec!["legacy_user".into()];
    config.skip_actions = vec!["DELETE".into()];
    let audit = Audit::builder().config(config).build().unwrap();
    audit
        .within(async {
            legacy().insert(&t.db).await.unwrap();
            let row = crate::fixtures::account("Ada", 1).insert(&t.db).await.unwrap();
            sea_orm::ModelTrait::delete(row, &t.db).await.unwrap();
        })
        .await;
    let except = Audit::builder().audit_everything_except(["Account"]).build().unwrap();
    except
        .within(async {
            legacy().insert(&t.db).await.unwrap();
            crate::fixtures::account("Ben", 1).insert(&t.db).await.unwrap();
        })
        .await;
    let kept: Vec<_> =
        entries(t).await.into_iter().map(|e| format!("{} {}", e.action, e.resource_type)).collect();
    assert_eq!(kept, ["create Account", "create legacy_user"]);
});

db_test!(s9_switched_off_records_nothing, async |t| {
    create_table(t, account::Entity).await;
    let config = Config::from_toml("[audit]\nenabled = false").unwrap();
    let audit = Audit::builder().config(config).build().unwrap();
    audit.within(crate::fixtures::account("Ada", 1).insert(&t.db)).await.unwrap();
    assert_eq!(entries(t).await, []);
});

db_test!(r7_entries_are_classified_by_the_names_of_their_fields, async |t| {
    create_table(t, undecorated::Entity).await;
    create_table(t, document::Entity).await;
    legacy().insert(&t.db).await.unwrap();
    let document = document::ActiveModel { id: NotSet, body: Set(None), ratio: Set(1.0) };
    document.insert(&t.db).await.unwrap();
    let classes: Vec<_> =
        entries(t).await.into_iter().map(|e| (e.resource_type, e.classification, e.is_sensitive)).collect();
    // The one has a password, the other nothing that is known.
    let expected = [("legacy_user", "restricted", true), ("document", "internal", false)];
    assert_eq!(classes, expected.map(|(of, class, secret)| (of.to_owned(), class.to_owned(), secret)));
});

db_test!(r7_configuration_overrides_classification, async |t| {
    create_table(t, undecorated::Entity).await;
    for (class, text) in [("top_secret", "top_secret"), ("internal", "restricted")] {
        let config =
            Config::from_toml(&format!("[audit.classifications]\n\"legacy_user.remarks\" = \"{class}\""))
                .unwrap();
        let audit = Audit::builder().config(config).build().unwrap();
        audit.within(legacy().insert(&t.db)).await.unwrap();
        let db = audit.connect(t.db.clone());
        legacy().insert(&db).await.unwrap();
        let all = entries(t).await.split_off(if class == "top_secret" { 0 } else { 2 });
        let stored: Vec<_> = all.iter().map(|entry| entry.classification.as_str()).collect();
        assert_eq!(stored, [text, text], "the password keeps the others from being less");
    }
});

db_test!(r6_modules_of_ones_own_are_stored_and_asked_for, async |t| {
    create_table(t, undecorated::Entity).await;
    let options = EntityOptions { module: Some("warehouse".into()), ..Default::default() };
    let audit = Audit::builder().register::<undecorated::Entity>(options).build().unwrap();
    audit.within(legacy().insert(&t.db)).await.unwrap();
    legacy().insert(&audit.connect(t.db.clone())).await.unwrap();
    let operation = || Operation::new("count", "Stock");
    operation().module("warehouse").log(&t.db).await.unwrap();
    operation().module(module::REPORTING).log(&t.db).await.unwrap();
    operation().log(&t.db).await.unwrap();
    let modules: Vec<_> = entries(t).await.into_iter().map(|entry| entry.module).collect();
    let own = Some("warehouse".to_owned());
    assert_eq!(modules, [own.clone(), own.clone(), own, Some("reporting".into()), None]);
    let filter = LogFilter::new().module("warehouse");
    assert_eq!(get_audit_logs(&filter).unwrap().all(&t.db).await.unwrap().len(), 3);
});

db_test!(r8_entries_say_which_frameworks_they_count_for, async |t| {
    create_table(t, account::Entity).await;
    create_table(t, undecorated::Entity).await;
    let of = |toml: &str, own: &[&str]| {
        let options = EntityOptions {
            frameworks: own.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let config = Config::from_toml(toml).unwrap();
        Audit::builder().config(config).register::<undecorated::Entity>(options).build().unwrap()
    };
    let mut seen = 0;
    for (toml, own, by_hand, expected) in [
        // Attributes, a registration and a call name them, each in its own form.
        (
            "",
            &["iso 27001", "gdpr"][..],
            "pci-dss",
            [r#"["SOX","PCI_DSS"]"#, r#"["ISO_27001","GDPR"]"#, r#"["PCI_DSS"]"#],
        ),
        // What is disabled applies to nothing.
        (
            "[audit.frameworks.PCI_DSS]\nenabled = false\n[audit.frameworks.ISO_27001]\nenabled = false",
            &["iso 27001", "gdpr"],
            "pci-dss",
            [r#"["SOX"]"#, r#"["GDPR"]"#, ""],
        ),
        // A list enables what it names and nothing else that is known.
        ("[audit]\nframeworks = [\"GDPR\"]", &["sox"], "gdpr", ["", "", r#"["GDPR"]"#]),
    ] {
        let audit = of(toml, own);
        let db = audit.connect(t.db.clone());
        audit.within(crate::fixtures::account("Ada", 1).insert(&t.db)).await.unwrap();
        crate::fixtures::account("Ada", 1).insert(&db).await.unwrap();
        audit.within(legacy().insert(&t.db)).await.unwrap();
        legacy().insert(&db).await.unwrap();
        let operation = Operation::new("approve", "Loan").framework(by_hand);
        audit.within(operation.log(&t.db)).await.unwrap();
        let all = entries(t).await.split_off(seen);
        seen += all.len();
        let stored: Vec<_> =
            all.iter().map(|entry| entry.frameworks.as_deref().unwrap_or_default()).collect();
        let [attributes, registration, call] = expected;
        assert_eq!(stored, [attributes, attributes, registration, registration, call], "{toml}");
        assert!(all.iter().all(|entry| entry.hash_matches() == Some(true)), "{toml}");
    }
});
