//! One field names the resource, and no two have the same name in entries.

use audit_seaorm::Auditable;

#[derive(Auditable)]
pub struct Model {
    pub id: i64,
    #[audit(name)]
    pub title: String,
    #[audit(name)]
    pub subtitle: String,
    #[audit(silent, name)]
    pub label: String,
    #[audit(rename = "price")]
    pub net_price: i64,
    #[audit(rename = "price")]
    pub gross_price: i64,
    #[audit(rename = "id")]
    pub legacy_id: i64,
    #[sea_orm(column_name = "qty")]
    pub quantity: i64,
    #[audit(rename = "qty")]
    pub ordered: i64,
    #[audit(exclude)]
    pub hidden: i64,
    #[audit(rename = "hidden")]
    pub shown: i64,
}

mod not_recorded {
    #[derive(super::Auditable)]
    pub struct Model {
        #[audit(include)]
        pub id: i64,
        #[audit(name)]
        pub title: String,
    }
}

fn main() {}
