//! Asking for statistics.

use audit_core::Error;
use chrono::Utc;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryResult};

use super::period::Period;
use super::report::{Counts, Statistics, Tallies, Tally};
use super::statement::{ENTRIES, PLACE, Place, Question};
use super::tables::{Counted, Dimension, keyed, unkeyed};
use crate::db_error::query_error;
use crate::entity::audit_log::{Column, Entity};
use crate::query::{LogReader, without_nul};

/// How often the question is asked again because a worker was faster.
const ATTEMPTS: usize = 10;

/// Of what statistics are wanted.
///
/// ```
/// use audit_seaorm::stats::{Period, StatisticsRequest};
/// let request = StatisticsRequest::new(Period::last_days(7, &chrono::Utc)?).actor(42).top(5);
/// # Ok::<(), audit_seaorm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsRequest {
    period: Period,
    actor: Option<String>,
    top: usize,
}

impl StatisticsRequest {
    /// Of this period.
    pub fn new(period: Period) -> Self {
        Self { period, actor: None, top: 10 }
    }

    /// Only of what the actor with this id did. There are no roll-ups for it: the actor's entries are counted.
    #[must_use]
    pub fn actor(mut self, id: impl ToString) -> Self {
        self.actor = Some(without_nul(&id.to_string()));
        self
    }

    /// So many users and actions; 10 unless it is said.
    #[must_use]
    pub fn top(mut self, count: usize) -> Self {
        self.top = count;
        self
    }
}

impl LogReader {
    /// Statistics of a period, exact up to the last committed entry; of a bound reader, of its tenant alone.
    ///
    /// # Errors
    /// [`Error::Query`] if the database doesn't answer.
    pub async fn statistics<C: ConnectionTrait>(
        &self,
        db: &C,
        request: &StatisticsRequest,
    ) -> Result<Statistics, Error> {
        let actor = request.actor.as_deref();
        let question = Question {
            backend: db.get_database_backend(),
            period: &request.period,
            bounds: self.bounds().add_option(actor.map(|actor| Column::ActorId.eq(actor))),
            scope: actor.is_none().then(|| keyed(self.tenant())),
        };
        let tallies = read(db, &question).await.map_err(|error| query_error(&error))?;
        let mut statistics = tallies.into_statistics(&request.period, request.top);
        self.name_users(db, &mut statistics).await.map_err(|error| query_error(&error))?;
        Ok(statistics)
    }

    /// Adds the names that users have in their newest entries.
    async fn name_users<C: ConnectionTrait>(&self, db: &C, statistics: &mut Statistics) -> Result<(), DbErr> {
        let users = &mut statistics.analytics.user_stats;
        for users in users.chunks_mut(100) {
            let newest = |user: &str| {
                let newest = Query::select()
                    .expr(Column::Seq.max())
                    .from(Entity)
                    .and_where(Column::ActorId.eq(user))
                    .cond_where(self.bounds())
                    .take();
                Expr::SubQuery(None, Box::new(newest.into()))
            };
            let any = users.iter().fold(Condition::any(), |any, user| {
                any.add(Expr::col((Entity, Column::Seq)).eq(newest(&user.user)))
            });
            for row in Entity::find().filter(any).all(db).await? {
                if let Some(user) = users.iter_mut().find(|user| Some(&user.user) == row.actor_id.as_ref()) {
                    (user.name, user.email) = (row.actor_name, row.actor_email);
                }
            }
        }
        Ok(())
    }
}

/// Statistics of the last so many days, today included, in UTC: of everything, or of one user.
///
/// ```no_run
/// # async fn ask(db: &sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
/// let summary = audit_seaorm::get_audit_summary(db, None, 30).await?;
/// let anns = audit_seaorm::get_audit_summary(db, Some("ann"), 7).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Filter`] for 0 days and for more than 3,660; [`Error::Query`] if the database doesn't answer.
pub async fn get_audit_summary<C: ConnectionTrait>(
    db: &C,
    user: Option<&str>,
    days: u32,
) -> Result<Statistics, Error> {
    let request = StatisticsRequest::new(Period::last_days(days, &Utc)?);
    let request = match user {
        Some(user) => request.actor(user),
        None => request,
    };
    LogReader::new().statistics(db, &request).await
}

/// Counts what the question is about.
async fn read<C: ConnectionTrait>(db: &C, question: &Question<'_>) -> Result<Tallies, DbErr> {
    for _ in 0..ATTEMPTS {
        let missing =
            || DbErr::RecordNotFound("`audit_rollup_place` has no row; run the migrations again".into());
        let place = Place::read(db).await?.ok_or_else(missing)?;
        if let Some(tallies) = tally(&db.query_all(&question.statement(&place)).await?, question, &place)? {
            return Ok(tallies);
        }
    }
    // Workers that never rest: without the roll-ups it is slower, and as true.
    let alone = Question { scope: None, bounds: question.bounds.clone(), ..*question };
    let nothing = Place::default();
    let tallies = tally(&db.query_all(&alone.statement(&nothing)).await?, &alone, &nothing)?;
    Ok(tallies.unwrap_or_default())
}

/// Adds up; `None` if the roll-ups were moved in between.
fn tally(rows: &[QueryResult], question: &Question<'_>, place: &Place) -> Result<Option<Tallies>, DbErr> {
    let mut tallies = Tallies::default();
    for row in rows {
        let kind: i64 = row.try_get("", "kind")?;
        let quarter: i64 = row.try_get("", "quarter")?;
        if kind == PLACE {
            if quarter != place.runs {
                return Ok(None);
            }
            continue;
        }
        let number = |name| row.try_get::<i64>("", name).map(|count| u64::try_from(count).unwrap_or(0));
        let day = || question.period.day_of(quarter);
        if kind == ENTRIES {
            let counted = Counted {
                user: row.try_get("", "value")?,
                module: row.try_get("", "module")?,
                status: row.try_get("", "status")?,
                severity: row.try_get("", "severity")?,
                action: row.try_get("", "action")?,
            };
            let counts = counted.counts(number("total")?);
            tallies.days.entry(day()).or_default().add(counts);
            for (dimension, value) in counted.values() {
                add(tallies.of(dimension), value.map(ToOwned::to_owned), counts);
            }
            continue;
        }
        let counts =
            Counts { count: number("total")?, failed: number("failed")?, security: number("security")? };
        match Dimension::of_number(kind) {
            Some(Dimension::Whole) => tallies.days.entry(day()).or_default().add(counts),
            Some(dimension) => {
                let value: String = row.try_get("", "value")?;
                add(tallies.of(dimension), unkeyed(&value), counts);
            }
            None => return Err(DbErr::Type(format!("the roll-ups have no dimension {kind}"))),
        }
    }
    Ok(Some(tallies))
}

fn add(tally: Option<&mut Tally>, value: Option<String>, counts: Counts) {
    if let Some(tally) = tally {
        tally.entry(value).or_default().add(counts);
    }
}

impl Tallies {
    fn of(&mut self, dimension: Dimension) -> Option<&mut Tally> {
        match dimension {
            Dimension::Whole => None,
            Dimension::Module => Some(&mut self.modules),
            Dimension::Status => Some(&mut self.statuses),
            Dimension::Severity => Some(&mut self.severities),
            Dimension::User => Some(&mut self.users),
            Dimension::Action => Some(&mut self.actions),
        }
    }
}
