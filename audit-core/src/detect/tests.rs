use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::action;

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 9, 0, 0).unwrap()
}

fn after(seconds: i64) -> DateTime<Utc> {
    start() + TimeDelta::seconds(seconds)
}

fn entry(user: &str, action: &str, seconds: i64) -> Observation {
    let id = Uuid::from_u128(seconds as u128);
    let mut seen = Observation::new(Source::Entry, id, after(seconds), action);
    seen.actor = Actor::user(user);
    seen.resource_type = Some("Post".into());
    seen
}

/// Lets a rule look at all of them, as a worker does; also through what is stored.
fn found(rule: &Rule, all: impl IntoIterator<Item = Observation>) -> Vec<Finding> {
    let mut states: HashMap<String, String> = HashMap::new();
    let mut findings = Vec::new();
    for seen in all {
        if let Some(key) = State::key(rule, &seen) {
            let mut state: State =
                states.get(&key).map_or_else(State::default, |text| serde_json::from_str(text).unwrap());
            findings.extend(state.observe(rule, &seen));
            states.insert(key, serde_json::to_string(&state).unwrap());
        }
    }
    findings
}

fn burst(threshold: u32, seconds: u64) -> Rule {
    let check = Check::Burst {
        of: Kind::Action(action::DELETE.into()),
        per: Subject::Actor,
        threshold,
        window: Duration::from_secs(seconds),
    };
    Rule::new("mass_deletion", Severity::High, check)
}

#[test]
fn q7_a_burst_is_one_finding_however_long_it_lasts() {
    let rule = burst(3, 60);
    let findings = found(&rule, (0..100).map(|n| entry("ann", "delete", n)));
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].count, findings[0].last.at, findings[0].subject.as_str()), (3, after(2), "ann"));
    assert_eq!(findings[0].records.len(), 3);
    let two = found(&rule, (0..3).chain(200..203).map(|n| entry("ann", "delete", n)));
    assert_eq!(two.len(), 2, "a second episode");
    assert_ne!(two[0].name(), two[1].name());
    assert!(found(&rule, (0..100).map(|n| entry("ann", "update", n))).is_empty());
    assert!(found(&rule, (0..100).map(|n| entry("ann", "delete", n * 30))).is_empty(), "too slow");
    assert!(
        found(
            &rule,
            (0..2).map(|n| entry("ann", "delete", n)).chain((2..4).map(|n| entry("ben", "delete", n)))
        )
        .is_empty()
    );
    let of_tenants =
        (0..4).map(|n| Observation { tenant: Some(format!("t{}", n % 2)), ..entry("ann", "delete", n) });
    assert!(found(&rule, of_tenants).is_empty(), "tenants are told apart");
}

#[test]
fn q7_failed_logins_are_counted_by_name_and_by_address() {
    let attempt = |n: i64, user: String, failed| {
        let mut seen = entry("-", action::LOGIN, n);
        (seen.source, seen.username, seen.failed) = (Source::Login, Some(user), failed);
        seen.ip_address = Some("192.0.2.7".into());
        seen.actor = Actor::anonymous();
        seen
    };
    let rules = Rule::defaults();
    let rule = |name: &str| rules.iter().find(|rule| rule.name == name).unwrap();
    let of_ann = || (0..6).map(|n| attempt(n, "ann".into(), true));
    assert_eq!(found(rule("failed_logins_of_user"), of_ann()).len(), 1);
    assert!(found(rule("failed_logins_from_address"), of_ann()).is_empty());
    let spray = || (0..30).map(|n| attempt(n, format!("user{n}"), true));
    assert!(found(rule("failed_logins_of_user"), spray()).is_empty());
    assert_eq!(found(rule("failed_logins_from_address"), spray())[0].subject, "192.0.2.7");
    assert!(
        found(rule("failed_logins_of_user"), (0..30).map(|n| attempt(n, "ann".into(), false))).is_empty()
    );
}

#[test]
fn q7_records_that_are_exported_add_up() {
    let export = |n: i64, records| {
        let mut seen = entry("ann", action::EXPORT, n);
        (seen.source, seen.records) = (Source::Export, Some(records));
        seen
    };
    let check = Check::Volume {
        of: Kind::Export,
        per: Subject::Actor,
        threshold: 100,
        window: Duration::from_secs(3600),
    };
    let rule = Rule::new("large_exports", Severity::High, check);
    assert!(found(&rule, [export(0, 99)]).is_empty());
    assert_eq!(found(&rule, [export(0, 60), export(60, 39), export(120, 1), export(130, 500)])[0].count, 100);
    assert!(found(&rule, [export(0, 60), export(4000, 60)]).is_empty(), "too long ago");
}

#[test]
fn q7_what_is_new_of_an_actor_is_found_once_they_are_known() {
    let from =
        |n: i64, agent: &str| Observation { user_agent: Some(agent.into()), ..entry("ann", "update", n) };
    let rule = Rule::new(
        "unusual_user_agent",
        Severity::Low,
        Check::FirstSeen { what: Attribute::UserAgent, learn: 5 },
    );
    let known = || (0..5).map(|n| from(n, if n % 2 == 0 { "Firefox" } else { "Chrome" }));
    assert_eq!(found(&rule, known().chain([from(6, "curl"), from(7, "curl"), from(8, "Firefox")])).len(), 1);
    assert!(found(&rule, [from(0, "Firefox"), from(1, "curl")]).is_empty(), "hardly known");
    let tenants =
        Rule::new("other_tenant", Severity::High, Check::FirstSeen { what: Attribute::Tenant, learn: 1 });
    let within =
        |n: i64, tenant: &str| Observation { tenant: Some(tenant.into()), ..entry("ann", "read", n) };
    let other =
        found(&tenants, [within(0, "acme"), within(1, "acme"), within(2, "globex"), within(3, "globex")]);
    assert_eq!(other.len(), 1);
    assert_eq!(other[0].last.tenant.as_deref(), Some("globex"));
}

#[test]
fn q7_work_outside_of_hours_is_found_once_a_day() {
    let hours = |from, to| Check::OutsideHours {
        from: NaiveTime::from_hms_opt(from, 0, 0).unwrap(),
        to: NaiveTime::from_hms_opt(to, 0, 0).unwrap(),
        days: vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri],
        offset_minutes: 60,
    };
    // Monday, 10:00 local time.
    let day = Rule::new("outside_hours", Severity::Low, hours(8, 18));
    let at = |hours: i64| entry("ann", "update", hours * 3600);
    assert!(found(&day, (0..8).map(at)).is_empty());
    assert_eq!(found(&day, (0..14).map(at)).len(), 1, "from 18:00 on, once");
    let saturday = 5 * 24;
    assert_eq!(
        found(&day, [at(saturday), at(saturday + 1)])[0].description,
        "outside hours: work on Sat at 10:00"
    );
    let night = Rule::new("outside_hours", Severity::Low, hours(22, 6));
    assert!(found(&night, (12..20).map(at)).is_empty(), "22:00 to 5:00");
    assert_eq!(found(&night, [at(11)]).len(), 1);
    // Saturday before six belongs to Friday's shift.
    assert!(found(&night, [at(saturday - 6)]).is_empty());
}

#[test]
fn q7_privileges_slow_requests_and_patterns() {
    let rules = Rule::defaults();
    let rule = |name: &str| rules.iter().find(|rule| rule.name == name).unwrap();
    let role =
        |n| Observation { changed_fields: vec!["name".into(), "role".into()], ..entry("ann", "update", n) };
    let findings = found(rule("privilege_change"), [role(0), entry("ann", "update", 1), role(2)]);
    assert_eq!(findings.len(), 2, "each is one");
    assert_eq!(findings[0].description, "privilege change: update of Post (name, role)");

    let request = |n: i64, path: &str, ms: i64| {
        let mut seen = entry("ann", action::API_ACCESS, n);
        (seen.path, seen.duration_us) = (Some(path.into()), Some(ms * 1000));
        seen.ip_address = Some("192.0.2.7".into());
        seen
    };
    let slow = [
        request(0, "/a", 6000),
        request(1, "/a", 9000),
        request(2, "/b", 6000),
        request(3, "/c", 10),
        request(4000, "/a", 6000),
    ];
    assert_eq!(found(rule("slow_request"), slow).len(), 3);
    let odd = [request(0, "/x/../../ETC/passwd", 1), request(1, "/.git/config", 1), request(2, "/posts", 1)];
    assert_eq!(found(rule("suspicious_request"), odd).len(), 1, "once for an address");
}

#[test]
fn q7_a_day_far_from_a_users_own_days_is_unusual() {
    let rule = Rule::new(
        "unusual_activity",
        Severity::Medium,
        Check::Unusual { factor: 5.0, at_least: 50, learn: 5 },
    );
    let day = |day: i64, count: i64| (0..count).map(move |n| entry("ann", "update", day * 86_400 + n));
    let usual = || (0..7).flat_map(move |n| day(n, 20 + n % 3));
    let findings = found(&rule, usual().chain(day(7, 400)));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].count, 50, "as soon as it is");
    assert!(found(&rule, usual().chain(day(7, 49))).is_empty());
    // Somebody whose days differ widely.
    let wild = (0..7).flat_map(|n| day(n, [5, 300, 20, 500, 1, 250, 90][n as usize]));
    let later = Rule { check: Check::Unusual { factor: 5.0, at_least: 50, learn: 7 }, ..rule.clone() };
    assert!(found(&later, wild.chain(day(7, 400))).is_empty());
    assert!(found(&rule, day(0, 400)).is_empty(), "nobody is known on their first day");
}

#[test]
fn q7_rules_that_make_no_sense_are_refused() {
    assert!(Rule::defaults().iter().all(|rule| rule.check().is_ok()));
    for (rule, said) in [
        (burst(0, 60), "threshold"),
        (burst(20_000, 60), "threshold"),
        (burst(3, 0), "window"),
        (Rule { name: String::new(), ..burst(3, 60) }, "name"),
        (Rule { check: Check::Touches { resources: vec![], fields: vec![] }, ..burst(3, 60) }, "neither"),
        (
            Rule { check: Check::Unusual { factor: f64::NAN, at_least: 1, learn: 1 }, ..burst(3, 60) },
            "factor",
        ),
    ] {
        assert!(rule.check().unwrap_err().to_string().contains(said), "{rule:?}");
    }
}

#[test]
fn q7_rules_are_values_that_can_be_configured() {
    let text = r#"
        name = "mass_deletion"
        severity = "critical"
        [check.burst]
        of = { action = "delete" }
        per = "actor"
        threshold = 10
        window = { secs = 3600, nanos = 0 }
    "#;
    let rule: Rule = toml::from_str(text).unwrap();
    assert_eq!(rule, Rule { severity: Severity::Critical, ..burst(10, 3600) });
    let people = text.replace("{ secs = 3600, nanos = 0 }", "\"1h\"");
    assert_eq!(toml::from_str::<Rule>(&people).unwrap(), rule);
    for rule in Rule::defaults() {
        let written = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&written).unwrap(), rule, "{written}");
    }
}

#[test]
fn q7_patterns_are_looked_for_in_the_text_that_is_named() {
    let mut seen = entry("ann", "update", 0);
    seen.path = Some("/path-x".into());
    seen.user_agent = Some("Agent-X".into());
    seen.resource_type = Some("Type-X".into());
    seen.resource_id = Some("Id-X".into());
    seen.username = Some("Name-X".into());
    seen.action = "act-x".into();
    let texts = [
        (Text::Path, "path-X"),
        (Text::UserAgent, "agent-x"),
        (Text::Action, "act-x"),
        (Text::Resource, "type-x"),
        (Text::ResourceId, "id-x"),
        (Text::Username, "name-x"),
    ];
    for (of, _) in texts {
        for (other, pattern) in texts {
            let patterns = vec![pattern.into()];
            let check = Check::Pattern { of, patterns, pause: Duration::from_secs(60) };
            let findings = found(&Rule::new("odd", Severity::Low, check), [seen.clone()]);
            assert_eq!(findings.len(), usize::from(of == other), "{of:?} {pattern}");
        }
    }
}

#[test]
fn q7_what_is_told_apart_has_keys_of_its_own() {
    let rule = burst(3, 60);
    let seen = |tenant: Option<&str>, user: &str| Observation {
        tenant: tenant.map(Into::into),
        ..entry(user, "delete", 0)
    };
    let all = [
        seen(Some("a\0b"), "c"),
        seen(Some("a"), "b\0c"),
        seen(None, "c"),
        seen(Some(""), "c"),
        seen(Some("\0"), "c"),
        seen(None, "\0c"),
    ];
    let keys: std::collections::HashSet<_> =
        all.iter().map(|seen| State::key(&rule, seen).unwrap()).collect();
    assert_eq!(keys.len(), all.len());
    assert_eq!(State::key(&rule, &all[0]), State::key(&rule, &seen(Some("a\0b"), "c")));
}

#[test]
fn q7_users_of_one_number_in_two_tenants_are_not_one_person() {
    let rules = Rule::defaults();
    let rule = rules.iter().find(|rule| rule.name == "other_tenant").unwrap();
    let seen = |n: i64, tenant: &str, name: Option<&str>, email: Option<&str>| {
        let mut seen = Observation { tenant: Some(tenant.into()), ..entry("7", "update", n) };
        (seen.actor.name, seen.actor.email) = (name.map(Into::into), email.map(Into::into));
        seen
    };
    let named = |n, tenant, name| seen(n, tenant, Some(name), None);
    assert!(found(rule, [named(0, "acme", "Ann"), named(1, "globex", "Ben")]).is_empty());
    assert_eq!(found(rule, [named(0, "acme", "Ann"), named(1, "globex", "Ann")]).len(), 1);
    let mailed = |n, tenant, name, email| seen(n, tenant, Some(name), Some(email));
    let same = [mailed(0, "acme", "Ann", "ann@x.org"), mailed(1, "globex", "Ann Other", "ann@x.org")];
    assert_eq!(found(rule, same).len(), 1, "who is called otherwise now");
    let two = [mailed(0, "acme", "Ann", "ann@x.org"), mailed(1, "globex", "Ann", "ann@y.org")];
    assert!(found(rule, two).is_empty());
    // Where nothing else is known, the id is all there is.
    assert_eq!(found(rule, [seen(0, "acme", None, None), seen(1, "globex", None, None)]).len(), 1);
}

proptest! {
    /// What a rule with a window finds doesn't change if it forgets what isn't needed any more, though some come as late as the
    /// window is long.
    #[test]
    fn q7_what_is_not_needed_any_more_can_be_forgotten(
        mut times in prop::collection::vec((0_i64..400_000, 0_i64..60), 0..60), which in 0_usize..5,
    ) {
        let window = Duration::from_secs(60);
        let (of, per) = (Kind::Any, Subject::Actor);
        let check = match which {
            0 => Check::Burst { of, per, threshold: 2, window },
            1 => Check::Volume { of, per, threshold: 2, window },
            2 => Check::Slow { limit: Duration::ZERO, pause: window },
            3 => Check::Pattern { of: Text::Action, patterns: vec!["d".into()], pause: window },
            _ => Check::OutsideHours {
                from: NaiveTime::from_hms_opt(8, 0, 0).unwrap(),
                to: NaiveTime::from_hms_opt(18, 0, 0).unwrap(),
                days: vec![Weekday::Mon],
                offset_minutes: 14 * 60,
            },
        };
        let spread = if which == 4 { 1 } else { 1000 };
        times.sort_unstable();
        let rule = Rule::new("rule", Severity::Low, check);
        let (mut kept, mut forgetful) = (State::default(), State::default());
        let mut newest = i64::MIN;
        for (at, late) in times {
            let mut seen = entry("ann", "delete", at / spread - late);
            (seen.records, seen.duration_us) = (Some(1), Some(1));
            newest = newest.max(seen.at.timestamp_micros());
            if forgetful.needed_until(&rule).is_some_and(|until| until <= newest) {
                forgetful = State::default();
            }
            let (one, other) = (kept.observe(&rule, &seen), forgetful.observe(&rule, &seen));
            prop_assert_eq!(one.map(|finding| finding.name()), other.map(|finding| finding.name()));
        }
    }

    /// A burst is found exactly when a naive look over everything finds one.
    #[test]
    fn q7_bursts_are_those_that_a_naive_look_finds(
        mut times in prop::collection::vec(0_i64..400, 0..60), threshold in 1_u32..6, window in 1_u64..60,
    ) {
        times.sort_unstable();
        let reach = window as i64;
        let mut naive = Vec::new();
        let mut quiet = i64::MIN;
        for (at, now) in times.iter().enumerate() {
            let within = times[..=at].iter().filter(|earlier| **earlier > now - reach).count();
            if within >= threshold as usize {
                if *now >= quiet { naive.push(*now); }
                quiet = now + reach;
            }
        }
        let findings = found(&burst(threshold, window), times.iter().map(|at| entry("ann", "delete", *at)));
        let at: Vec<_> = findings.iter().map(|finding| (finding.last.at - start()).num_seconds()).collect();
        prop_assert_eq!(at, naive);
    }
}
