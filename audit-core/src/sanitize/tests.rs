use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn r9_sensitive_names() {
    let sanitizer = Sanitizer::default();
    for name in [
        "password",
        "Password",
        "PASSWORD",
        "user_password",
        "passwordHash",
        "password1",
        "oldPassword",
        "passwd",
        "db.pwd",
        "userAPIKey",
        "X-API-Key",
        "api_keys",
        "AWS_SECRET_ACCESS_KEY",
        "client-secret",
        "clientSecret",
        "accesstoken",
        "refreshTokens",
        "OAuthToken",
        "oauth2_token",
        "Authorization",
        "Proxy-Authorization",
        "Set-Cookie",
        "session cookie",
        "auth header",
        "ssn",
        "SSN",
        "socialSecurityNumber",
        "credit_card",
        "creditCardNumber",
        "card number",
        "cvv2",
        "cvc",
        "pin",
        "PIN",
        "PINs",
        "user_pin",
        "iban",
        "iBAN",
        "IBAN",
        "account_number",
        "bankAccount",
        "routingNumber",
        "otp",
        "mfa_secret",
        "totp",
        "2fa_code",
        "salt",
        "jwt",
        "bearer",
        "credentials",
        "passport number",
        "passportNo",
        "tax_id",
        "user[password]",
        "token_id",
        "PGPASSWORD",
        "private_key_pem",
        "password_hint",
        "session_token",
        "p_a_s_s_w_o_r_d",
    ] {
        assert!(sanitizer.is_sensitive_name(name), "{name}");
    }
    for name in [
        "",
        "_",
        "secretary",
        "author",
        "authored_by",
        "pinned",
        "is_pinned",
        "opinion",
        "passport_office_name",
        "passenger",
        "bypass",
        "tokenizer",
        "tokenized_text",
        "spin",
        "shipping",
        "assault_report",
        "salted",
        "account_name",
        "card_holder",
        "tax_rate",
        "compass",
        "session_id",
        "cookiecutter",
        "key",
        "primary_key",
        "keyboard",
        "pinterest_url",
        "bank_name",
        "cardinality",
        "passed",
        "password_changed_at",
        "has_password",
        "token_type",
        "mfa_enabled",
        "bank_account_id",
        "creditCardId",
        "max_tokens",
        "tokensUsed",
        "must_change_password",
        "api_key_name",
        "otp_attempts",
        "residence",
        "notes",
        "description",
        "id",
    ] {
        assert!(!sanitizer.is_sensitive_name(name), "{name}");
    }
}

#[test]
fn r9_names_can_be_added_and_removed() {
    let sanitizer = Sanitizer::default().with_names(["Employee-Badge", "--", ""]);
    assert!(sanitizer.is_sensitive_name("theEmployeeBadgeNo"));
    assert!(!sanitizer.is_sensitive_name("employee"));
    assert!(!sanitizer.is_sensitive_name("--"));
    let sanitizer = sanitizer.without_names(["EMPLOYEE_BADGE", "salt"]);
    assert!(!sanitizer.is_sensitive_name("employee_badge"));
    assert!(!sanitizer.is_sensitive_name("salt"));
    assert!(sanitizer.is_sensitive_name("password"));
    assert!(Sanitizer::default().is_sensitive_name("salt"));
    assert!(Sanitizer::default().with_names(["max_tokens"]).is_sensitive_name("maxTokens"));
    assert!(Sanitizer::default().with_names(["Größe"]).is_sensitive_name("die_GRÖßE"));
}

#[test]
fn r9_json_is_sanitised_at_every_level() {
    let data = json!({
        "a": [{"token": {"deep": [1]}}, {"token": null}, {"pin": 1234}, {"cvv": true}],
        "text": "Bearer abc123DEF",
        "n": 4_111_111_111_111_111_i64,
        "4111111111111111": 1,
        "4012888888881881": 2,
    });
    assert_eq!(
        sanitize_data(data, None),
        json!({
            "a": [{"token": "***"}, {"token": null}, {"pin": "***"}, {"cvv": "***"}],
            "text": "Bearer ***",
            "n": 4_111_111_111_111_111_i64,
            "***": 2,
            "****": 1,
        })
    );
    assert_eq!(sanitize_data(json!({"a": 1, "pin": 2}), Some(&["a"])), json!({"a": "***", "pin": "***"}));
    let off = Sanitizer::default().value_patterns(false);
    assert_eq!(
        off.sanitize_json(json!({"a": "Bearer abc123", "pin": 1})),
        json!({"a": "Bearer abc123", "pin": "***"})
    );
}

fn nested(depth: usize, sensitive: bool) -> Value {
    let mut value = json!("Bearer abc123");
    for level in 0..depth {
        value = match (level % 2, sensitive && level + 1 == depth) {
            (_, true) => Value::Object([("password".to_owned(), value)].into_iter().collect()),
            (0, _) => Value::Array(vec![value]),
            _ => Value::Object([("a".to_owned(), value)].into_iter().collect()),
        };
    }
    value
}

#[test]
fn r9_deep_json_does_not_overflow_the_stack() {
    let shallow = sanitize_data(nested(MAX_DEPTH, false), None).to_string();
    assert!(shallow.contains("Bearer ***"), "{shallow}");
    let deep = sanitize_data(nested(10_000, false), None).to_string();
    assert!(deep.contains(MASK) && !deep.contains("Bearer"), "{deep}");
    assert_eq!(sanitize_data(nested(10_000, true), None), json!({"password": "***"}));
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z:/@= ]{0,8}(4111111111111111|Bearer a1b2c3|://u:pw@h)[a-z:/@= ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof!["[a-zA-Z_]{0,6}", Just("password".to_owned()), any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn r9_twice_is_once(document in document()) {
        let once = sanitize_data(document, None);
        prop_assert_eq!(sanitize_data(once.clone(), None), once);
    }

    #[test]
    fn r9_a_sensitive_value_is_never_in_the_result(
        prefix in "([a-z]{1,8}_)?", suffix in "(_hash|_old|Value)?", secret in "[A-Z]{12}",
    ) {
        prop_assume!(!matches!(prefix.as_str(), "is_" | "has_" | "can_" | "had_"));
        let name = format!("{prefix}password{suffix}");
        let out = sanitize_data(json!({"x": [{name: {"y": [secret.clone()]}}]}), None).to_string();
        prop_assert!(!out.contains(&secret), "{}", out);
    }

    #[test]
    fn r9_any_name_is_answered(name in any::<String>()) {
        let _ = Sanitizer::default().with_names([&name]).is_sensitive_name(&name);
    }
}
