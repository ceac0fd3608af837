//! `#[audited]` takes the path of the library, and nothing else.

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

    #[audit_seaorm::audited(crat = "audit_seaorm", exclude, crate = "audit_seaorm", crate = "audit_seaorm")]
    impl ActiveModelBehavior for ActiveModel {}
}

pub mod path {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "path")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    #[audit_seaorm::audited(crate = "audit seaorm", crate)]
    impl ActiveModelBehavior for ActiveModel {}
}

fn main() {}
