//! Which entries are about rows that refer to a resource.

use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, Condition, DbBackend};

use super::filter::fit_id;
use super::json::change_shows;
use super::text::without_nul;
use crate::entity::audit_log::{Column, Entity};
use crate::registry::Registry;

/// One condition for each reference to the resource: the entries of rows of whose changes some show its id. `bounds` is what
/// the reader may see; what it may not must not help to find something either.
pub(super) fn touches(
    registry: &Registry,
    backend: DbBackend,
    resource_type: &str,
    id: &str,
    bounds: &Condition,
) -> Vec<Condition> {
    let id = fit_id(id.to_owned());
    let references = registry.references_to(resource_type);
    references
        .into_iter()
        .map(|(referring, field)| {
            let of_type = || Column::ResourceType.eq(without_nul(referring));
            let rows = Query::select()
                .column(Column::ResourceId)
                .from(Entity)
                .cond_where(bounds.clone())
                .and_where(of_type())
                .cond_where(change_shows(backend, field, &id))
                .take();
            Condition::all().add(of_type()).add(Column::ResourceId.in_subquery(rows))
        })
        .collect()
}
