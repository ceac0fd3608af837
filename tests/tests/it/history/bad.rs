//! Questions that can't be answered.

use audit_seaorm::{Audit, AuditedEntity, EntityOptions, Error};
use audit_tests::db_test;
use sea_orm::ActiveModelTrait;

use crate::fixtures::{account, create_table, drop_audit_table, music, renamed};

db_test!(q6_what_cannot_be_asked_is_said, async |t| {
    let error = music::label::Entity::history(1).all(&t.db).await.unwrap_err();
    assert!(error.to_string().starts_with("audit registration: `label` isn't audited"), "{error}");
    create_table(t, account::Entity).await;
    crate::fixtures::account("Ada", 1).insert(&t.db).await.unwrap();
    t.execute("DROP TABLE account").await.unwrap();
    let later = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
    let error = account::Entity::as_of(later).one(&t.db, 1).await.unwrap_err();
    assert!(matches!(error, Error::Query { retryable: false, .. }), "{error}");
    drop_audit_table(t).await;
    let error = account::Entity::history(1).all(&t.db).await.unwrap_err();
    assert!(error.to_string().contains("run the audit migrations"), "{error}");
});

#[test]
fn q6_an_alias_means_one_field() {
    let options = |aliases: &[(&str, &str)]| EntityOptions {
        aliases: aliases.iter().map(|(column, alias)| ((*column).to_owned(), (*alias).to_owned())).collect(),
        ..Default::default()
    };
    let build = |aliases: &[(&str, &str)]| {
        Audit::builder()
            .register::<renamed::before::Entity>(options(aliases))
            .build()
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    build(&[("grade", "place"), ("grade", "rang")]).unwrap();
    let error = build(&[("grade", "headline")]).unwrap_err();
    assert!(
        error.contains("alias `headline` of `grade` of `Article` is also a name of `headline`"),
        "{error}"
    );
    let error = build(&[("grade", "x"), ("dropped", "x")]).unwrap_err();
    assert!(error.contains("one field only"), "{error}");
    let error = build(&[("nothing", "x")]).unwrap_err();
    assert!(error.contains("`aliases` of `Article` names `nothing`, which isn't a column"), "{error}");
}
