//! How one record lies in a file of the spool: length, checksum, contents.
//!
//! ```text
//! | length of the contents, u32 LE | CRC-32 of length and contents, u32 LE | contents |
//! ```
//!
//! Contents are a letter for what it is, and what belongs to it:
//!
//! | letter | followed by | means |
//! |---|---|---|
//! | `R` | a record as JSON | to be delivered |
//! | `P` | a ticket (16 bytes), records as a JSON list | to be delivered if the ticket is confirmed |
//! | `C` | a ticket | it is confirmed |
//! | `X` | a ticket | it is cancelled |

use audit_core::{Entry, Record};
use uuid::Uuid;

/// Length and checksum.
pub(super) const HEADER: usize = 8;

/// No record is longer; what claims to be is damage.
const LONGEST: u32 = 1 << 30;

/// What stands in a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    Record(Record),
    Prepared(Uuid, Vec<Entry>),
    Confirmed(Uuid),
    Cancelled(Uuid),
}

/// Why there is no frame at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The file ends before the frame does.
    Cut,
    /// The checksum isn't that of the contents, or the contents make no sense.
    Damaged,
}

impl Frame {
    /// Appends the frame to a buffer.
    ///
    /// # Errors
    /// If a record can't be written as JSON or is longer than a frame may be.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        match self {
            Self::Record(record) => {
                out.push(b'R');
                serde_json::to_writer(&mut *out, record)?;
            }
            Self::Prepared(ticket, entries) => {
                out.push(b'P');
                out.extend_from_slice(ticket.as_bytes());
                serde_json::to_writer(&mut *out, entries)?;
            }
            Self::Confirmed(ticket) => {
                out.push(b'C');
                out.extend_from_slice(ticket.as_bytes());
            }
            Self::Cancelled(ticket) => {
                out.push(b'X');
                out.extend_from_slice(ticket.as_bytes());
            }
        }
        let length = u32::try_from(out.len() - start - HEADER).ok().filter(|length| *length <= LONGEST);
        let Some(length) = length else {
            out.truncate(start);
            return Err(std::io::Error::other("a record is longer than the spool takes"));
        };
        let length = length.to_le_bytes();
        let contents = out.get(start + HEADER..).unwrap_or_default();
        let checksum = checksum(length, contents).to_le_bytes();
        for (at, byte) in length.into_iter().chain(checksum).enumerate() {
            if let Some(place) = out.get_mut(start + at) {
                *place = byte;
            }
        }
        Ok(())
    }

    /// Reads the frame at the beginning of `bytes`; with its length in bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), Unreadable> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Unreadable::Cut)?;
        let (expected, rest) = rest.split_first_chunk::<4>().ok_or(Unreadable::Cut)?;
        let size = u32::from_le_bytes(*length);
        if size == 0 || size > LONGEST {
            return Err(Unreadable::Damaged);
        }
        let contents = rest.get(..size as usize).ok_or(Unreadable::Cut)?;
        if checksum(*length, contents) != u32::from_le_bytes(*expected) {
            return Err(Unreadable::Damaged);
        }
        let frame = Self::parse(contents).ok_or(Unreadable::Damaged)?;
        Ok((frame, HEADER + contents.len()))
    }

    fn parse(contents: &[u8]) -> Option<Self> {
        let (kind, rest) = contents.split_first()?;
        if *kind == b'R' {
            return serde_json::from_slice(rest).ok().map(Self::Record);
        }
        let (ticket, rest) = rest.split_first_chunk::<16>()?;
        let ticket = Uuid::from_bytes(*ticket);
        match kind {
            b'P' => serde_json::from_slice(rest).ok().map(|entries| Self::Prepared(ticket, entries)),
            b'C' if rest.is_empty() => Some(Self::Confirmed(ticket)),
            b'X' if rest.is_empty() => Some(Self::Cancelled(ticket)),
            _ => None,
        }
    }
}

/// With the length, so that a file of zeros isn't a row of valid frames.
fn checksum(length: [u8; 4], contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(contents);
    hasher.finalize()
}
