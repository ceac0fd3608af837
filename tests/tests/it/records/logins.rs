//! R4: who tried to log in, from where; who logged out. Requests to the application's interface.

use std::net::IpAddr;
use std::time::Duration;

use audit_seaorm::entity::audit_login_attempt;
use audit_seaorm::{
    ApiAccess, Audit, AuditContext, Geography, LoginAttempt, Place, Resource, log_api_access, log_login,
    log_logout, scope,
};
use audit_tests::{TestDb, db_test};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::json;

use super::{ann, audit, audit_of};
use crate::fixtures::{entries, only_entry};

#[derive(Debug)]
struct Atlas;

#[async_trait::async_trait]
impl Geography for Atlas {
    async fn place(&self, address: IpAddr) -> Option<Place> {
        (address.to_string() == "192.0.2.7").then(|| Place {
            country: Some("DE".to_owned()),
            city: Some("Köln".to_owned()),
            latitude: Some(50.938_361),
            longitude: Some(6.959_974),
            region: Some("Nordrhein-Westfalen".to_owned()),
        })
    }
}

async fn stored(t: &TestDb) -> Vec<audit_login_attempt::Model> {
    audit_login_attempt::Entity::find()
        .order_by_asc(audit_login_attempt::Column::Seq)
        .all(&t.db)
        .await
        .unwrap()
}

db_test!(r4_attempts_are_recorded_with_their_outcome, async |t| {
    let unknown = AuditContext::anonymous().ip("203.0.113.9").user_agent("curl/8");
    log_login(&t.db, LoginAttempt::success("ann")).await.unwrap();
    scope(unknown, async {
        log_login(&t.db, LoginAttempt::failed("ann", "wrong password")).await.unwrap();
        log_login(&t.db, LoginAttempt::blocked("ann", "too many attempts")).await.unwrap();
    })
    .await;
    let all = stored(t).await;
    let seen: Vec<_> = all.iter().map(|a| (a.status.as_str(), a.failure_reason.as_deref())).collect();
    assert_eq!(
        seen,
        [("success", None), ("failed", Some("wrong password")), ("blocked", Some("too many attempts"))]
    );
    assert_eq!(
        (all[1].ip_address.as_deref(), all[1].user_agent.as_deref()),
        (Some("203.0.113.9"), Some("curl/8"))
    );
    assert_eq!((all[1].actor_type.as_str(), all[1].username.as_str()), ("anonymous", "ann"));
    assert!(all.iter().all(|attempt| attempt.hash_matches() == Some(true)));
});

type Where<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<f64>, Option<f64>);

const NOWHERE: Where<'_> = (None, None, None, None, None);

fn place_of(attempt: &audit_login_attempt::Model) -> Where<'_> {
    let (country, region, city) = (&attempt.country, &attempt.region, &attempt.city);
    (country.as_deref(), region.as_deref(), city.as_deref(), attempt.latitude, attempt.longitude)
}

db_test!(r4_without_geography_an_attempt_has_no_place_but_what_is_said, async |t| {
    let told = Place { longitude: Some(-0.1), ..Place::default() };
    audit()
        .within(scope(ann(), async {
            log_login(&t.db, LoginAttempt::success("ann")).await.unwrap();
            log_login(&t.db, LoginAttempt::success("ann").place(told.clone())).await.unwrap();
        }))
        .await;
    // One who knows nothing but a longitude knows more than nothing.
    let audit = Audit::builder().geography(Atlas).build().unwrap();
    let attempt = LoginAttempt::success("ann").place(told);
    audit.within(scope(ann(), log_login(&t.db, attempt))).await.unwrap();
    let all = stored(t).await;
    let places: Vec<_> = all.iter().map(place_of).collect();
    let said = (None, None, None, None, Some(-0.1));
    assert_eq!(places, [NOWHERE, said, said]);
    assert_eq!(all[0].ip_address.as_deref(), Some("192.0.2.7"), "it could have been asked for");
});

db_test!(r4_geography_says_where_an_attempt_came_from, async |t| {
    let audit = Audit::builder().geography(Atlas).build().unwrap();
    audit
        .within(async {
            scope(ann(), log_login(&t.db, LoginAttempt::success("ann"))).await.unwrap();
            let elsewhere = AuditContext::anonymous().ip("198.51.100.1");
            scope(elsewhere, log_login(&t.db, LoginAttempt::success("ben"))).await.unwrap();
            let told = Place { country: Some("FR".to_owned()), ..Place::default() };
            scope(ann(), log_login(&t.db, LoginAttempt::success("ann").place(told))).await.unwrap();
        })
        .await;
    let all = stored(t).await;
    let places: Vec<_> = all.iter().map(place_of).collect();
    let cologne = (Some("DE"), Some("Nordrhein-Westfalen"), Some("Köln"), Some(50.938_361), Some(6.959_974));
    assert_eq!(places, [cologne, NOWHERE, (Some("FR"), None, None, None, None)]);
    assert!(all.iter().all(|attempt| attempt.hash_matches() == Some(true)), "floats come back as they went");
});

db_test!(r4_a_logout_is_an_entry, async |t| {
    scope(ann(), log_logout(&t.db)).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!((entry.action.as_str(), entry.module.as_deref()), ("logout", Some("authentication")));
    assert_eq!((entry.resource_id.as_deref(), entry.session_id.as_deref()), (Some("7"), Some("s-1")));
});

db_test!(s1_api_access_is_an_entry_with_how_it_was_answered, async |t| {
    let audit = audit_of(t);
    audit
        .within(scope(ann(), async {
            let access = ApiAccess::new("GET", "/api/alerts/7?token=hunter2", 200)
                .resource(Resource::new("alert").id(7))
                .duration(Duration::from_millis(12));
            log_api_access(&t.db, access).await.unwrap();
            log_api_access(&t.db, ApiAccess::new("POST", "/api/alerts", 403)).await.unwrap();
            log_api_access(&t.db, ApiAccess::new("POST", "/api/alerts", 500).module("alerts")).await.unwrap();
        }))
        .await;
    audit.flush().await.unwrap();
    let all = entries(t).await;
    let seen: Vec<_> = all
        .iter()
        .map(|e| {
            (
                e.resource_type.as_str(),
                e.resource_id.as_deref().unwrap(),
                e.status.as_str(),
                e.severity.as_str(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("alert", "7", "success", "low"),
            ("api", "/api/alerts", "failed", "medium"),
            ("api", "/api/alerts", "failed", "medium")
        ]
    );
    assert!(all.iter().all(|e| e.action == "api_access" && e.hash_matches() == Some(true)));
    let metadata: serde_json::Value = all[0].metadata_as().unwrap().unwrap();
    let expected = json!({"department": "treasury", "duration_us": 12000, "method": "GET", "path": "/api/alerts/7", "status_code": 200});
    assert_eq!(metadata, expected);
    assert_eq!(all[2].module.as_deref(), Some("alerts"));
});

db_test!(s1_api_access_is_recorded_without_a_connection_of_its_own, async |t| {
    audit().within(log_api_access(&t.db, ApiAccess::new("GET", "/", 200))).await.unwrap();
    assert_eq!(only_entry(t).await.resource_id.as_deref(), Some("/"));
});
