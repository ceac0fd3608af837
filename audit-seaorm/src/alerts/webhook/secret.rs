//! The key of signatures.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key that shows itself nowhere.
#[derive(Clone)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn is_short(&self) -> bool {
        self.0.len() < 16
    }

    /// `v1=` and the hexadecimal code of timestamp and body.
    pub(super) fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        let code = code(&self.0, timestamp, body).map(|code| code.finalize().into_bytes());
        code.map_or_else(String::new, |code| format!("v1={}", hex(&code)))
    }
}

/// The code of timestamp and body, to be finished. HMAC takes keys of any length, so there always is one.
pub(super) fn code(secret: &[u8], timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut code = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    code.update(timestamp.as_bytes());
    code.update(b".");
    code.update(body);
    Some(code)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
