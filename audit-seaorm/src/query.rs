//! Questions to the log.

use audit_core::{Error, Severity, Status};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, Select};
use uuid::Uuid;

use crate::entity::audit_log::{Column, Entity};

/// Longest text to search for, in characters: databases refuse patterns that are much longer.
const MAX_SEARCH: usize = 1_000;

/// Which entries to find. What isn't said doesn't restrict; everything said must hold.
///
/// ```
/// use audit_seaorm::{LogFilter, Status};
/// let filter = LogFilter::new().entity("BankAccount").entity_id(7).action("update").status(Status::Success).last_days(30);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a filter finds nothing by itself; give it to `get_audit_logs`"]
pub struct LogFilter {
    entity: Option<String>,
    entity_id: Option<String>,
    actor: Option<String>,
    action: Option<String>,
    tenant: Option<String>,
    module: Option<String>,
    status: Option<Status>,
    severity: Option<Severity>,
    ip: Option<String>,
    request_id: Option<String>,
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    search: Option<String>,
}

impl LogFilter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resources of this type.
    pub fn entity(mut self, resource_type: impl Into<String>) -> Self {
        self.entity = Some(resource_type.into());
        self
    }

    /// The resource with this id; composite ids as [`join_key`](audit_core::join_key) makes them.
    pub fn entity_id(mut self, id: impl ToString) -> Self {
        self.entity_id = audit_core::Resource::new("").id(id).id;
        self
    }

    /// The actor with this id.
    pub fn actor(mut self, id: impl ToString) -> Self {
        self.actor = Some(id.to_string());
        self
    }

    /// This action.
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// This tenant.
    pub fn tenant(mut self, tenant: impl ToString) -> Self {
        self.tenant = Some(tenant.to_string());
        self
    }

    /// This functional area.
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// This status.
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// This severity.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// This address.
    pub fn ip(mut self, address: impl ToString) -> Self {
        self.ip = Some(address.to_string());
        self
    }

    /// This request.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// From this moment on, inclusive.
    pub fn start_date(mut self, start: DateTime<Utc>) -> Self {
        self.start = Some(start);
        self
    }

    /// Up to this moment, exclusive: the end of one period is the start of the next.
    pub fn end_date(mut self, end: DateTime<Utc>) -> Self {
        self.end = Some(end);
        self
    }

    /// The last so many days up to now.
    pub fn last_days(self, days: u32) -> Self {
        match Utc::now().checked_sub_signed(TimeDelta::days(i64::from(days))) {
            Some(start) => self.start_date(start),
            // Longer ago than there are dates: everything.
            None => self,
        }
    }

    /// Entries whose action, actor, resource or details contain this text, whatever its case. `%` and `_` mean
    /// themselves. Databases differ in what they know of letter case beyond ASCII.
    pub fn search(mut self, text: impl Into<String>) -> Self {
        self.search = Some(text.into());
        self
    }

    fn condition(&self) -> Condition {
        let texts = [
            (Column::ResourceType, &self.entity),
            (Column::ResourceId, &self.entity_id),
            (Column::ActorId, &self.actor),
            (Column::Action, &self.action),
            (Column::Tenant, &self.tenant),
            (Column::Module, &self.module),
            (Column::IpAddress, &self.ip),
            (Column::RequestId, &self.request_id),
        ];
        let mut condition = Condition::all();
        for (column, wanted) in texts {
            condition = condition.add_option(wanted.as_ref().map(|wanted| column.eq(without_nul(wanted))));
        }
        condition
            .add_option(self.status.map(|status| Column::Status.eq(status.as_str())))
            .add_option(self.severity.map(|severity| Column::Severity.eq(severity.as_str())))
            .add_option(self.start.map(|start| Column::Timestamp.gte(start)))
            .add_option(self.end.map(|end| Column::Timestamp.lt(end)))
            // Ids begin with the milliseconds of the time: their index finds the period.
            .add_option(self.start.map(|start| Column::Id.gte(first_id_at(start.timestamp_millis()))))
            .add_option(self.end.map(|end| Column::Id.lt(first_id_at(end.timestamp_millis() + 1))))
            .add_option(self.search.as_deref().filter(|text| !text.is_empty()).map(search_condition))
    }
}

/// As texts are stored: PostgreSQL has none with NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The smallest id of this millisecond.
fn first_id_at(milliseconds: i64) -> Uuid {
    let milliseconds = u128::from(u64::try_from(milliseconds).unwrap_or(0)).min((1 << 48) - 1);
    Uuid::from_u128(milliseconds << 80)
}

fn search_condition(text: &str) -> Condition {
    const ESCAPE: char = '!';
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in without_nul(&text.to_lowercase()).chars() {
        if matches!(c, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(c);
    }
    pattern.push('%');
    let searched = [
        Column::Action,
        Column::ActorId,
        Column::ActorName,
        Column::ActorEmail,
        Column::ResourceType,
        Column::ResourceId,
        Column::ResourceName,
        Column::Details,
    ];
    searched.into_iter().fold(Condition::any(), |condition, column| {
        let lowered = Func::lower(Expr::col(column.as_column_ref()));
        condition.add(Expr::expr(lowered).like(LikeExpr::new(pattern.clone()).escape(ESCAPE)))
    })
}

/// The entries that the filter finds, newest first, as a SeaORM `Select` to go on with: `.limit(..)`, `.paginate(..)`,
/// `.filter(..)`, `.all(db)`.
///
/// # Errors
/// [`Error::Filter`] if the period ends before it starts, or if the text to search for has more than 1,000 characters.
pub fn get_audit_logs(filter: &LogFilter) -> Result<Select<Entity>, Error> {
    if let (Some(start), Some(end)) = (filter.start, filter.end)
        && end < start
    {
        return Err(Error::Filter(format!("the period ends ({end}) before it starts ({start})")));
    }
    if filter.search.as_ref().is_some_and(|text| text.chars().nth(MAX_SEARCH).is_some()) {
        return Err(Error::Filter(format!("the text to search for has more than {MAX_SEARCH} characters")));
    }
    Ok(Entity::find().filter(filter.condition()).order_by_desc(Column::Seq))
}
