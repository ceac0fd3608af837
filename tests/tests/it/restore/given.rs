//! Values that the caller gives, since entries don't tell them.

use audit_seaorm::Restore;
use audit_tests::{TestDb, db_test};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, ModelTrait, Schema, Set, TransactionTrait,
    sea_query::{ForeignKey, ForeignKeyAction},
};

use super::{conflicts, refusal, restore, run};
use crate::connection::connect;
use crate::fixtures::{account, create_table, patient, renamed};

/// A patient, and an account that goes with the patient.
async fn set_up(t: &TestDb) -> (patient::Model, account::Model) {
    create_table(t, patient::Entity).await;
    let mut table = Schema::new(t.db.get_database_backend()).create_table_from_entity(account::Entity);
    let mut key = ForeignKey::create();
    key.from(account::Entity, account::Column::Overdraft).to(patient::Entity, patient::Column::Id);
    table.foreign_key(key.on_delete(ForeignKeyAction::Cascade));
    t.db.execute(&table).await.unwrap();
    let db = connect(t);
    let patient = patient::ActiveModel { name: Set("Ada".into()), born: Set(1815), ..Default::default() };
    let patient = patient.insert(&db).await.unwrap();
    let account = account::ActiveModel { overdraft: Set(patient.id), ..crate::fixtures::account("Ada", 100) };
    let account = account.insert(&db).await.unwrap();
    (patient, account)
}

db_test!(q5_a_value_for_a_field_that_is_not_there_is_refused, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let row = crate::fixtures::account("Ada", 100).insert(&db).await.unwrap();
    row.clone().delete(&db).await.unwrap();
    let description = Restore::deleted::<account::Entity>(row.id).set("iban", "DE-new").set("pin_hash", "p");
    let error = refusal(&db, description.clone().set("api_tokn", "secret-value")).await;
    assert_eq!(
        error,
        "restore: `set` gives a value of `api_tokn`, and Account has no such field; did you mean `api_token`? \
         Values can be given of `iban`, `pin_hash`, `api_token`"
    );
    let id = row.id;
    let error = refusal(&db, description.clone().set_of("Account", id, "zzzzzzzz", "secret-value")).await;
    assert_eq!(
        error,
        "restore: `set_of` gives a value of `zzzzzzzz`, and Account has no such field; \
         values can be given of `iban`, `pin_hash`, `api_token`"
    );
    for (resource, id) in [("Account", id + 1), ("Acount", id)] {
        let error = refusal(&db, description.clone().set_of(resource, id, "iban", "secret-value")).await;
        assert_eq!(
            error,
            format!(
                "restore: `set_of` names {resource} {id}, and this restore has only Account {row}",
                row = row.id
            )
        );
    }
    // A column's name is as good as the field's, and what is recorded isn't refused.
    let plan = restore(&db, description.set("db_limit", 5).set("owner", "not Ada")).await;
    assert_eq!(plan.steps().len(), 1);
    let back = account::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
    assert_eq!((back.overdraft, back.owner.as_str(), back.iban.as_str()), (100, "Ada", "DE-new"));
});

db_test!(q5_a_value_for_a_field_can_be_given_by_an_older_name, on(sqlite), async |t| {
    t.execute(renamed::TABLE).await.unwrap();
    run_renamed(t).await;
    let audit = audit_seaorm::Audit::builder().exclude::<renamed::before::Entity>().build().unwrap();
    let db = audit.connect(t.db.clone());
    let description = Restore::deleted::<renamed::after::Entity>(1);
    description.clone().set("headline", "x").plan(&db).await.unwrap();
    let error = refusal(&db, description.set("dropped", "x")).await;
    assert!(error.contains("a value of `dropped`, and "), "{error}");
});

async fn run_renamed(t: &TestDb) {
    let old = renamed::before::ActiveModel {
        id: Set(1),
        headline: Set("first".into()),
        grade: Set(5),
        dropped: Set(None),
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
}

db_test!(q5_what_a_child_needs_is_asked_for_as_it_can_be_given, async |t| {
    let (patient, account) = set_up(t).await;
    let db = connect(t);
    run(&db, &["DELETE FROM patient"]).await;
    assert_eq!(account::Entity::find().all(&t.db).await.unwrap(), []);
    let id = account.id;
    let description = Restore::deleted::<patient::Entity>(patient.id).with_children();
    let plan = description.clone().plan(&db).await.unwrap();
    assert_eq!(
        conflicts(&plan),
        [
            format!(
                "Account {id} needs a value of `iban`, which isn't known (masked); \
                 give it by `set_of(\"Account\", {id}, \"iban\", ..)`"
            ),
            format!(
                "Account {id} needs a value of `pin_hash`, which isn't known (not recorded); \
                 give it by `set_of(\"Account\", {id}, \"pin_hash\", ..)`"
            ),
        ]
    );
    // Of the patient there is no such field: it would be given in vain.
    let error = refusal(&db, description.clone().set("iban", "DE-new")).await;
    assert_eq!(
        error,
        "restore: `set` gives a value of `iban`, and Patient has no such field; \
         values can be given of `phone`, `diagnosis`; those of other rows by `set_of`"
    );
    let given = description.set_of("Account", id, "iban", "DE-new").set_of("Account", id, "pin_hash", "p");
    restore(&db, given).await;
    let back = account::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(back, account::Model { iban: "DE-new".into(), pin_hash: "p".into(), ..account });
});

db_test!(q5_what_rows_of_a_transaction_need_is_given_by_row, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let row = crate::fixtures::account("Ada", 100).insert(&db).await.unwrap();
    let id = row.id;
    let transaction = db.begin().await.unwrap();
    row.delete(&transaction).await.unwrap();
    let description = Restore::transaction(transaction.transaction_id());
    transaction.commit().await.unwrap();
    let plan = description.clone().plan(&db).await.unwrap();
    let said = conflicts(&plan);
    assert_eq!(said.len(), 2);
    assert!(said[0].ends_with(&format!("give it by `set_of(\"Account\", {id}, \"iban\", ..)`")), "{said:?}");
    restore(&db, description.set_of("Account", id, "iban", "a").set_of("Account", id, "pin_hash", "b")).await;
});
