//! Filters from texts by name, as they come from a URL or a command line.

use std::net::IpAddr;

use audit_core::{Error, Severity, Status};
use chrono::TimeZone;

use super::filter::{Field, LogFilter};

/// The names that [`LogFilter::set`] knows.
const NAMES: &[&str] = &[
    "search",
    "days",
    "start_date",
    "end_date",
    "action",
    "model",
    "entity",
    "resource_id",
    "entity_id",
    "module",
    "status",
    "severity",
    "user",
    "actor",
    "actor_name",
    "actor_email",
    "ip",
    "session_id",
    "request_id",
    "transaction_id",
    "tenant",
    "security",
];

/// Longest action that there is, in characters.
const MAX_ACTION: usize = 64;

impl LogFilter {
    /// Sets a filter by its name from a text: `search`, `days`, `start_date`, `end_date`, `action`, `model` (or `entity`),
    /// `resource_id` (or `entity_id`), `module`, `status`, `severity`, `user`, `actor`, `actor_name`, `actor_email`, `ip`,
    /// `session_id`, `request_id`, `transaction_id`, `tenant`, `security` (`true` or `false`). Several actions, modules, statuses or
    /// severities are separated by commas. Statuses and severities are sets of words, and another word is an error; actions and modules
    /// are open sets, so of one that isn't known nothing is found.
    ///
    /// Dates are moments of RFC 3339 (`2026-01-31T10:00:00Z`) or whole days in this time zone (`2026-01-31`); the day of
    /// `end_date` belongs to the period.
    ///
    /// ```
    /// use audit_seaorm::LogFilter;
    /// let filter = LogFilter::new().set("start_date", "2026-01-01", &chrono::Utc)?.set("status", "failed,warning", &chrono::Utc)?;
    /// assert!(LogFilter::new().set("start_date", "2026-02-30", &chrono::Utc).is_err());
    /// # Ok::<(), audit_seaorm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Filter`] for a name that isn't known, and for a text that can't be meant: a day that doesn't exist, no number of
    /// days, an unknown status. It says what would do.
    pub fn set<Z: TimeZone>(mut self, name: &str, text: &str, zone: &Z) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Filter(format!("`{name}` {why}"));
        let list = || text.split(',').map(str::trim).map(str::to_owned).collect::<Vec<String>>();
        if self.span.set(name, text, zone)? {
            return Ok(self);
        }
        let field = match name {
            "search" => return Ok(self.search(text)),
            "user" => return Ok(self.user(text)),
            "security" => match text {
                "true" => return Ok(self.security_events()),
                "false" => return Ok(self),
                _ => return Err(wrong("must be `true` or `false`")),
            },
            "status" => {
                let words = words::<Status>(name, &list())?;
                return Ok(self.with(Field::Status, words));
            }
            "severity" => {
                let words = words::<Severity>(name, &list())?;
                return Ok(self.with(Field::Severity, words));
            }
            "action" => {
                let actions = list();
                if actions.iter().any(|action| action.is_empty() || action.chars().nth(MAX_ACTION).is_some())
                {
                    return Err(wrong(
                        "must be one action or several with commas between; none has more than 64 characters",
                    ));
                }
                self = self.with(Field::Action, actions);
                return Ok(self);
            }
            "ip" => {
                let address: IpAddr = text.parse().map_err(|_| wrong("must be an IP address"))?;
                return Ok(self.ip(address));
            }
            "module" => return Ok(self.with(Field::Module, list())),
            "model" | "entity" => Field::Entity,
            "resource_id" | "entity_id" => Field::EntityId,
            "actor" => Field::Actor,
            "actor_name" => Field::ActorName,
            "actor_email" => Field::ActorEmail,
            "session_id" => Field::Session,
            "request_id" => Field::Request,
            "transaction_id" => Field::Transaction,
            "tenant" => Field::Tenant,
            _ => {
                return Err(Error::Filter(format!(
                    "there is no filter of that name; there are {}",
                    NAMES.join(", ")
                )));
            }
        };
        Ok(self.with(field, vec![text.to_owned()]))
    }
}

/// The words as they are stored.
fn words<W: std::str::FromStr<Err = Error> + ToString>(
    name: &str,
    texts: &[String],
) -> Result<Vec<String>, Error> {
    let word = |text: &String| text.parse::<W>().map(|word| word.to_string());
    texts.iter().map(word).collect::<Result<_, _>>().map_err(|error| unknown_word(name, error))
}

/// The error of a filter for a word that its set doesn't have.
pub(super) fn unknown_word(name: &str, error: Error) -> Error {
    // Nothing is said of the record format: the text is the caller's, not a record's.
    let why = match error {
        Error::Format(why) => why,
        other => other.to_string(),
    };
    Error::Filter(format!("`{name}`: {why}"))
}
