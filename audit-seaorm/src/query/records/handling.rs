//! Where the handling of records stands.

use std::collections::HashMap;

use audit_core::{Error, SystemEvent, Violation, ViolationStatus};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::families::RecordFamily;
use super::filter::column;
use super::reader::RecordReader;
use crate::db_error::query_error;
use crate::entity::{audit_status, audit_transition as step};

/// A family whose records are handled: [`Violation`] and [`SystemEvent`].
pub trait Handled: RecordFamily {}

impl Handled for Violation {}
impl Handled for SystemEvent {}

/// Records whose handling stands at one of these now.
///
/// It is what the view `audit_status` says, said for one record: a database makes up the whole view, of all violations and all
/// events, before it finds the first, while the steps of one record have an index.
pub(super) fn stands_at<F: RecordFamily>(statuses: &[String]) -> Condition {
    let (open, later): (Vec<&str>, Vec<&str>) =
        statuses.iter().map(String::as_str).partition(|status| *status == ViolationStatus::Open.as_str());
    let steps = |alias: &'static str| -> SelectStatement {
        let of_record = Expr::col((alias, step::Column::RecordId)).eq(Expr::col((F::TABLE, "id")));
        Query::select().from_as(step::Entity, alias).and_where(of_record).take()
    };
    let mut any = Condition::any();
    if !open.is_empty() {
        any = any.add(Expr::exists(steps("audit_step").expr(Expr::val(1)).take()).not());
    }
    if !later.is_empty() {
        let last = steps("audit_last").expr(Expr::col(("audit_last", step::Column::Step)).max()).take();
        let at = steps("audit_step")
            .expr(Expr::val(1))
            .and_where(Expr::col(("audit_step", step::Column::Status)).is_in(later))
            .and_where(
                Expr::col(("audit_step", step::Column::Step)).eq(Expr::SubQuery(None, Box::new(last.into()))),
            )
            .take();
        any = any.add(Expr::exists(at));
    }
    // An empty "any" would restrict nothing.
    if any.is_empty() { any.add(Expr::val(1).eq(0)) } else { any }
}

impl<F: Handled> RecordReader<F> {
    /// Where the handling of these records stands, by their ids; of one that nobody has taken up, `open`. What the reader may not
    /// see isn't in it.
    ///
    /// ```
    /// # async fn ask(db: &sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
    /// use audit_seaorm::{PageRequest, RecordFilter, RecordReader, Violation};
    /// let reader = RecordReader::<Violation>::for_tenant("acme");
    /// let page = reader.page(db, &RecordFilter::new(), &PageRequest::new()).await?;
    /// let handling = reader.handling(db, page.rows.iter().map(|violation| violation.id)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Query`] if the database doesn't answer.
    pub async fn handling<C: ConnectionTrait>(
        &self,
        db: &C,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, audit_status::Model>, Error> {
        /// Ids in one question.
        const ASKED: usize = 500;
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let id = column::<F>("id")?;
        let mut all = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(ASKED) {
            let of_ids = |column: audit_status::Column| column.is_in(ids.iter().copied());
            let mut select = audit_status::Entity::find()
                .filter(of_ids(audit_status::Column::RecordId))
                .filter(audit_status::Column::RecordTable.eq(F::TABLE));
            if self.tenant().is_some() {
                let visible = F::Entity::find().select_only().column(id).filter(self.bounds()?);
                let visible = visible.filter(id.is_in(ids.iter().copied())).into_query();
                select = select.filter(audit_status::Column::RecordId.in_subquery(visible));
            }
            let rows = select.all(db).await.map_err(|error| query_error(&error))?;
            all.extend(rows.into_iter().map(|status| (status.record_id, status)));
        }
        Ok(all)
    }
}
