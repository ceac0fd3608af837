//! Which records of a family to find.

use std::marker::PhantomData;

use audit_core::Error;
use chrono::TimeZone;
use sea_orm::{ColumnTrait, Condition, EntityTrait, IdenStatic, Iterable};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::filter::MAX_VALUES;
use super::super::span::{NAMES, Span, period_methods, recorded_in};
use super::super::text::without_nul;
use super::families::RecordFamily;
use super::handling;
use super::names::{COMMON, Named, Sort};

/// Which records of a family to find. What isn't said doesn't restrict; everything said must hold, and where several values were
/// given, one of them.
///
/// ```
/// use audit_seaorm::{Export, LoginAttempt, LoginStatus, RecordFilter, Severity, Violation, ViolationStatus};
/// let open = RecordFilter::<Violation>::new().severity(Severity::High).status(ViolationStatus::Open);
/// let failed = RecordFilter::<LoginAttempt>::new().username("ann").status(LoginStatus::Failed).last_days(7);
/// let exports = RecordFilter::<Export>::new().format("csv").model("BankAccount").actor(42);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a filter finds nothing by itself; give it to a `RecordReader`"]
pub struct RecordFilter<F> {
    said: Vec<(&'static str, Vec<String>)>,
    user: Option<String>,
    pub(super) span: Span,
    family: PhantomData<fn() -> F>,
}

impl<F> Default for RecordFilter<F> {
    fn default() -> Self {
        Self { said: Vec::new(), user: None, span: Span::default(), family: PhantomData }
    }
}

/// Methods for filters that all families have, for one value and for several.
macro_rules! of_all {
    ($($(#[$doc:meta])* $one:ident, $several:ident;)+) => {$(
        $(#[$doc])*
        pub fn $one(self, value: impl ToString) -> Self {
            self.with(stringify!($one), [value.to_string()])
        }

        #[doc = concat!("One of several, each as [`", stringify!($one), "`](Self::", stringify!($one), ") takes it. Of none, nothing is found.")]
        pub fn $several<I>(self, values: I) -> Self
        where
            I: IntoIterator<Item: ToString>,
        {
            self.with(stringify!($one), values.into_iter().map(|value| value.to_string()))
        }
    )+};
}

impl<F: RecordFamily> RecordFilter<F> {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    of_all! {
        /// The actor with this id.
        actor, actors;
        /// The actor with this name.
        actor_name, actor_names;
        /// The actor with this e-mail address.
        actor_email, actor_emails;
        /// This address.
        ip, ips;
        /// This session.
        session_id, session_ids;
        /// This request.
        request_id, request_ids;
        /// This transaction.
        transaction_id, transaction_ids;
        /// This tenant. To keep a reader to its tenant whatever it asks, use [`RecordReader::for_tenant`](super::RecordReader::for_tenant).
        tenant, tenants;
    }

    /// The actor whose id, e-mail address or name this is.
    pub fn user(mut self, user: impl ToString) -> Self {
        self.user = Some(without_nul(&user.to_string()));
        self
    }

    period_methods!();

    /// Sets a filter by its name from a text, as it comes from a URL or a command line.
    ///
    /// All families have `days`, `start_date`, `end_date`, `user`, `actor`, `actor_name`, `actor_email`, `ip`, `session_id`,
    /// `request_id`, `transaction_id` and `tenant`. The others are those that a filter of the family has a method for
    /// (`violation_type`, `status`, ..); `model` is also called `entity`, `resource_id` also `entity_id`, and the `status` of a login
    /// also `result`. Several words or names of an open set are separated by commas.
    ///
    /// Dates are moments of RFC 3339 (`2026-01-31T10:00:00Z`) or whole days in this time zone (`2026-01-31`); the day of
    /// `end_date` belongs to the period.
    ///
    /// ```
    /// use audit_seaorm::{RecordFilter, Violation};
    /// let filter = RecordFilter::<Violation>::new().set("status", "open,investigating", &chrono::Utc)?;
    /// assert!(RecordFilter::<Violation>::new().set("query_type", "select", &chrono::Utc).is_err());
    /// # Ok::<(), audit_seaorm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Filter`] for a name that the family doesn't have, and for a text that can't be meant: a day that doesn't exist, an
    /// unknown word, a name that is longer than its column. It says what would do.
    pub fn set<Z: TimeZone>(mut self, name: &str, text: &str, zone: &Z) -> Result<Self, Error> {
        if self.span.set(name, text, zone)? {
            return Ok(self);
        }
        if name == "user" {
            return Ok(self.user(text));
        }
        let Some(named) = filter_of::<F>(name) else {
            let own = F::FILTERS.iter().chain(COMMON).map(|named| named.name);
            let all: Vec<_> = NAMES.into_iter().chain(["user"]).chain(own).collect();
            let all = all.join(", ");
            return Err(Error::Filter(format!("there is no filter of that name; there are {all}")));
        };
        let values = named.read(text)?;
        Ok(self.with(named.name, values))
    }

    /// Values that are as they are stored, or become so.
    pub(super) fn with(mut self, name: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        let Some(named) = filter_of::<F>(name) else { return self };
        let values: Vec<String> = values.into_iter().map(|value| named.stored(&value)).collect();
        // By the column, so that another name for the same replaces it.
        let same = |said: &&mut (&'static str, Vec<String>)| {
            filter_of::<F>(said.0).is_some_and(|said| said.column == named.column)
        };
        match self.said.iter_mut().find(same) {
            Some(said) => said.1 = values,
            None => self.said.push((named.name, values)),
        }
        self
    }

    /// What the records have to fulfil.
    ///
    /// # Errors
    /// [`Error::Filter`] if the question makes no sense.
    pub(super) fn condition(&self) -> Result<Condition, Error> {
        let (start, end) = self.span.moments()?;
        let (timestamp, id) = (column::<F>("timestamp")?, column::<F>("id")?);
        let mut condition = Condition::all().add(recorded_in(&timestamp, &id, start, end));
        for (name, values) in &self.said {
            if values.len() > MAX_VALUES {
                return Err(Error::Filter(format!("more than {MAX_VALUES} values for `{name}`")));
            }
            let Some(named) = filter_of::<F>(name) else { continue };
            let column = column::<F>(named.column)?;
            condition = condition.add(match named.sort {
                Sort::Handling(_) => handling::stands_at::<F>(values),
                Sort::Uuid => {
                    let ids = values.iter().filter_map(|text| text.parse::<Uuid>().ok());
                    Condition::all().add(column.is_in(ids))
                }
                _ => Condition::all().add(match values.as_slice() {
                    [one] => column.eq(one.as_str()),
                    several => column.is_in(several.iter().map(String::as_str)),
                }),
            });
        }
        if let Some(user) = &self.user {
            let mut any = Condition::any();
            for name in ["actor_id", "actor_email", "actor_name"] {
                any = any.add(column::<F>(name)?.eq(user.as_str()));
            }
            condition = condition.add(any);
        }
        Ok(condition)
    }

    /// What tells this question from others, the same at each call: not the moment at which "the last days" begin.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(format!("{} {:?} {:?} {:?}", F::TABLE, self.said, self.user, self.span)).into()
    }
}

fn filter_of<F: RecordFamily>(name: &str) -> Option<&'static Named> {
    F::FILTERS.iter().chain(COMMON).find(|named| named.name == name)
}

/// The column of this name.
///
/// # Errors
/// [`Error::Filter`] if the table has none, which no family of ours lets happen.
pub(super) fn column<F: RecordFamily>(name: &str) -> Result<<F::Entity as EntityTrait>::Column, Error> {
    <F::Entity as EntityTrait>::Column::iter()
        .find(|column| column.as_str() == name)
        .ok_or_else(|| Error::Filter(format!("`{}` has no column `{name}`", F::TABLE)))
}
