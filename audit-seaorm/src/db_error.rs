//! What databases say when they refuse, and what of it may be passed on.

use audit_core::Error;
use sea_orm::DbErr;

/// What a lost connection's error says: the driver's own word for it, PostgreSQL's, MySQL's and MariaDB's.
const LOST: &[&str] = &[
    "error communicating with database",
    "terminating connection",
    "onnection was killed",
    "Server shutdown in progress",
];

/// What a database said, without anything that may contain a value: databases quote values in the messages of
/// constraint and type errors. So the message is not passed on; its cause is, where it is a known one.
pub(crate) fn describe(error: &DbErr) -> &'static str {
    const CAUSES: &[(&[&str], &str)] = &[
        (
            &["no such table", "does not exist", "doesn't exist"],
            "the audit table or one of its columns doesn't exist; run the audit migrations",
        ),
        (&["append-only"], "the audit tables are append-only"),
        (&["current transaction is aborted"], "the transaction has failed before"),
        (
            &["database is locked", "database table is locked", "Lock wait timeout"],
            "a lock could not be had in time",
        ),
        (&["eadlock"], "it was the victim of a deadlock"),
        (&["could not serialize"], "a concurrent transaction got in between"),
        (&["read-only", "readonly", "read only"], "the database is read-only"),
        (&["disk is full", "No space left", "disk full", "is full"], "the database's disk is full"),
        (
            &["ermission denied", "denied to user", "command denied"],
            "the database user may not insert into the audit table",
        ),
        (
            &["packet bigger", "too big", "too large", "max_allowed_packet"],
            "it is larger than the database takes",
        ),
        (&["imed out", "imeout"], "it took too long"),
        (LOST, "the connection was lost"),
    ];
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return "no connection could be had from the pool";
    }
    let text = error.to_string();
    let known = CAUSES.iter().find(|(signs, _)| signs.iter().any(|sign| text.contains(sign)));
    match (known, error) {
        (Some((_, cause)), _) => cause,
        (None, DbErr::Conn(_)) => "the connection failed",
        (None, _) => REFUSED,
    }
}

const REFUSED: &str = "the database refused it";

/// A question that the database didn't answer.
pub(crate) fn query_error(error: &DbErr) -> Error {
    Error::Query { reason: describe(error).to_owned(), retryable: is_retryable(error) }
}

/// Whether the same operation may succeed when it is tried again.
pub(crate) fn is_retryable(error: &DbErr) -> bool {
    let text = error.to_string();
    matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_))
        || ["deadlock", "could not serialize", "database is locked", "Lock wait timeout"]
            .iter()
            .chain(LOST)
            .any(|sign| text.contains(sign))
}

/// Whether this is what the database answered to a commit, so that it is certain that nothing was committed: not that the
/// connection broke, nor that the server ended it while the commit may have been under way.
pub(crate) fn is_answer(error: &DbErr) -> bool {
    // The driver's type is known only where a feature of SeaORM is on that the program chooses.
    let answered = error.sql_err().is_some()
        || aborts_transaction(error)
        || error.to_string().contains("error returned from database");
    answered && !is_goodbye(error)
}

/// Whether the server's last word on a connection, in whatever language it speaks.
fn is_goodbye(error: &DbErr) -> bool {
    /// How the drivers' types show PostgreSQL's severities, its classes 57P0x and 08, and MySQL's numbers for a shutdown, a
    /// killed or aborted connection and an interrupted statement. A text within a text has its quotes escaped, and can't look so.
    const SHOWN: &[&str] = &[
        "severity: Fatal",
        "severity: Panic",
        "code: \"57P0",
        "code: \"08",
        "code: Some(\"08",
        "number: 1053,",
        "number: 1152,",
        "number: 1317,",
        "number: 1927,",
        "number: 3169,",
    ];
    /// How the messages of MySQL's driver begin.
    const NUMBERED: &[&str] =
        &["database: 1053 (", "database: 1152 (", "database: 1317 (", "database: 1927 (", "database: 3169 ("];
    let (text, shown) = (error.to_string(), format!("{error:?}"));
    LOST.iter().chain(NUMBERED).any(|sign| text.contains(sign))
        || SHOWN.iter().any(|sign| shown.contains(sign))
}

/// Whether a database refused a record for what it is, and not for the state that the database is in: then it will never
/// take it.
pub(crate) fn is_about_the_record(error: &DbErr) -> bool {
    matches!(error, DbErr::Exec(_) | DbErr::Query(_))
        && matches!(describe(error), REFUSED | "it is larger than the database takes")
}

/// Whether the whole transaction has failed with the statement.
pub(crate) fn aborts_transaction(error: &DbErr) -> bool {
    let text = error.to_string();
    text.contains("eadlock") || text.contains("could not serialize")
}

/// An error's text without the values that databases quote in it, such as `Duplicate entry 'x' for key ..`.
pub(crate) fn without_values(text: &str) -> String {
    /// What stands before a value, and what after it; nothing after it means up to the end of the line.
    const QUOTED: &[(&str, &str)] = &[
        ("Duplicate entry \'", "\' for key"),
        ("value: \'", "\' for column"),
        ("value: \'", "\'"),
        ("incorrect for column \'", "\'"),
        ("Data too long for column \'", "\'"),
        ("invalid input syntax for type ", ""),
        ("invalid input value for enum ", ""),
        ("value \"", "\" is out of range"),
        ("date/time field value out of range: ", ""),
        ("invalid byte sequence for encoding ", ""),
        ("Failing row contains (", ""),
        ("Key (", ""),
    ];
    let mut clean = text.to_owned();
    for (before, after) in QUOTED {
        let mut from = 0;
        while let Some(found) = clean[from..].find(before) {
            let start = from + found + before.len();
            let rest = &clean[start..];
            let end = match after {
                &"" => rest.find('\n').unwrap_or(rest.len()),
                after => match rest.find(after) {
                    Some(end) => end,
                    None => break,
                },
            };
            clean.replace_range(start..start + end, audit_core::MASK);
            from = start + audit_core::MASK.len();
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use sea_orm::{DbErr, RuntimeErr};

    use super::{is_answer, without_values};

    #[test]
    fn c19_a_goodbye_is_no_answer_to_a_commit() {
        let error = |text: &str| DbErr::Exec(RuntimeErr::Internal(text.to_owned()));
        for (message, expected) in [
            ("error returned from database: could not serialize access due to concurrent update", true),
            ("error returned from database: 1213 (40001): Deadlock found when trying to get lock", true),
            ("error returned from database: terminating connection due to administrator command", false),
            ("error returned from database: 1053 (08S01): Server shutdown in progress", false),
            ("error returned from database: 1053 (08S01): Der Server wird heruntergefahren", false),
            ("error returned from database: 1927 (70100): Connection was killed", false),
            ("error communicating with database: broken pipe", false),
        ] {
            assert_eq!(is_answer(&error(message)), expected, "{message}");
        }
    }

    #[test]
    fn i5_values_in_database_messages_are_left_out() {
        for (message, expected) in [
            (
                "1062 (23000): Duplicate entry 's3cr\'et' for key 'u'",
                "1062 (23000): Duplicate entry '***' for key 'u'",
            ),
            ("invalid input syntax for type uuid: \"s3cret\"", "invalid input syntax for type ***"),
            (
                "Incorrect integer value: 's3cret' for column `a`.`b` at row 1",
                "Incorrect integer value: '***' for column `a`.`b` at row 1",
            ),
            (
                "value \"99999999999\" is out of range for type integer",
                "value \"***\" is out of range for type integer",
            ),
            (
                "duplicate key value violates unique constraint \"u\"",
                "duplicate key value violates unique constraint \"u\"",
            ),
            ("refused: 22 is closed", "refused: 22 is closed"),
        ] {
            assert_eq!(without_values(message), expected);
        }
    }
}
