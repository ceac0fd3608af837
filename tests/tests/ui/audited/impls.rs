//! Impls of the right trait that can't be audited as they are.

pub mod page {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "page")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    #[audit_seaorm::audited]
    #[audit_seaorm::audited]
    impl ActiveModelBehavior for ActiveModel {}
}

pub mod generic {
    trait ActiveModelBehavior {}

    #[audit_seaorm::audited]
    impl<T> ActiveModelBehavior for Vec<T> {}
}

fn main() {}
