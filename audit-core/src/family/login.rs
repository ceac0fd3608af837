//! The record of somebody who tried to log in.

use serde::{Deserialize, Serialize};

use super::family;
use crate::record::words;

words! {
    /// How an attempt to log in ended.
    LoginStatus, "login status" {
        /// Logged in.
        Success = "success",
        /// Name or secret were wrong.
        Failed = "failed",
        /// Refused without looking at the secret.
        Blocked = "blocked",
    }
}

family! {
    /// An attempt to log in. The context's actor is who is known so far, often nobody; `username` is what was typed.
    LoginAttempt in "audit_login_attempt" {
        /// The name that was given.
        username: String = name(320),
        /// How it ended.
        status: LoginStatus = word,
        /// Why it failed or was blocked.
        failure_reason: Option<String> = text,
        /// Country that the address is in.
        country: Option<String> = name(100),
        /// Region that the address is in.
        region: Option<String> = name(100),
        /// City that the address is in.
        city: Option<String> = name(100),
        /// Degrees, north positive.
        latitude: Option<f64> = word,
        /// Degrees, east positive.
        longitude: Option<f64> = word,
    }
}

/// Where an address is, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Country, by name or code.
    pub country: Option<String>,
    /// Region or state.
    pub region: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Degrees, north positive.
    pub latitude: Option<f64>,
    /// Degrees, east positive.
    pub longitude: Option<f64>,
}

impl LoginAttempt {
    fn new(username: impl Into<String>, status: LoginStatus, failure_reason: Option<String>) -> Self {
        Self {
            username: username.into(),
            status,
            failure_reason,
            country: None,
            region: None,
            city: None,
            latitude: None,
            longitude: None,
        }
    }

    /// Somebody logged in.
    pub fn success(username: impl Into<String>) -> Self {
        Self::new(username, LoginStatus::Success, None)
    }

    /// Somebody gave a wrong name or secret. Never give the secret as the reason.
    pub fn failed(username: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(username, LoginStatus::Failed, Some(reason.into()))
    }

    /// Somebody was refused beforehand.
    pub fn blocked(username: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(username, LoginStatus::Blocked, Some(reason.into()))
    }

    /// Says where it came from. Otherwise the audit's geography is asked, if it has one.
    #[must_use]
    pub fn place(mut self, place: Place) -> Self {
        Place {
            country: self.country,
            region: self.region,
            city: self.city,
            latitude: self.latitude,
            longitude: self.longitude,
        } = place;
        self
    }

    /// Whether it is known where it came from.
    pub fn has_place(&self) -> bool {
        self.country.is_some()
            || self.region.is_some()
            || self.city.is_some()
            || self.latitude.is_some()
            || self.longitude.is_some()
    }
}
