//! Where a page ended, as an opaque text.

use audit_core::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first byte. Another layout gets another one.
const VERSION: u8 = 1;
const DIGEST: usize = 16;
const LENGTH: usize = 1 + 1 + 8 + DIGEST + 4;

/// A place between two rows, in the answer to one question.
///
/// It gives no access to anything: what may be read is decided by the question, not by where one is in its answer. The check
/// sum only tells broken texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The row that was last seen.
    pub(super) seq: i64,
    /// Whether it goes on to older rows, or back to newer ones.
    pub(super) older: bool,
}

impl Cursor {
    /// As a text, for this question.
    pub(super) fn encode(self, question: &[u8; 32]) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend([VERSION, u8::from(self.older)]);
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(&question[..DIGEST]);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`Error::Filter`] if it is broken, or belongs to another question.
    pub(super) fn decode(text: &str, question: &[u8; 32]) -> Result<Self, Error> {
        let broken = || Error::Filter("the cursor is broken; begin again without one".into());
        // Before it is decoded: who sends it may send anything.
        if text.len() != (LENGTH * 4).div_ceil(3) {
            return Err(broken());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| broken())?;
        let (rest, sum) = bytes.split_last_chunk::<4>().ok_or_else(broken)?;
        if crc32fast::hash(rest).to_be_bytes() != *sum {
            return Err(broken());
        }
        let ([version, older], rest) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
        let (seq, digest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        if *version != VERSION || *older > 1 {
            return Err(Error::Filter("the cursor is of another version; begin again without one".into()));
        }
        if digest != &question[..DIGEST] {
            return Err(Error::Filter(
                "the cursor belongs to another question; with other filters, begin again without one".into(),
            ));
        }
        Ok(Self { seq: i64::from_be_bytes(*seq), older: *older == 1 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn q1_a_cursor_comes_back_and_a_changed_one_does_not(seq: i64, older: bool, question: [u8; 32], at in 0..40_usize, other in "[A-Za-z0-9_-]") {
            let cursor = Cursor { seq, older };
            let text = cursor.encode(&question);
            prop_assert_eq!(Cursor::decode(&text, &question).unwrap(), cursor);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &other);
            if changed != text {
                prop_assert!(Cursor::decode(&changed, &question).is_err());
            }
            let mut another = question;
            another[at % DIGEST] ^= 1;
            prop_assert!(Cursor::decode(&text, &another).unwrap_err().to_string().contains("another question"));
        }

        #[test]
        fn q1_any_text_is_no_cursor(text in any::<String>()) {
            prop_assert!(Cursor::decode(&text, &[0; 32]).is_err());
        }
    }
}
