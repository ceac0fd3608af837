//! What stands in the body of a webhook's request.

use audit_core::{Actor, Recorded, Severity, Violation};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::alerts::Alert;

/// Longest text in a Slack message, after escaping: its limit is 3000 for a section, 2000 for a field.
const LONGEST_SECTION: usize = 2900;
const LONGEST_FIELD: usize = 1900;

/// The form of a webhook's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFormat {
    /// Everything that is recorded of the violation, except the session. The format is described in RECORD_FORMAT;
    /// members may be added to it, other changes raise its `version`.
    #[default]
    Json,
    /// A message for chats that understand Slack's `text` and `blocks`: what, how bad, who, what about, when.
    Slack,
}

impl BodyFormat {
    /// The same text for the same alert, whichever attempt it is.
    pub(super) fn body(self, alert: &Alert) -> String {
        match self {
            Self::Json => json(alert),
            Self::Slack => slack(&alert.violation),
        }
        .to_string()
    }
}

fn json(alert: &Alert) -> Value {
    let violation = &alert.violation;
    let what = &violation.what;
    json!({
        "version": 1,
        "event": "violation",
        "delivery": alert.delivery.hyphenated().to_string(),
        "violation": {
            "id": violation.id.hyphenated().to_string(),
            "timestamp": violation.timestamp.to_rfc3339_opts(SecondsFormat::Micros, true),
            "tenant": violation.tenant,
            "actor": {
                "type": violation.actor.kind,
                "id": violation.actor.id,
                "name": violation.actor.name,
                "email": violation.actor.email,
            },
            "violation_type": what.violation_type,
            "severity": what.severity.as_str(),
            "description": what.description,
            "details": parsed(what.details.as_deref()),
            "module": what.module,
            "resource": { "type": what.resource_type, "id": what.resource_id },
            "finding": what.finding,
            "ip_address": violation.ip_address,
            "user_agent": violation.user_agent,
            "request_id": violation.request_id,
            "reason": violation.reason,
            "metadata": parsed(violation.metadata.as_deref()),
            "transaction_id": violation.transaction_id,
        },
    })
}

/// JSON as JSON; what isn't, as a text.
fn parsed(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
}

fn slack(violation: &Recorded<Violation>) -> Value {
    let what = &violation.what;
    let sign = match what.severity {
        Severity::Critical => "\u{1f6a8}",
        Severity::High => "\u{1f534}",
        Severity::Medium => "\u{1f7e0}",
        Severity::Low => "\u{1f535}",
    };
    let time = violation.timestamp.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut fields = vec![("Severity", what.severity.as_str().to_owned()), ("When", time)];
    let mut add = |name, text: Option<String>| fields.extend(text.map(|text| (name, text)));
    add("Who", who(&violation.actor));
    add("From", violation.ip_address.clone());
    add("Tenant", violation.tenant.clone());
    add("Module", what.module.clone());
    let about = [what.resource_type.as_deref(), what.resource_id.as_deref()];
    let about: Vec<&str> = about.into_iter().flatten().collect();
    add("About", (!about.is_empty()).then(|| about.join(" ")));
    let fields: Vec<Value> = fields
        .iter()
        .map(|(name, text)| text_object(format!("*{name}*\n{}", escaped(text, LONGEST_FIELD))))
        .collect();
    let name = escaped(&what.violation_type, LONGEST_FIELD);
    let description = escaped(&what.description, LONGEST_SECTION - LONGEST_FIELD);
    json!({
        "text": format!("{sign} {name}: {description}"),
        "blocks": [
            { "type": "section", "text": text_object(format!("{sign} *{name}*\n{description}")) },
            { "type": "section", "fields": fields },
            { "type": "context", "elements": [text_object(format!("Violation {}", violation.id))] },
        ],
    })
}

/// `verbatim`: what looks like a link or a channel in a violation's text isn't made one.
fn text_object(text: String) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn who(actor: &Actor) -> Option<String> {
    match (&actor.name, &actor.id) {
        (Some(name), Some(id)) => Some(format!("{name} ({id})")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => Some(actor.kind.clone().into_owned()),
    }
}

/// Escapes Slack's control characters, so that a violation's text can neither call a channel (`<!channel>`) nor hide where a
/// link leads; cut to so many characters.
fn escaped(text: &str, longest: usize) -> String {
    const MORE: char = '…';
    let (mut all, mut length) = (String::new(), 0);
    for letter in text.chars() {
        let mut bytes = [0; 4];
        let escaped = match letter {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            other => other.encode_utf8(&mut bytes),
        };
        length += escaped.chars().count();
        if length >= longest {
            all.push(MORE);
            break;
        }
        all.push_str(escaped);
    }
    all
}

#[cfg(test)]
mod tests {
    use audit_core::{AuditContext, Resource, Sanitizer};
    use chrono::DateTime;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn alert(violation: Violation) -> Alert {
        let context = AuditContext::user(7)
            .named("Ann <b>")
            .email("ann@example.org")
            .tenant("acme")
            .ip("192.0.2.7")
            .user_agent("Firefox/128")
            .session_id("session-secret")
            .request_id("r-1")
            .reason("month end")
            .with("department", "treasury");
        let time = DateTime::from_timestamp(1_767_323_045, 123_456_000).unwrap();
        let mut violation = Recorded::new(time, violation).with_context(&context, &Sanitizer::default());
        violation.id = Uuid::from_u128(1);
        let mut alert = Alert::new(violation);
        alert.delivery = Uuid::from_u128(2);
        alert
    }

    fn example() -> Alert {
        let violation = Violation::new("unauthorized_access", "read of <account> & more")
            .severity(Severity::Critical)
            .details(json!({"account": 7}))
            .module("finance")
            .resource(Resource::new("Account").id(7));
        alert(violation)
    }

    /// The example of RECORD_FORMAT.
    #[test]
    fn q7_the_json_body_is_as_documented() {
        let body: Value = serde_json::from_str(&BodyFormat::Json.body(&example())).unwrap();
        let documented = include_str!("../../../../docs/RECORD_FORMAT.md");
        let (_, after) = documented.split_once("<!-- webhook -->").expect("the section");
        let (_, after) = after.split_once("```json\n").expect("the example");
        let (example, _) = after.split_once("```").expect("its end");
        assert_eq!(body, serde_json::from_str::<Value>(example).unwrap(), "{body:#}");
    }

    #[test]
    fn i5_the_session_is_not_sent() {
        for format in [BodyFormat::Json, BodyFormat::Slack] {
            assert!(!format.body(&example()).contains("session-secret"));
        }
    }

    #[test]
    fn q7_the_body_is_the_same_in_each_attempt() {
        let (first, mut second) = (example(), example());
        second.attempt = 2;
        second.sent_at += chrono::TimeDelta::hours(1);
        for format in [BodyFormat::Json, BodyFormat::Slack] {
            assert_eq!(format.body(&first), format.body(&second));
        }
    }

    #[test]
    fn q7_a_slack_message_tells_the_violation() {
        let body: Value = serde_json::from_str(&BodyFormat::Slack.body(&example())).unwrap();
        assert_eq!(body["text"], "\u{1f6a8} unauthorized_access: read of &lt;account&gt; &amp; more");
        let blocks = body["blocks"].as_array().unwrap();
        let types: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["section", "section", "context"]);
        assert_eq!(
            blocks[0]["text"],
            json!({
                "type": "mrkdwn", "verbatim": true,
                "text": "\u{1f6a8} *unauthorized_access*\nread of &lt;account&gt; &amp; more",
            })
        );
        let fields: Vec<_> = blocks[1]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["text"].as_str().unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "*Severity*\ncritical",
                "*When*\n2026-01-02 03:04:05 UTC",
                "*Who*\nAnn &lt;b&gt; (7)",
                "*From*\n192.0.2.7",
                "*Tenant*\nacme",
                "*Module*\nfinance",
                "*About*\nAccount 7",
            ]
        );
        assert_eq!(blocks[2]["elements"][0]["text"], format!("Violation {}", Uuid::from_u128(1)));
    }

    proptest! {
        /// Slack refuses a message with a text that is too long, and obeys what stands between `<` and `>`.
        #[test]
        fn q7_slack_takes_any_violation(letters in "[<>&a\u{1f600}!é\"\\\\\n]{0,9}", times in 0_usize..2000) {
            let text = letters.repeat(times);
            let mut violation = Violation::new(text.clone(), text.clone()).module(text.clone());
            violation.resource_id = Some(text);
            let body: Value = serde_json::from_str(&BodyFormat::Slack.body(&alert(violation))).unwrap();
            let blocks = body["blocks"].as_array().unwrap();
            let length = |text: &Value| text["text"].as_str().unwrap().chars().count();
            prop_assert!(length(&blocks[0]["text"]) <= 3000);
            let fields = blocks[1]["fields"].as_array().unwrap();
            prop_assert!(fields.len() <= 10);
            for text in fields.iter().chain([&blocks[0]["text"]]) {
                prop_assert!(length(text) <= 3000 && (text["text"] == blocks[0]["text"]["text"] || length(text) <= 2000));
                let bare = text["text"].as_str().unwrap();
                prop_assert!(!bare.contains(['<', '>']));
                let rest = bare.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                prop_assert!(!rest.contains('&'), "an entity was cut: {rest}");
            }
        }
    }
}
