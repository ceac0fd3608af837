//! What is looked for.

use std::time::Duration;

use chrono::{NaiveTime, Weekday};
use serde::{Deserialize, Serialize};

use super::{Observation, Source};
use crate::{Error, Severity, action};

/// A rule: what is looked for, and how much it matters.
///
/// ```
/// use audit_core::detect::{Check, Kind, Rule, Subject};
/// use audit_core::Severity;
/// use std::time::Duration;
/// let minutes = |n: u64| Duration::from_secs(n * 60);
/// let rule = Rule::new("mass_deletion", Severity::High, Check::Burst {
///     of: Kind::Action("delete".into()), per: Subject::Actor, threshold: 10, window: minutes(60),
/// });
/// assert!(rule.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name, and type of its violations. Of two rules with one name the state would be mixed up.
    pub name: String,
    /// Severity of its violations.
    pub severity: Severity,
    /// What is looked for.
    pub check: Check,
}

/// What observations count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// All.
    Any,
    /// Entries of this action.
    Action(String),
    /// Logins that failed or were blocked.
    FailedLogin,
    /// Operations that failed.
    Failed,
    /// Exports.
    Export,
    /// Reads.
    Read,
}

/// Whose observations belong together. In each tenant they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The actor with this id; who has none isn't looked at.
    Actor,
    /// The name given at a login.
    Username,
    /// The address.
    Address,
    /// The type of the resource, or the path of a request.
    Resource,
}

/// What of an actor may be seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The user agent.
    UserAgent,
    /// The address.
    Address,
    /// The tenant in which they act. An actor is told from others by the id, and by the e-mail address, or else the name, where it is
    /// recorded: users may be numbered anew in each tenant. Where they are, and neither is recorded, leave such a rule out.
    Tenant,
}

/// A text of an observation, in which a pattern may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// The path of a request.
    #[default]
    Path,
    /// The user agent.
    UserAgent,
    /// What was done.
    Action,
    /// The type of the resource.
    Resource,
    /// The id of the resource.
    ResourceId,
    /// The name given at a login.
    Username,
}

/// What a rule looks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Check {
    /// At least so many within a time. One finding for an episode: it ends when there are fewer for as long as the window is.
    Burst {
        /// What counts.
        of: Kind,
        /// Whose belong together.
        per: Subject,
        /// From how many on; at most 10,000.
        threshold: u32,
        /// Within how long.
        #[serde(with = "super::time")]
        window: Duration,
    },
    /// Exports or reads of at least so many records within a time; one finding for an episode.
    Volume {
        /// What counts.
        of: Kind,
        /// Whose belong together.
        per: Subject,
        /// From how many records on.
        threshold: u64,
        /// Within how long, counted in sixtieths of it.
        #[serde(with = "super::time")]
        window: Duration,
    },
    /// Something of an actor that wasn't seen before, once enough of them is known.
    FirstSeen {
        /// What.
        what: Attribute,
        /// How many observations of an actor have to be there before anything is unusual.
        learn: u32,
    },
    /// Work outside of hours: one finding for an actor and day.
    OutsideHours {
        /// When work begins.
        from: NaiveTime,
        /// When it ends. Before the beginning: the next day.
        to: NaiveTime,
        /// Days of the week that are worked on.
        days: Vec<Weekday>,
        /// Minutes that the clock is ahead of UTC.
        offset_minutes: i32,
    },
    /// Changes of such resources or fields: each is a finding.
    Touches {
        /// Types of resources; none: all.
        resources: Vec<String>,
        /// Names of fields; none: all.
        fields: Vec<String>,
    },
    /// Requests or reads that take longer: one finding for a resource and time.
    Slow {
        /// From how long on.
        #[serde(with = "super::time")]
        limit: Duration,
        /// How long nothing more is said of the same resource.
        #[serde(with = "super::time")]
        pause: Duration,
    },
    /// Texts that contain one of these, whatever the case: one finding for an address and time.
    Pattern {
        /// What is searched; the path of a request, unless it is said.
        #[serde(default)]
        of: Text,
        /// Parts of such texts.
        patterns: Vec<String>,
        /// How long nothing more is said of the same address.
        #[serde(with = "super::time")]
        pause: Duration,
    },
    /// A day on which an actor does far more than on their own days before: more than the median and `factor` times the
    /// deviation that is usual for them (the median of the distances from the median, times 1.4826).
    Unusual {
        /// How many deviations.
        factor: f64,
        /// How many operations it takes at least.
        at_least: u32,
        /// How many of the actor's days have to be known before.
        learn: u32,
    },
}

/// Most observations that a burst may take: they are kept.
pub(super) const MOST: u32 = 10_000;

impl Rule {
    /// A rule.
    pub fn new(name: impl Into<String>, severity: Severity, check: Check) -> Self {
        Self { name: name.into(), severity, check }
    }

    /// The rules that most want, with values to begin with:
    ///
    /// | rule | severity | finds |
    /// |---|---|---|
    /// | `mass_deletion` | high | 50 deletes of one actor within an hour |
    /// | `failed_logins_of_user` | medium | 5 failed logins under one name within 15 minutes |
    /// | `failed_logins_from_address` | high | 20 failed logins from one address within 15 minutes |
    /// | `too_many_exports` | high | 10 exports of one actor within an hour |
    /// | `large_exports` | high | 100,000 exported records of one actor within a day |
    /// | `unusual_user_agent` | low | a program that an actor hasn't used before, after 20 records of that actor |
    /// | `new_address` | low | an address that an actor hasn't come from before, after 20 records of that actor |
    /// | `other_tenant` | high | an actor in another tenant than the first |
    /// | `privilege_change` | high | a change of a field such as `role`, `permissions` or `is_admin` |
    /// | `slow_request` | low | a request of more than 5 seconds; again after an hour |
    /// | `suspicious_request` | medium | a path with `../`, `<script`, `union select` and the like; again after an hour |
    /// | `unusual_activity` | medium | a day of 200 records or more that is far above the actor's own days, after 7 days |
    pub fn defaults() -> Vec<Self> {
        let (minutes, hours) = (|n: u64| Duration::from_secs(n * 60), |n: u64| Duration::from_secs(n * 3600));
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        let of_actor = |of, threshold, window| Check::Burst { of, per: Subject::Actor, threshold, window };
        vec![
            Self::new(
                "mass_deletion",
                Severity::High,
                of_actor(Kind::Action(action::DELETE.into()), 50, hours(1)),
            ),
            Self::new(
                "failed_logins_of_user",
                Severity::Medium,
                Check::Burst {
                    of: Kind::FailedLogin,
                    per: Subject::Username,
                    threshold: 5,
                    window: minutes(15),
                },
            ),
            Self::new(
                "failed_logins_from_address",
                Severity::High,
                Check::Burst {
                    of: Kind::FailedLogin,
                    per: Subject::Address,
                    threshold: 20,
                    window: minutes(15),
                },
            ),
            Self::new("too_many_exports", Severity::High, of_actor(Kind::Export, 10, hours(1))),
            Self::new(
                "large_exports",
                Severity::High,
                Check::Volume {
                    of: Kind::Export,
                    per: Subject::Actor,
                    threshold: 100_000,
                    window: hours(24),
                },
            ),
            Self::new(
                "unusual_user_agent",
                Severity::Low,
                Check::FirstSeen { what: Attribute::UserAgent, learn: 20 },
            ),
            Self::new("new_address", Severity::Low, Check::FirstSeen { what: Attribute::Address, learn: 20 }),
            Self::new("other_tenant", Severity::High, Check::FirstSeen { what: Attribute::Tenant, learn: 1 }),
            Self::new(
                "privilege_change",
                Severity::High,
                Check::Touches {
                    resources: Vec::new(),
                    fields: texts(&[
                        "role",
                        "roles",
                        "role_id",
                        "is_admin",
                        "is_superuser",
                        "is_staff",
                        "permission",
                        "permissions",
                        "privileges",
                        "scopes",
                    ]),
                },
            ),
            Self::new(
                "slow_request",
                Severity::Low,
                Check::Slow { limit: Duration::from_secs(5), pause: hours(1) },
            ),
            Self::new(
                "suspicious_request",
                Severity::Medium,
                Check::Pattern {
                    of: Text::Path,
                    patterns: texts(&[
                        "../",
                        "..%2f",
                        "<script",
                        "%3cscript",
                        "union select",
                        "union+select",
                        "union%20select",
                        "/etc/passwd",
                        "/.env",
                        "/.git/",
                        "/wp-admin",
                        "/phpmyadmin",
                    ]),
                    pause: hours(1),
                },
            ),
            Self::new(
                "unusual_activity",
                Severity::Medium,
                Check::Unusual { factor: 6.0, at_least: 200, learn: 7 },
            ),
        ]
    }

    /// Says whether the rule makes sense.
    ///
    /// # Errors
    /// [`Error::Registration`] with the rule's name and what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        match self.problem() {
            Some(problem) => Err(Error::Registration(format!("the rule `{}`: {problem}", self.name))),
            None => Ok(()),
        }
    }

    /// What makes no sense in it.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let problem = match &self.check {
            _ if self.name.is_empty() || self.name.len() > 100 => "its name has 1 to 100 bytes",
            Check::Burst { threshold, .. } if !(1..=MOST).contains(threshold) => {
                "its threshold is 1 to 10,000"
            }
            Check::Volume { threshold: 0, .. } => "its threshold is 1 at least",
            Check::Burst { window, .. } | Check::Volume { window, .. } if !sensible(*window) => {
                "its window is a second to a year"
            }
            Check::Slow { pause, .. } | Check::Pattern { pause, .. } if !sensible(*pause) => {
                "its pause is a second to a year"
            }
            Check::OutsideHours { from, to, .. } if from == to => {
                "the day's work begins and ends at the same time"
            }
            Check::OutsideHours { offset_minutes, .. } if offset_minutes.abs() > 14 * 60 => {
                "its offset is 14 hours at most"
            }
            Check::Touches { resources, fields } if resources.is_empty() && fields.is_empty() => {
                "it names neither resources nor fields"
            }
            Check::Pattern { patterns, .. }
                if patterns.is_empty() || patterns.iter().any(String::is_empty) =>
            {
                "it has no pattern, or an empty one"
            }
            Check::Unusual { factor, .. } if !(factor.is_finite() && *factor > 0.0) => {
                "its factor is above 0"
            }
            _ => return None,
        };
        Some(problem)
    }

    /// Whom or what of this observation the rule is about; `None` if it isn't about it at all.
    pub fn subject<'a>(&self, seen: &'a Observation) -> Option<&'a str> {
        let actor = || seen.actor.id.as_deref();
        let of = |subject: Subject| match subject {
            Subject::Actor => actor(),
            Subject::Username => seen.username.as_deref(),
            Subject::Address => seen.ip_address.as_deref(),
            Subject::Resource => seen.path.as_deref().or(seen.resource_type.as_deref()),
        };
        match &self.check {
            Check::Burst { of: kind, per, .. } | Check::Volume { of: kind, per, .. } => {
                kind.includes(seen).then(|| of(*per)).flatten()
            }
            Check::FirstSeen { what, .. } => what.of(seen).and_then(|_| actor()),
            Check::OutsideHours { .. } | Check::Unusual { .. } => actor(),
            Check::Touches { resources, fields } => {
                let resource = seen.resource_type.as_deref().unwrap_or_default();
                let named = resources.is_empty() || resources.iter().any(|name| name == resource);
                let touched =
                    fields.is_empty() || seen.changed_fields.iter().any(|field| fields.contains(field));
                let changes =
                    seen.source == Source::Entry && seen.action != action::API_ACCESS && !seen.failed;
                (changes && named && touched).then(|| actor().unwrap_or(&seen.actor.kind))
            }
            Check::Slow { limit, .. } => {
                let limit = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
                seen.duration_us.filter(|took| *took >= limit).and_then(|_| of(Subject::Resource))
            }
            Check::Pattern { of: searched, patterns, .. } => {
                let text = searched.of(seen)?.to_lowercase();
                let matches = patterns.iter().any(|pattern| text.contains(&pattern.to_lowercase()));
                matches.then(|| of(Subject::Address).or_else(actor).unwrap_or("unknown"))
            }
        }
    }

    /// Whether what an actor does in one tenant and in another belongs together.
    pub(super) fn spans_tenants(&self) -> bool {
        matches!(self.check, Check::FirstSeen { what: Attribute::Tenant, .. })
    }
}

fn sensible(time: Duration) -> bool {
    (Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600)).contains(&time)
}

impl Kind {
    fn includes(&self, seen: &Observation) -> bool {
        match self {
            Self::Any => true,
            Self::Action(action) => seen.source == Source::Entry && seen.action == *action && !seen.failed,
            Self::FailedLogin => seen.source == Source::Login && seen.failed,
            Self::Failed => seen.failed,
            Self::Export => seen.source == Source::Export && !seen.failed,
            Self::Read => seen.source == Source::Read,
        }
    }
}

impl Text {
    fn of(self, seen: &Observation) -> Option<&str> {
        match self {
            Self::Path => seen.path.as_deref(),
            Self::UserAgent => seen.user_agent.as_deref(),
            Self::Action => Some(&seen.action),
            Self::Resource => seen.resource_type.as_deref(),
            Self::ResourceId => seen.resource_id.as_deref(),
            Self::Username => seen.username.as_deref(),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Path => "a request",
            Self::UserAgent => "a program",
            Self::Action => "an action",
            Self::Resource => "a resource",
            Self::ResourceId => "the id of a resource",
            Self::Username => "the name at a login",
        }
    }
}

impl Attribute {
    pub(super) fn of(self, seen: &Observation) -> Option<&str> {
        match self {
            Self::UserAgent => seen.user_agent.as_deref(),
            Self::Address => seen.ip_address.as_deref(),
            Self::Tenant => seen.tenant.as_deref(),
        }
    }
}
