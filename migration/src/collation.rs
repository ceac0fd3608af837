//! How the tables compare texts on MySQL and MariaDB.
//!
//! **Invariant:** nothing here changes what a released migration does.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

/// MariaDB's and MySQL's collation in which texts are equal only if they are the same: "Ann" and "ann" are two actors, and
/// "acme" and "acme " two tenants. `utf8mb4_bin` would take the latter for one, since it pads with spaces.
///
/// The first that the server has counts; newer versions of MariaDB know the second name too.
const EXACT: [&str; 2] = ["utf8mb4_nopad_bin", "utf8mb4_0900_bin"];

/// Creates a table whose texts are compared exactly, as PostgreSQL and SQLite do by themselves.
pub(crate) async fn create_table(
    manager: &SchemaManager<'_>,
    mut table: TableCreateStatement,
) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::MySql {
        table.engine("InnoDB").character_set("utf8mb4").collate(exact(manager).await?);
    }
    manager.create_table(table).await
}

async fn exact(manager: &SchemaManager<'_>) -> Result<&'static str, DbErr> {
    let [mariadb, mysql] = EXACT;
    let sql = format!(
        "SELECT collation_name AS name FROM information_schema.collations WHERE collation_name IN ('{mariadb}', '{mysql}')"
    );
    let rows = manager.get_connection().query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    let names: Vec<String> = rows.iter().map(|row| row.try_get("", "name")).collect::<Result<_, _>>()?;
    EXACT.into_iter().find(|name| names.iter().any(|known| known == name)).ok_or_else(|| {
        DbErr::Migration(format!(
            "this server has neither the collation `{mariadb}` (MariaDB from 10.2 on) nor `{mysql}` (MySQL from 8.0.17 on), \
             and with others tenants whose names differ in spaces at the end would be one"
        ))
    })
}
