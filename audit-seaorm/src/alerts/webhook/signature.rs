//! What receivers of webhooks check.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::Mac;

use super::secret::code;

/// Most signatures of one request that are looked at.
const MOST: usize = 8;

/// Why a request isn't to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A header is missing something.
    #[error("timestamp or signature can't be understood")]
    Malformed,
    /// It was sent too long ago, or in the future: somebody may be repeating it, or a clock is wrong.
    #[error("the timestamp is too far from the current time")]
    Expired,
    /// Somebody else made it, or it was changed.
    #[error("the signature is not of this body, timestamp and secret")]
    Mismatch,
}

/// Whether a request comes from who knows the secret: for receivers of a [`Webhook`](super::Webhook).
///
/// `timestamp` and `signature` are the headers `audit-timestamp` and `audit-signature`, `body` is the body as it came,
/// before anything has parsed it. `max_age` says how far the timestamp may be from the current time, in either direction; 5
/// minutes are usual. Within that time a request may be repeated by somebody who has seen it, so keep the ids of deliveries
/// for as long. One of several signatures has to be right. The comparison takes the same time for all wrong ones.
///
/// ```
/// use audit_seaorm::alerts::{SignatureError, verify_signature};
/// use std::time::Duration;
/// # let (timestamp, body, signature) = ("1700000000", b"{}".as_slice(), "v1=00");
/// match verify_signature("the shared secret", timestamp, body, signature, Duration::from_secs(300)) {
///     Ok(()) => println!("it is genuine"),
///     Err(error) => println!("answer 401: {error}"),
/// }
/// ```
///
/// # Errors
/// What is wrong with it.
pub fn verify_signature(
    secret: impl AsRef<[u8]>,
    timestamp: &str,
    body: &[u8],
    signature: &str,
    max_age: Duration,
) -> Result<(), SignatureError> {
    verify_signature_at(Utc::now(), secret, timestamp, body, signature, max_age)
}

/// Like [`verify_signature`] at this moment, for tests and for clocks of your own.
///
/// # Errors
/// What is wrong with it.
pub fn verify_signature_at(
    now: DateTime<Utc>,
    secret: impl AsRef<[u8]>,
    timestamp: &str,
    body: &[u8],
    signature: &str,
    max_age: Duration,
) -> Result<(), SignatureError> {
    // Digits alone: what was signed is the text, and a number has many of them.
    let is_number = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = timestamp.parse::<i64>().ok().filter(|_| is_number).ok_or(SignatureError::Malformed)?;
    let sent = DateTime::from_timestamp(seconds, 0).ok_or(SignatureError::Malformed)?;
    let signatures: Vec<[u8; 32]> = signature.split(',').take(MOST).filter_map(of_version_1).collect();
    if signatures.is_empty() {
        return Err(SignatureError::Malformed);
    }
    // In whole seconds, as the timestamp is.
    let age = DateTime::from_timestamp(now.timestamp(), 0).map_or(TimeDelta::MAX, |now| (now - sent).abs());
    if age.to_std().map_or(true, |age| age > max_age) {
        return Err(SignatureError::Expired);
    }
    let code = code(secret.as_ref(), timestamp, body).ok_or(SignatureError::Mismatch)?;
    // `verify_slice` compares in constant time; all are compared, whichever is right.
    let right = signatures.iter().filter(|signature| code.clone().verify_slice(*signature).is_ok()).count();
    if right > 0 { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// The bytes of `v1=<64 hexadecimal digits>`; other versions are for other receivers.
fn of_version_1(signature: &str) -> Option<[u8; 32]> {
    let digits = signature.trim().strip_prefix("v1=")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::secret::Secret;
    use super::*;

    const SECRET: &str = "0123456789abcdef";
    const MINUTES: Duration = Duration::from_secs(300);

    fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
        Secret::new(secret.into()).sign(timestamp, body)
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 999_000_000).unwrap()
    }

    /// Made by `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef`.
    #[test]
    fn q7_the_signature_is_what_others_compute() {
        let expected = "v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
        assert_eq!(sign(SECRET, "1700000000", br#"{"a":1}"#), expected);
        let check = |signature: &str| {
            verify_signature_at(at(1_700_000_000), SECRET, "1700000000", br#"{"a":1}"#, signature, MINUTES)
        };
        assert_eq!(check(expected), Ok(()));
        assert_eq!(check(&expected.to_uppercase().replace("V1", "v1")), Ok(()));
        assert_eq!(check(&format!("v2=00, {}, {expected}", sign("another", "1700000000", b""))), Ok(()));
    }

    #[test]
    fn q7_what_was_changed_or_repeated_is_refused() {
        use SignatureError::{Expired, Malformed, Mismatch};
        let signature = sign(SECRET, "1700000000", b"body");
        let check = |now: i64, secret: &str, timestamp: &str, body: &[u8], signature: &str| {
            verify_signature_at(at(now), secret, timestamp, body, signature, MINUTES).err()
        };
        let now = 1_700_000_000;
        assert_eq!(check(now, SECRET, "1700000000", b"body", &signature), None);
        assert_eq!(check(now, "another secret..", "1700000000", b"body", &signature), Some(Mismatch));
        assert_eq!(check(now, SECRET, "1700000001", b"body", &signature), Some(Mismatch));
        assert_eq!(check(now, SECRET, "01700000000", b"body", &signature), Some(Mismatch));
        assert_eq!(check(now, SECRET, "1700000000", b"Body", &signature), Some(Mismatch));
        assert_eq!(check(now + 300, SECRET, "1700000000", b"body", &signature), None);
        assert_eq!(check(now + 301, SECRET, "1700000000", b"body", &signature), Some(Expired));
        assert_eq!(check(now - 301, SECRET, "1700000000", b"body", &signature), Some(Expired));
        let whole = "v1=".to_owned() + &"0".repeat(64);
        for (timestamp, signature) in [
            ("", whole.as_str()),
            ("+1700000000", &whole),
            ("-1", &whole),
            ("99999999999999999999", &whole),
            ("9223372036854775807", &whole),
            ("1700000000", ""),
            ("1700000000", "v1="),
            ("1700000000", "v1=0"),
            ("1700000000", "v1=zz"),
            ("1700000000", &whole[3..]),
            ("1700000000", &whole[..66]),
            ("1700000000", "v1=é"),
        ] {
            assert_eq!(
                check(now, SECRET, timestamp, b"body", signature),
                Some(Malformed),
                "{timestamp} {signature}"
            );
        }
    }

    proptest! {
        #[test]
        fn q7_no_input_breaks_the_check(timestamp: String, body: Vec<u8>, signature: String, max_age: Duration) {
            prop_assert!(verify_signature(SECRET, &timestamp, &body, &signature, max_age).is_err());
        }

        #[test]
        fn q7_what_is_signed_is_accepted(secret: String, seconds in 0_i64..1 << 34, body: Vec<u8>) {
            let timestamp = seconds.to_string();
            let signature = sign(&secret, &timestamp, &body);
            prop_assert_eq!(
                verify_signature_at(at(seconds), &secret, &timestamp, &body, &signature, Duration::ZERO),
                Ok(())
            );
        }
    }
}
