use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::{MASK, Sanitizer};

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_x";

fn clean(text: &str) -> String {
    let sanitizer = Sanitizer::default();
    let once = sanitizer.sanitize_text(text).into_owned();
    assert_eq!(sanitizer.sanitize_text(&once), once, "twice is once");
    once
}

/// Not only the same text: not even copied.
fn untouched(text: &str) {
    let out = Sanitizer::default().sanitize_text(text);
    assert!(matches!(out, std::borrow::Cow::Borrowed(_)), "{text} -> {out}");
}

#[test]
fn r9_cards_of_every_issuer() {
    for card in [
        "4111111111111111",
        "4012888888881881",
        "4222222222222",
        "4000000000000000006",
        "5555555555554444",
        "5105105105105100",
        "2223003122003222",
        "2720990000000007",
        "378282246310005",
        "371449635398431",
        "6011111111111117",
        "6445644564456445",
        "30569309025904",
        "38520000023237",
        "36227206271667",
        "3530111333300000",
        "6200000000000005",
        "6759649826438453",
        "6304000000000000",
        "5018000000000009",
    ] {
        assert_eq!(clean(card), MASK, "{card}");
        assert_eq!(clean(&format!("card:{card}, thanks")), "card:***, thanks");
        assert_eq!(clean(&format!("PAN{card}x")), "PAN***x");
        assert_eq!(clean(&format!("ü{card}ß")), "ü***ß");
    }
}

#[test]
fn r9_cards_in_groups() {
    for (text, expected) in [
        ("4111 1111 1111 1111", "***"),
        ("4111-1111-1111-1111", "***"),
        ("4111-1111 1111-1111", "***"),
        ("3782 822463 10005", "***"),
        ("3056-930902-5904", "***"),
        ("41 1111 1111 1111 11", "***"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "***"),
        ("4111 1111 1111 1111 12/26 123", "*** 12/26 123"),
        ("4111111111111111 5555555555554444", "*** ***"),
        ("no 7 4111-1111-1111-1111-9", "no 7 ***-9"),
        ("(4111 1111 1111 1111)", "(***)"),
    ] {
        assert_eq!(clean(text), expected, "{text}");
    }
}

#[test]
fn r9_numbers_that_are_no_cards() {
    for text in [
        "4111111111111112",
        "4111  1111  1111  1111",
        "41111111111111110000",
        "12345678901234567890",
        "order 2024000000012345",
        "1700000000000",
        "1700000000000000",
        "1700000000000000000",
        "2024-01-15T10:30:45.123456789Z",
        "2024-01-15 10:30:45 2024-01-16 10:30:45",
        "30-01-2024 30-05-2026",
        "+49 170 1234567",
        "+62 812 3456 7890",
        "+4111111111111111",
        "(415) 555-2671",
        "415-555-2671 650-555-1234",
        "0.4111111111111111",
        "550e8400-e29b-41d4-a716-446655440000",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "41111111-1111-1111-8234-123456789012",
        "d2c14111111111111111e5b6c7d8e9fa0bc1",
        "EAN 9780306406157",
        "192.168.100.200 10.0.0.1 255.255.255.0",
        "１２３４５６７８９０１２３４５６",
    ] {
        untouched(text);
    }
}

#[test]
fn r9_tokens() {
    assert_eq!(clean(JWT), MASK);
    assert_eq!(clean(&format!("got {JWT}, ok")), "got ***, ok");
    assert_eq!(clean(&format!("Authorization: Bearer {JWT}")), "Authorization: Bearer ***");
    assert_eq!(clean("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."), MASK);
    assert_eq!(clean("eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn"), MASK);
    for (text, expected) in [
        ("Bearer abc123", "Bearer ***"),
        ("bearer  1|aBcDeFgH", "bearer  ***"),
        ("BEARER\tx_y_z_w", "BEARER\t***"),
        ("{\"Authorization\":\"Bearer abc\"}", "{\"Authorization\":\"Bearer ***\"}"),
        ("authorization: basic abc", "authorization: basic ***"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic ***"),
        ("a (Basic dXNlcjpwYXNz).", "a (Basic ***"),
    ] {
        assert_eq!(clean(text), expected, "{text}");
    }
    for text in [
        "Basic training for beginners",
        "Level: Basic training",
        "Basic 101",
        "basic understanding",
        "the bearer of this",
        "Bearer bonds",
        "Bearer Token",
        "forbearer x1y2z3w4",
        "Bearer",
        "Bearer ",
        "eyJ is how it begins",
        "eyJ...",
        "eyJabc.def",
    ] {
        untouched(text);
    }
}

#[test]
fn r9_private_keys() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nowIB\n-----END RSA PRIVATE KEY-----";
    assert_eq!(clean(pem), MASK);
    assert_eq!(clean(&format!("a\n{pem}\nb {pem} c")), "a\n***\nb *** c");
    assert_eq!(clean(&format!("PRIVATE_KEY={pem}\nX=1")), "PRIVATE_KEY=***\nX=1");
    assert_eq!(clean("x -----BEGIN PRIVATE KEY-----\\nMIIE"), "x ***");
    assert_eq!(clean("x -----BEGIN OPENSSH PRIVATE KEY"), "x ***");
    assert_eq!(
        clean("-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----\ny"),
        "***\ny"
    );
    assert_eq!(clean("-----BEGIN PRIVATE KEY-----\n-----END CERTIFICATE-----\nMIIE"), MASK);
    untouched("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----");
    untouched("-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----");
}

#[test]
fn r9_passwords_in_urls() {
    for (text, expected) in [
        ("postgres://ann:hunter2@db:5432/app", "postgres://ann:***@db:5432/app"),
        ("redis://:hunter2@cache", "redis://:***@cache"),
        ("https://ann:p@ss@host/x", "https://ann:***@host/x"),
        ("https://ann:p/s?s#@host/x", "https://ann:***@host/x"),
        ("https://ann@corp.com:pass@host", "https://ann@corp.com:***@host"),
        ("mongodb://u:p@h1:27017,h2:27017/db", "mongodb://u:***@h1:27017,h2:27017/db"),
        ("two: a://b:c@d e://f:g@h", "two: a://b:***@d e://f:***@h"),
        ("amqp://u:4111 1111 1111 1111@h", "amqp://u:***@h"),
        ("amqp://u:x4111 1111 1111 1111@h", "amqp://u:***@h"),
        ("https://ü:ß@host", "https://ü:***@host"),
    ] {
        assert_eq!(clean(text), expected, "{text}");
    }
    for text in [
        "https://host:8080/path@2x.png",
        "https://host/path:a@b",
        "https://user@host",
        "https://[::1]:80/a@b",
        "http://host:/a@b",
        "https://user:@host",
        "a ratio of 1:2 @ home",
        "https://medium.com/@ann",
        "kafka://a:1,b:2/c",
    ] {
        untouched(text);
    }
}

#[test]
fn r9_values_of_sensitive_names() {
    for (text, expected) in [
        ("https://h/p?token=abc&x=1", "https://h/p?token=***&x=1"),
        ("?x=1&api_key=abc#top", "?x=1&api_key=***"),
        ("user=ann&password=hunter2", "user=ann&password=***"),
        ("Server=db;User=sa;Password=p;Port=1", "Server=db;User=sa;Password=***;Port=1"),
        ("host=db password='a b' user=x", "host=db password='***' user=x"),
        ("{\\\"url\\\": \\\"/?token=abc\\\"}", "{\\\"url\\\": \\\"/?token=***\\\"}"),
        ("password=\"open", "password=\"***"),
        ("user[password]=x&y=1", "user[password]=***&y=1"),
        ("card_number=4111 1111 1111 1111&x=1", "card_number=***&x=1"),
    ] {
        assert_eq!(clean(text), expected, "{text}");
    }
    for text in [
        "x=1",
        "a == b",
        "token==x",
        "token=>x",
        "token=",
        "password=***",
        "?author=ann&page=2",
        "pinned=yes",
        "YWJj==",
        "<input type=\"password\" name=\"token\">",
        "max_tokens=5",
    ] {
        untouched(text);
    }
}

#[test]
fn r9_without_value_patterns_nothing_is_touched() {
    let off = Sanitizer::default().value_patterns(false);
    assert!(matches!(off.sanitize_text(JWT), std::borrow::Cow::Borrowed(_)));
}

/// A quadratic finder would take minutes for these.
#[test]
fn r9_hostile_texts_take_linear_time() {
    for unit in [
        "4",
        "4 ",
        "4-",
        "41111111 ",
        "4111111111111111 ",
        "4111111111111111",
        "eyJ",
        "eyJ.",
        "eyJ.a ",
        "eyJa.b.c.",
        ".",
        "-",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "-----END ",
        "-----BEGIN PRIVATE KEY----- -----END ",
        "://",
        "://:",
        "://:x/",
        "://a:",
        "://a:b@",
        "a:b@",
        "://:@",
        "=",
        "token=",
        "token='",
        "a=",
        "token",
        "token=\"\\",
        "?token=a&",
        "Bearer ",
        "Bearer \t",
        "bearer",
        "Bearer a1b2c3 ",
        "Basic ",
        "Basic ab",
        "authorization:",
        "a",
        "ü",
        "d41111111111111111",
        "a_",
        "=token",
        "-----BEGIN PRIVATE KEY-----eyJ.a.b://a:4@token=",
    ] {
        // The card makes sure that every finder has a reason to start.
        let text = format!("4111111111111111 {}", unit.repeat(1_000_000 / unit.len()));
        let begin = Instant::now();
        let _ = Sanitizer::default().sanitize_text(&text);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(10), "{unit:?} took {took:?}");
    }
}

/// Text made of the pieces that the finders look for.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "4111111111111111",
        "4111 1111",
        " 1111 1111",
        "-",
        "--",
        "-----BEGIN ",
        "PRIVATE KEY",
        "-----",
        "-----END ",
        "eyJ",
        "eyJhbGci",
        ".",
        "abc",
        "Bearer ",
        "basic ",
        "dXNlcjpwYXNz",
        "Authorization: ",
        "://",
        "u:",
        ":",
        "@",
        "/",
        "?",
        "&",
        "token",
        "=",
        "password=",
        "'",
        "\"",
        "\\",
        "\n",
        " ",
        "***",
        "*",
        "ü",
        "5",
        "42",
        "378282246310005",
        "+",
        "e29b",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A number with a valid check digit, of a known issuer.
fn card() -> impl Strategy<Value = String> {
    let issuer = prop::sample::select(vec![
        ("4", 16),
        ("4", 13),
        ("51", 16),
        ("2221", 16),
        ("37", 15),
        ("6011", 16),
        ("36", 14),
        ("3530", 16),
        ("62", 19),
        ("6759", 18),
    ]);
    (issuer, prop::collection::vec(0..10_u32, 19)).prop_map(|((prefix, length), random)| {
        let mut digits: Vec<u32> =
            prefix.bytes().map(|b| u32::from(b - b'0')).chain(random).take(length - 1).collect();
        let double = |value: u32| if value > 4 { value * 2 - 9 } else { value * 2 };
        let sum: u32 =
            digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 0 { double(*d) } else { *d }).sum();
        digits.push((10 - sum % 10) % 10);
        digits.iter().map(u32::to_string).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn r9_any_text_is_answered_and_twice_is_once(text in any::<String>()) {
        clean(&text);
    }

    #[test]
    fn r9_pieces_of_secrets_are_answered_and_twice_is_once(text in pieces()) {
        clean(&text);
    }

    #[test]
    fn r9_a_card_is_never_in_the_result(
        card in card(), before in "([a-zA-Z ]{0,10}|\\PC{0,5}:)", after in "( [0-9]{2}/[0-9]{2}|[a-zA-Z, ]{0,10})", dashes in 0..3,
    ) {
        prop_assume!(!before.ends_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-'));
        let written = match dashes {
            0 => card.clone(),
            style => {
                let chunks: Vec<_> = card.as_bytes().chunks(4).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
                chunks.join(if style == 1 { " " } else { "-" })
            }
        };
        let out = clean(&format!("{before}{written}{after}"));
        let digits: String = out.chars().filter(char::is_ascii_digit).collect();
        prop_assert!(!digits.contains(&card) && !out.contains(&written), "{}", out);
    }

    #[test]
    fn r9_a_password_or_token_is_never_in_the_result(secret in "[A-Z][a-z0-9!$%.~]{8}[0-9]", before in "\\PC{0,10} ") {
        for text in [
            format!("{before}https://ann:{secret}@host/x"),
            format!("{before}https://host/?a=b&access_token={secret}&c=d"),
            format!("{before}Bearer {secret}"),
            format!("{before}Authorization: Basic {secret}"),
            format!("{before}-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"),
        ] {
            let out = clean(&text);
            prop_assert!(!out.contains(&secret), "{}", out);
        }
    }
}
