//! Two tables of one shape, ten columns each: one audited, one not.

macro_rules! account {
    ($module:ident, $table:literal, [$($derive:ident)?], $(#[$hook:meta])?) => {
        pub(crate) mod $module {
            #![allow(unreachable_pub, missing_docs, reason = "entities are public in the format that SeaORM generates")]
            #[allow(unused_imports)]
            use audit_seaorm::{Auditable, audited};
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel, serde::Serialize, $($derive)?)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                #[sea_orm(primary_key)]
                pub id: i64,
                pub owner: String,
                pub email: String,
                pub city: Option<String>,
                #[sea_orm(column_type = "Decimal(Some((16, 2)))")]
                pub balance: Decimal,
                pub overdraft: i32,
                pub active: bool,
                pub rating: f64,
                pub opened: DateTimeUtc,
                pub reference: Uuid,
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            $(#[$hook])?
            impl ActiveModelBehavior for ActiveModel {}

            /// A row, not yet inserted.
            pub(crate) fn row(n: i64) -> ActiveModel {
                use sea_orm::ActiveValue::{NotSet, Set};
                ActiveModel {
                    id: NotSet,
                    owner: Set(format!("Owner {n}")),
                    email: Set(format!("owner{n}@example.org")),
                    city: Set((n % 3 != 0).then(|| format!("City {n}"))),
                    balance: Set(Decimal::new(n * 100, 2)),
                    overdraft: Set(100),
                    active: Set(true),
                    rating: Set(0.5),
                    opened: Set(DateTimeUtc::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)),
                    reference: Set(Uuid::from_u128(n.unsigned_abs().into())),
                }
            }

            /// Changes three fields of a row.
            pub(crate) fn change(id: i64, n: i64) -> ActiveModel {
                use sea_orm::ActiveValue::Set;
                ActiveModel {
                    id: Set(id),
                    owner: Set(format!("Changed {n}")),
                    balance: Set(Decimal::new(n * 100 + 1, 2)),
                    rating: Set(n as f64 + 0.25),
                    ..Default::default()
                }
            }

            /// Names a row.
            pub(crate) fn key(id: i64) -> ActiveModel {
                ActiveModel { id: sea_orm::ActiveValue::Set(id), ..Default::default() }
            }
        }
    };
}

account!(plain, "plain_account", [],);
account!(hooked, "hooked_account", [Auditable], #[audited]);
