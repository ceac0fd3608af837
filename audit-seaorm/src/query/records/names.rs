//! What filters are called, and how the text of one is read.

use std::net::IpAddr;

use audit_core::{Error, stored_tenant};
use uuid::Uuid;

use super::super::filter::fit_id;
use super::super::parameters::unknown_word;
use super::super::text::without_nul;

/// A filter that is called by its name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name, as in a URL.
    pub(super) name: &'static str,
    /// The column that it is about.
    pub(super) column: &'static str,
    /// What its text is.
    pub(super) sort: Sort,
}

/// What the text of a filter is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sort {
    /// A text that has at most so many characters in its column.
    Text(usize),
    /// The same, or several with commas between.
    Names(usize),
    /// One of a set of words, or several with commas between: the word as it is stored.
    Words(fn(&str) -> Result<String, Error>),
    /// Where the handling of a violation or an event stands, or several with commas between. No column has it.
    Handling(fn(&str) -> Result<String, Error>),
    /// An address.
    Address,
    /// A tenant.
    Tenant,
    /// The id of a resource.
    ResourceId,
    /// The id of a record.
    Uuid,
}

/// Filters that all families have.
pub(super) const COMMON: &[Named] = &[
    Named { name: "actor", column: "actor_id", sort: Sort::Text(255) },
    Named { name: "actor_name", column: "actor_name", sort: Sort::Text(255) },
    Named { name: "actor_email", column: "actor_email", sort: Sort::Text(320) },
    Named { name: "ip", column: "ip_address", sort: Sort::Address },
    Named { name: "session_id", column: "session_id", sort: Sort::Text(255) },
    Named { name: "request_id", column: "request_id", sort: Sort::Text(255) },
    Named { name: "transaction_id", column: "transaction_id", sort: Sort::Text(64) },
    Named { name: "tenant", column: "tenant", sort: Sort::Tenant },
];

/// The word of a set, as it is stored.
pub(super) fn word<W: std::str::FromStr<Err = Error> + ToString>(text: &str) -> Result<String, Error> {
    text.parse::<W>().map(|word| word.to_string())
}

impl Named {
    /// A value that was given as one, as it is stored.
    pub(super) fn stored(&self, value: &str) -> String {
        match self.sort {
            Sort::Tenant => stored_tenant(value).into_owned(),
            Sort::ResourceId => fit_id(value.to_owned()),
            _ => without_nul(value),
        }
    }

    /// The values that this text says, as they are stored.
    ///
    /// # Errors
    /// [`Error::Filter`] for a text that can't be meant. It says what would do, and not what was given.
    pub(super) fn read(&self, text: &str) -> Result<Vec<String>, Error> {
        let wrong = |why: &str| Error::Filter(format!("`{}` {why}", self.name));
        let list = || text.split(',').map(str::trim);
        let fits = |text: &str, limit: usize| !text.is_empty() && text.chars().nth(limit).is_none();
        match self.sort {
            Sort::Text(limit) if fits(text, limit) => Ok(vec![self.stored(text)]),
            Sort::Text(limit) => Err(wrong(&format!("must be a text of 1 to {limit} characters"))),
            Sort::Names(limit) if list().all(|name| fits(name, limit)) => {
                Ok(list().map(|name| self.stored(name)).collect())
            }
            Sort::Names(limit) => Err(wrong(&format!(
                "must be one or several with commas between; each has 1 to {limit} characters"
            ))),
            Sort::Words(read) | Sort::Handling(read) => {
                list().map(read).collect::<Result<_, _>>().map_err(|error| unknown_word(self.name, error))
            }
            Sort::Address => {
                let address: IpAddr = text.parse().map_err(|_| wrong("must be an IP address"))?;
                Ok(vec![address.to_string()])
            }
            Sort::Uuid => {
                let id: Uuid = text.parse().map_err(|_| wrong("must be the id of a record, a UUID"))?;
                Ok(vec![id.to_string()])
            }
            Sort::Tenant | Sort::ResourceId => Ok(vec![self.stored(text)]),
        }
    }
}
