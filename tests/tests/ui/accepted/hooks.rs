//! The ways to write the impl that `#[audited]` stands on.

/// An entity with this impl.
macro_rules! entity {
    ($module:ident { $($behavior:tt)* }) => {
        mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = "page")]
            pub(super) struct Model {
                #[sea_orm(primary_key)]
                pub(super) id: i64,
                pub(super) title: String,
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub(super) enum Relation {}

            $($behavior)*
        }
    };
}

entity!(plain {
    use audit_seaorm::audited;

    /// Documented.
    #[audited]
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the hook has one")]
    impl ActiveModelBehavior for ActiveModel {
        fn new() -> Self {
            Self { title: sea_orm::Set("untitled".to_owned()), ..ActiveModelTrait::default() }
        }

        async fn before_save<C>(mut self, _db: &C, insert: bool) -> Result<Self, DbErr>
        where
            C: ConnectionTrait,
        {
            if let Some(title) = self.title.take().filter(|title| insert || title.is_empty()) {
                self.title = sea_orm::Set(title + "!");
            }
            Ok(self)
        }

        async fn after_save<C: ConnectionTrait>(
            model: <Self::Entity as EntityTrait>::Model,
            db: &C,
            _insert: bool,
        ) -> Result<Model, DbErr> {
            db.execute_unprepared("SELECT 1").await?;
            Ok(model)
        }
    }
});

entity!(above_async_trait {
    use async_trait::async_trait;

    #[audit_seaorm::audited]
    #[async_trait]
    impl sea_orm::ActiveModelBehavior for ActiveModel {
        async fn before_delete<C>(self, _db: &C) -> Result<Self, DbErr>
        where
            C: ConnectionTrait,
        {
            Ok(self)
        }
    }
});

entity!(below_async_trait {
    #[async_trait::async_trait]
    #[audit_seaorm::audited]
    impl ActiveModelBehavior for ActiveModel {
        async fn after_delete<C>(self, _db: &C) -> Result<Self, DbErr>
        where
            C: ConnectionTrait,
        {
            Ok(self)
        }
    }
});

entity!(empty_with_async_trait {
    use async_trait::async_trait;

    #[audit_seaorm::audited()]
    #[async_trait]
    impl ActiveModelBehavior for ActiveModel {}
});

entity!(left_out {
    #[cfg(any())]
    #[audit_seaorm::audited]
    impl ActiveModelBehavior for ActiveModel {}

    #[audit_seaorm::audited]
    #[cfg(all())]
    impl ActiveModelBehavior for ActiveModel {}
});

#[test]
fn c2_other_items_of_the_impl_stay() {
    use sea_orm::{ActiveModelBehavior, ActiveValue};
    assert_eq!(plain::ActiveModel::new().title, ActiveValue::Set("untitled".to_owned()));
}

#[test]
fn c2_audited_entities_are_announced() {
    let audit = audit_seaorm::Audit::builder()
        .register_module("crate::accepted::hooks::below_async_trait")
        .build()
        .unwrap();
    assert!(audit.registry().get::<below_async_trait::Entity>().unwrap().is_some());
    assert!(audit.registry().get::<above_async_trait::Entity>().unwrap().is_none());
}
