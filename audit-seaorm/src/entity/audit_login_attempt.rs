//! The table `audit_login_attempt`: one row for each attempt to log in. Logouts are entries of the action `logout`.

super::recorded::record_entity! {
    /// An attempt to log in as it is stored.
    LoginAttempt in "audit_login_attempt", as_login {
        /// The name that was given.
        username: String,
        /// `success`, `failed`, `blocked`.
        status: String,
        /// Why it failed or was blocked.
        #[sea_orm(column_type = "Text", nullable)]
        failure_reason: Option<String>,
        /// Country that the address is in.
        country: Option<String>,
        /// Region that the address is in.
        region: Option<String>,
        /// City that the address is in.
        city: Option<String>,
        /// Degrees, north positive.
        latitude: Option<f64>,
        /// Degrees, east positive.
        longitude: Option<f64>,
    }
}
