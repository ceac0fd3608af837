//! The same with labels of references.

use audit_seaorm::{Audit, AuditContext, MemorySink, scope};
use audit_tests::db_test;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DbErr, IntoActiveModel, ModelTrait, Set};

use super::comparable;
use crate::fixtures::entries;
use crate::fixtures::music::{self, band, disc};

/// A band renamed, and a disc of it that begins, goes over to another band, gets another title, and ends.
async fn life_with_labels<C: ConnectionTrait>(db: &C, names: &[Option<String>; 2]) -> Result<(), DbErr> {
    for (id, name) in (1..).zip(names) {
        band::ActiveModel { id: Set(id), name: Set(name.clone()), ..Default::default() }.update(db).await?;
    }
    let disc = disc::Model {
        id: 9,
        title: "t".into(),
        band_id: Some(1),
        style: None,
        previous_id: None,
        producer_id: None,
    };
    let disc = disc.into_active_model().reset_all().insert(db).await?;
    let disc = disc::ActiveModel { band_id: Set(Some(2)), ..disc.into() }.update(db).await?;
    let disc = disc::ActiveModel { previous_id: Set(Some(9)), title: Set("u".into()), ..disc.into() };
    let disc = disc.update(db).await?;
    let disc = disc::ActiveModel { title: Set("v".into()), ..disc.into() }.update(db).await?;
    disc.delete(db).await.map(|_| ())
}

db_test!(i6_every_path_writes_the_same_labels, async |t| {
    for sql in music::TABLES.into_iter().chain(["INSERT INTO band (id, name) VALUES (1, 'a'), (2, 'b')"]) {
        t.execute(sql).await.unwrap();
    }
    let context = AuditContext::user(7);
    let stored = Audit::builder().build().unwrap().connect(t.db.clone()).with_context(context.clone());
    let (travelled, hooked) = (MemorySink::new(), MemorySink::new());
    let through_rows = Audit::builder().sink(travelled.clone()).build().unwrap();
    let through_rows = through_rows.connect(t.db.clone()).with_context(context.clone());
    let hooks = Audit::builder().sink(hooked.clone()).build().unwrap();
    let name = || {
        proptest::option::of(prop_oneof![
            "[a-zA-Z0-9 äß€😀\"\\\\/'\n\t\u{1}]{0,30}",
            Just("card 4111 1111 1111 1111".to_owned()),
            Just("https://user:pw@example.org/?token=abc".to_owned()),
            Just("  blanks  ".to_owned()),
        ])
    };
    let mut runner = TestRunner::deterministic();
    let mut seen = 0;
    for case in 0..20 {
        let mut next = || name().new_tree(&mut runner).expect("a name").current();
        let names = [next(), next()];
        let back = async || {
            t.execute("UPDATE band SET name = CASE id WHEN 1 THEN 'a' ELSE 'b' END").await.unwrap();
        };
        life_with_labels(&stored, &names).await.unwrap();
        back().await;
        life_with_labels(&through_rows, &names).await.unwrap();
        back().await;
        hooks.within(scope(context.clone(), life_with_labels(&t.db, &names))).await.unwrap();
        back().await;

        let rows = entries(t).await.split_off(seen);
        seen += rows.len();
        let stored: Vec<String> = rows.into_iter().map(|row| comparable(&row.try_into().unwrap())).collect();
        let travelled: Vec<String> = travelled.take().iter().map(comparable).collect();
        let hooked: Vec<String> = hooked.take().iter().map(comparable).collect();
        assert!(stored.len() >= 5, "case {case}");
        let labelled = stored.iter().filter(|entry| entry.contains("_label")).count();
        assert!(labelled >= 2, "case {case}: {stored:#?}");
        assert_eq!(stored, travelled, "case {case}: {names:?}");
        assert_eq!(travelled, hooked, "case {case}: {names:?}");
    }
});
