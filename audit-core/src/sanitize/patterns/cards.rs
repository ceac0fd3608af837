//! Payment-card numbers.

use std::ops::Range;

/// The shortest card number.
pub(super) const MIN_DIGITS: usize = 13;
/// The longest card number.
const MAX_DIGITS: usize = 19;
/// Letters and digits in a row that are taken for a digest, of which a card number is no part.
const DIGEST: usize = 32;
const UUID: usize = 36;

/// Reports the card numbers of a text.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if is_digit(bytes, at) {
            let end = series_end(bytes, at);
            if end - at >= MIN_DIGITS {
                find_in_series(bytes, at..end, found);
            }
            at = end;
        } else {
            at += 1;
        }
    }
}

fn is_digit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

/// The end of the digits at `at`.
fn group_end(bytes: &[u8], at: usize) -> usize {
    super::run(bytes, at, |b| b.is_ascii_digit())
}

/// The end of the groups of digits, with a single space or dash between them, that begin at `at`.
fn series_end(bytes: &[u8], at: usize) -> usize {
    let mut end = group_end(bytes, at);
    while matches!(bytes.get(end), Some(b' ' | b'-')) && is_digit(bytes, end + 1) {
        end = group_end(bytes, end + 1);
    }
    end
}

/// A card number may have other numbers beside it (`4111 1111 1111 1111 12/26`). So every group is tried as the
/// first of one, in the groups in which cards are written; what remains may be a number in groups of any size.
fn find_in_series(bytes: &[u8], series: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut remains = series.start;
    let mut group = series.start;
    while group < series.end {
        if let Some(end) = usual_groups(bytes, group, series.end) {
            if group > remains {
                found.extend(any_groups(bytes, remains..group - 1));
            }
            found.push(group..end);
            group = end + 1;
            remains = group;
        } else {
            group = group_end(bytes, group) + 1;
        }
    }
    if series.end > remains {
        found.extend(any_groups(bytes, remains..series.end));
    }
}

/// The end of the longest card number that begins at `start` and is grouped as usual: not at all, by fours, or as
/// some issuers do.
fn usual_groups(bytes: &[u8], start: usize, limit: usize) -> Option<usize> {
    let mut digits = [0; MAX_DIGITS];
    let mut sizes = [0; 5];
    let (mut count, mut best, mut at) = (0, None, start);
    for groups in 1..=sizes.len() {
        let end = group_end(bytes, at).min(limit);
        let size = end - at;
        let Some(free) = digits.get_mut(count..count + size) else { break };
        free.copy_from_slice(bytes.get(at..end)?);
        count += size;
        *sizes.get_mut(groups - 1)? = size;
        let usual = match sizes.get(..groups)? {
            [_] | [4, 6, 4 | 5] | [8, 8] | [6, 7..=13] => true,
            [fours @ .., last] => fours.iter().all(|size| *size == 4) && *last <= 7,
            [] => false,
        };
        if usual && is_card(digits.get(..count)?) && !is_something_else(bytes, start..end) {
            best = Some(end);
        }
        if end >= limit {
            break;
        }
        at = end + 1;
    }
    best
}

/// The whole range, if it is one card number in groups of any size with the same separator everywhere.
fn any_groups(bytes: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let mut digits = [0; MAX_DIGITS];
    let (mut count, mut separator) = (0, None);
    for byte in bytes.get(range.clone())? {
        if byte.is_ascii_digit() {
            *digits.get_mut(count)? = *byte;
            count += 1;
        } else if *separator.get_or_insert(byte) != byte {
            return None;
        }
    }
    (is_card(digits.get(..count)?) && !is_something_else(bytes, range.clone())).then_some(range)
}

/// Whether the digits are of a known issuer and their check digit is right.
fn is_card(digits: &[u8]) -> bool {
    let Some(prefix) = digits.get(..6) else { return false };
    let six = prefix.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let (four, three, two) = (six / 100, six / 1000, six / 10_000);
    let issued = match digits.len() {
        13 => two / 10 == 4 || is_maestro(six),
        14 => is_diners(six) || is_maestro(six),
        15 => matches!(two, 34 | 37) || is_diners(six) || is_maestro(six),
        length @ 16..=19 => {
            (two / 10 == 4 && matches!(length, 16 | 19)) // Visa
                || (matches!(two, 51..=55) || matches!(four, 2221..=2720)) && length == 16 // Mastercard
                || matches!(four, 2200..=2204) // Mir
                || four == 6011 || matches!(three, 644..=649) || two == 65 // Discover
                || matches!(four, 3528..=3589) // JCB
                || two == 62 || matches!(four, 8100..=8171) // UnionPay
                || is_diners(six)
                || is_maestro(six)
        }
        _ => false,
    };
    issued && luhn(digits)
}

fn is_diners(six: u32) -> bool {
    matches!(six / 10_000, 36 | 38 | 39) || matches!(six / 1000, 300..=305) || six / 100 == 3095
}

fn is_maestro(six: u32) -> bool {
    matches!(six / 10_000, 50 | 56..=58 | 67) || six / 1000 == 639 || six / 100 == 6304
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(digit - b'0')) {
            (0, value) => value,
            (_, value @ 0..=4) => value * 2,
            (_, value) => value * 2 - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether what stands around makes the number part of something that is no card.
fn is_something_else(bytes: &[u8], range: Range<usize>) -> bool {
    let before = |distance: usize| range.start.checked_sub(distance).and_then(|at| bytes.get(at)).copied();
    let phone = before(1) == Some(b'+');
    let fraction = before(1) == Some(b'.') && before(2).is_some_and(|b| b.is_ascii_digit());
    phone || fraction || in_digest(bytes, &range) || in_uuid(bytes, &range)
}

fn in_digest(bytes: &[u8], range: &Range<usize>) -> bool {
    let before = bytes.get(range.start.saturating_sub(DIGEST)..range.start).unwrap_or_default();
    let after = bytes.get(range.end..).unwrap_or_default();
    let before = before.iter().rev().take_while(|b| b.is_ascii_hexdigit()).count();
    let after = after.iter().take(DIGEST).take_while(|b| b.is_ascii_hexdigit()).count();
    before + after > 0 && before + range.len() + after >= DIGEST
}

fn in_uuid(bytes: &[u8], range: &Range<usize>) -> bool {
    let is_uuid = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
    };
    (range.start.saturating_sub(UUID - 1)..=range.start)
        .any(|from| from + UUID >= range.end && bytes.get(from..from + UUID).is_some_and(is_uuid))
}
