//! Alerts by HTTP.

mod body;
mod secret;
mod signature;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use audit_core::Error;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

use super::{Alert, Notifier, NotifyError};
pub use body::BodyFormat;
use secret::Secret;
pub use signature::{SignatureError, verify_signature, verify_signature_at};

/// Sends alerts to an address by HTTP: one `POST` for each.
///
/// ```no_run
/// use audit_seaorm::alerts::{Route, Webhook};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let siem = Webhook::signed("https://siem.example.org/hooks/audit", std::env::var("SIEM_SECRET")?).build()?;
/// let chat = Webhook::slack("https://hooks.slack.com/services/T000/B000/XXXX").build()?;
/// let routes = [Route::new("siem", siem), Route::new("chat", chat)];
/// # Ok(()) }
/// ```
///
/// # What is sent
///
/// | header | content |
/// |---|---|
/// | `content-type` | `application/json` |
/// | `audit-delivery` | id of the delivery: the same each time that this alert is sent. Take what you know already for done |
/// | `audit-timestamp` | when it is sent, in seconds since 1970 |
/// | `audit-signature` | `v1=` and the hexadecimal HMAC-SHA-256 of `<timestamp>.<body>`; two of them with a comma between while the [secret changes](WebhookBuilder::previous_secret) |
///
/// The body is JSON, see [`BodyFormat`], and the same in each attempt. Receivers check it by [`verify_signature`].
///
/// # What counts as received
///
/// A status from 200 to 299, within the timeout. All others are tried again, after the time that `retry-after` (in seconds) asks
/// for, except 410, which means that nobody will ever take it. Redirects aren't followed: they would take the alert to somebody
/// else.
///
/// # What is trusted
///
/// The certificates that the system trusts. Addresses without TLS are refused, except those of this machine. Proxies
/// that the environment names (`HTTPS_PROXY`) are used, but not for this machine. Address and secret are in no error and
/// in no debug output: a chat's address is a secret itself.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    url: Url,
    format: BodyFormat,
    secrets: Arc<[Secret]>,
    timeout: Duration,
}

impl Webhook {
    /// Signs with this secret, which the receiver knows: at least 16 bytes, best 32 random ones.
    pub fn signed(url: impl Into<String>, secret: impl Into<Vec<u8>>) -> WebhookBuilder {
        WebhookBuilder::new(url.into(), vec![Secret::new(secret.into())], BodyFormat::Json)
    }

    /// Sends messages that Slack, Mattermost and others show. They can't check signatures: their addresses are the secret.
    pub fn slack(url: impl Into<String>) -> WebhookBuilder {
        WebhookBuilder::new(url.into(), Vec::new(), BodyFormat::Slack)
    }

    async fn post(&self, alert: &Alert) -> Result<(), NotifyError> {
        let body = self.format.body(alert);
        let timestamp = alert.sent_at.timestamp().to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("audit-delivery", alert.delivery.hyphenated().to_string())
            .header("audit-timestamp", &timestamp);
        let signatures: Vec<String> =
            self.secrets.iter().map(|secret| secret.sign(&timestamp, body.as_bytes())).collect();
        if !signatures.is_empty() {
            request = request.header("audit-signature", signatures.join(","));
        }
        // What the client says of an error names the address.
        let answer = request.body(body).send().await.map_err(|error| {
            NotifyError::new(if error.is_timeout() {
                format!("the receiver didn't answer within {:?}", self.timeout)
            } else if error.is_connect() {
                "the receiver can't be reached".to_owned()
            } else {
                "the request failed half-way".to_owned()
            })
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let error = NotifyError::new(format!("the receiver answered {}", status.as_u16()));
        let asked = answer.headers().get(RETRY_AFTER).and_then(seconds);
        Err(match asked {
            _ if status == StatusCode::GONE => error.permanent(),
            Some(wait) => error.after(wait),
            None => error,
        })
    }
}

/// `retry-after` may also be a date, which nobody sends to a webhook.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[async_trait::async_trait]
impl Notifier for Webhook {
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError> {
        self.post(alert).await
    }
}

/// Without path, user and secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.url.host_str())
            .field("format", &self.format)
            .field("signed", &!self.secrets.is_empty())
            .finish_non_exhaustive()
    }
}

/// The description of a [`Webhook`].
#[must_use = "a webhook is made by `build`"]
pub struct WebhookBuilder {
    url: String,
    secrets: Vec<Secret>,
    format: BodyFormat,
    timeout: Duration,
    allow_http: bool,
}

impl WebhookBuilder {
    fn new(url: String, secrets: Vec<Secret>, format: BodyFormat) -> Self {
        Self { url, secrets, format, timeout: Duration::from_secs(10), allow_http: false }
    }

    /// Sets the form of the body.
    pub fn format(mut self, format: BodyFormat) -> Self {
        self.format = format;
        self
    }

    /// Signs with this secret as well, for the time until all receivers know the new one.
    pub fn previous_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secrets.push(Secret::new(secret.into()));
        self
    }

    /// Says how long connecting, sending and the answer may take together; 10 seconds if nothing is said. The worker's own
    /// limit counts as well.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Allows an address without TLS that isn't this machine's. Whoever is on the way can read the alerts then.
    pub fn allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Checks the description and makes the webhook.
    ///
    /// # Errors
    /// [`Error::Registration`] for an address that can't be understood or isn't safe, a short secret, a timeout of 0, or if TLS
    /// can't be set up.
    pub fn build(self) -> Result<Webhook, Error> {
        let wrong = |text: &str| Error::Registration(text.to_owned());
        let url = Url::parse(&self.url).map_err(|_| wrong("the webhook's address isn't a URL"))?;
        let local = is_local(&url);
        match (url.scheme(), url.has_host()) {
            ("https", true) => {}
            ("http", true) if local || self.allow_http => {}
            ("http", true) => {
                return Err(wrong(
                    "the webhook's address has no TLS; use https, or `WebhookBuilder::allow_http` if nobody else is on the way",
                ));
            }
            _ => return Err(wrong("the webhook's address must begin with https://")),
        }
        if self.secrets.iter().any(Secret::is_short) {
            return Err(wrong("the webhook's secret must have at least 16 bytes"));
        }
        if self.timeout.is_zero() {
            return Err(wrong("the webhook's timeout must not be 0"));
        }
        let tls = || wrong("TLS can't be set up for the webhook");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|_| tls())?
            .with_no_client_auth();
        let mut client = Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(self.timeout)
            .user_agent(concat!("audit-seaorm/", env!("CARGO_PKG_VERSION")));
        if local {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|_| tls())?;
        let Self { secrets, format, timeout, .. } = self;
        Ok(Webhook { client, url, format, secrets: secrets.into(), timeout })
    }
}

impl fmt::Debug for WebhookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookBuilder").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Whether an address is this machine's, so that nobody is on the way.
fn is_local(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn q7_only_addresses_with_tls_or_on_this_machine_are_taken() {
        let good = [
            "https://example.org/x",
            "http://localhost:80",
            "http://127.0.0.1/x",
            "http://127.9.9.9/",
            "http://[::1]:1/",
            "https://user:password@example.org/",
        ];
        for url in good {
            assert!(Webhook::signed(url, SECRET).build().is_ok(), "{url}");
        }
        for (url, part) in [
            ("http://example.org/x", "has no TLS"),
            ("http://localhost.example.org/", "has no TLS"),
            ("http://127.0.0.1.example.org/", "has no TLS"),
            ("http://127.0.0.1@example.org/", "has no TLS"),
            ("http://192.168.0.1/", "has no TLS"),
            ("file:///etc/passwd", "must begin with https"),
            ("ftp://example.org", "must begin with https"),
            ("example.org/path", "isn't a URL"),
            ("https://", "isn't a URL"),
            ("", "isn't a URL"),
        ] {
            let error = Webhook::signed(url, SECRET).build().unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
        assert!(Webhook::signed("http://example.org/x", SECRET).allow_http().build().is_ok());
    }

    #[test]
    fn q7_what_can_not_work_is_refused() {
        let signed = |secret: &str| Webhook::signed("https://example.org", secret);
        for (builder, part) in [
            (signed(""), "at least 16 bytes"),
            (signed("too short"), "at least 16 bytes"),
            (signed(SECRET).previous_secret("short"), "at least 16 bytes"),
            (signed(SECRET).timeout(Duration::ZERO), "timeout"),
        ] {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn i5_address_and_secret_are_in_no_debug_output() {
        let builder = Webhook::signed("https://user:pa55@example.org/T0/private", SECRET);
        let before = format!("{builder:?}");
        let shown = format!("{before} {:#?}", builder.build().unwrap());
        for secret in [SECRET, "0123456789", "[48, 49", "pa55", "private", "user"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        let error = Webhook::signed("https://pa55 word@", SECRET).build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("pa55"), "{error:?}");
    }
}
