//! Tables of one shape, ten columns each: not audited, audited, and watched by a trigger.

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

            /// Does something `count` times, or to `count` rows at once; `ids` are the rows that there are.
            #[allow(dead_code, reason = "not every table is driven in this way")]
            pub(crate) async fn run<C: sea_orm::ConnectionTrait>(
                db: &C,
                work: $crate::connection::Work,
                count: i64,
                ids: &mut Vec<i64>,
            ) -> Result<(), sea_orm::DbErr> {
                use $crate::connection::Work;
                use sea_orm::{EntityTrait, QueryFilter, sea_query::{Expr, ExprTrait}};
                match work {
                    Work::Create => for n in 0..count {
                        ids.push(row(n).insert(db).await?.id);
                    },
                    Work::Update => for (n, id) in ids.iter().enumerate() {
                        change(*id, i64::try_from(n).unwrap_or(0)).update(db).await?;
                    },
                    Work::Delete => for id in ids.drain(..) {
                        key(id).delete(db).await?;
                    },
                    Work::InsertMany => {
                        Entity::insert_many((0..count).map(row)).exec_without_returning(db).await?;
                    }
                    Work::UpdateMany => {
                        let result = Entity::update_many()
                            .col_expr(Column::Balance, Expr::col(Column::Balance).add(1))
                            .col_expr(Column::Overdraft, Expr::col(Column::Overdraft).add(1))
                            .filter(Column::Id.gt(0))
                            .exec(db)
                            .await?;
                        assert_eq!(i64::try_from(result.rows_affected), Ok(count));
                    }
                    Work::DeleteMany => {
                        let result = Entity::delete_many().exec(db).await?;
                        assert_eq!(i64::try_from(result.rows_affected), Ok(count));
                    }
                }
                Ok(())
            }

            /// Writes one row after the other, each in a transaction of its own.
            #[allow(dead_code, reason = "not every table is driven in this way")]
            pub(crate) async fn run_apart<D: sea_orm::TransactionTrait>(
                db: &D,
                work: $crate::connection::Work,
                count: i64,
                ids: &mut Vec<i64>,
            ) -> Result<(), sea_orm::DbErr> {
                use $crate::connection::Work;
                use sea_orm::TransactionSession;
                let rows: Vec<(i64, i64)> = match work {
                    Work::Create => (0..count).map(|n| (n, 0)).collect(),
                    _ => (0..).zip(ids.iter().copied()).collect(),
                };
                for (n, id) in rows {
                    let transaction = db.begin().await?;
                    match work {
                        Work::Create => ids.push(row(n).insert(&transaction).await?.id),
                        Work::Update => _ = change(id, n).update(&transaction).await?,
                        Work::Delete => _ = key(id).delete(&transaction).await?,
                        Work::InsertMany | Work::UpdateMany | Work::DeleteMany => {}
                    }
                    transaction.commit().await?;
                }
                if matches!(work, Work::Delete) {
                    ids.clear();
                }
                Ok(())
            }
        }
    };
}

account!(plain, "plain_account", [],);
account!(hooked, "hooked_account", [Auditable], #[audited]);
account!(triggered, "triggered_account", [],);
