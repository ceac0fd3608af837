//! What the program prints, as the README shows it.

use std::collections::BTreeMap;
use std::process::Command;

/// The tables that were printed, by the line above each; of each row its cells, those that were wrapped put together.
fn tables(printed: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let (mut title, mut before) = (String::new(), "");
    for line in printed.lines() {
        if line.starts_with('┌') {
            title = before.to_owned();
            tables.entry(title.clone()).or_default();
        }
        before = line;
        let Some(inner) = line.strip_prefix('│').and_then(|line| line.strip_suffix('│')) else {
            continue;
        };
        let cells: Vec<String> = inner.split('┆').map(|cell| cell.trim().to_owned()).collect();
        let rows = tables.get_mut(&title).expect("a table");
        match rows.last_mut() {
            // A row begins with a time, and what is wrapped has nothing there.
            Some(row) if cells[0].is_empty() => {
                for (whole, part) in row.iter_mut().zip(cells) {
                    *whole = [whole.as_str(), &part].join(" ").trim().to_owned();
                }
            }
            _ => rows.push(cells),
        }
    }
    // Without the heads, and without the times.
    tables.values_mut().for_each(|rows| {
        rows.remove(0);
        rows.iter_mut().for_each(|row| {
            assert_eq!(row.remove(0).len(), "22:03:22.879".len());
        });
    });
    tables
}

#[test]
fn the_output_is_what_the_readme_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_bank")).output().expect("the program");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tables = tables(&printed);
    let titles: Vec<&str> = tables.keys().map(String::as_str).collect();
    assert_eq!(
        titles,
        [
            "Violation: transfer_failed, high, now resolved",
            "What left the bank",
            "What was done",
            "Who looked",
            "Who tried to log in",
        ],
        "{printed}"
    );

    let done = &tables["What was done"];
    let who: Vec<(&str, &str, &str)> =
        done.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect();
    assert_eq!(
        who,
        [
            ("Ann", "create", "BankAccount Savings"),
            ("Ann", "create", "BankAccount Giro"),
            ("Ann", "transfer", "BankTransfer Transfer from Savings to Giro"),
            ("Ann", "update", "BankAccount Savings"),
            ("Ann", "update", "BankAccount Giro"),
            ("Ann", "logout", "user Ann"),
            ("Chris", "download", "audit_export account list"),
        ],
        "{printed}"
    );
    let changed = |row: usize| done[row][3].as_str();
    assert_eq!(
        changed(2),
        r#"from_account_balance: "1000.00" -> "900.00" to_account_balance: "500.00" -> "600.00""#
    );
    assert_eq!(
        (changed(3), changed(4)),
        (r#"balance: "1000.00" -> "900.00""#, r#"balance: "500.00" -> "600.00""#)
    );
    assert_eq!(done[2][4], "confidential SOX");
    let transaction = done[2][5].as_str();
    assert!(transaction.len() == 4 && done[3][5] == transaction && done[4][5] == transaction, "{printed}");

    let handled = &tables["Violation: transfer_failed, high, now resolved"];
    assert_eq!(
        handled.as_slice(),
        [
            ["Ann", "open", "Money transfer failed: insufficient funds in account 2"],
            ["Chris", "investigating", "asked Ann what she was about to do"],
            ["Chris", "resolved", "one zero too many; nothing was moved"],
        ]
    );
    assert!(
        printed.ends_with("{\"amount\":\"9999.00\",\"from_account_id\":2,\"to_account_id\":1}\n"),
        "{printed}"
    );

    let logins: Vec<(&str, &str)> =
        tables["Who tried to log in"].iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(logins, [("ann", "failed"), ("ann", "failed"), ("ann", "blocked"), ("ann", "success")]);
    let export = &tables["What left the bank"];
    assert_eq!(export.len(), 1);
    assert_eq!(
        (export[0][0].as_str(), export[0][1].as_str(), export[0][2].as_str()),
        ("Chris", "BankAccount as csv", "2")
    );
    assert_eq!(export[0][5], "Chris");
    let lists = tables["Who looked"].iter().filter(|row| row[1] == "BankAccount" && row[3] == "2");
    assert_eq!(lists.count(), 2, "{printed}");
    // Account numbers are on no record, so they aren't printed either.
    assert!(!printed.contains("DE89370400440532013000") && !printed.contains("GB29NWBK60161331926819"));
}
