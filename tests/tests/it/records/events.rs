//! R5: system events, by hand and from `tracing`.

use audit_seaorm::entity::audit_system_event;
use audit_seaorm::{Audit, EventKind, EventLayer, SystemEvent, log_system_event, scope};
use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder};
use serde_json::json;
use tracing::instrument::WithSubscriber;
use tracing::{Instrument, Level, debug, error, info, info_span, trace, warn};
use tracing_subscriber::layer::SubscriberExt;

use super::{ann, audit_of};

async fn stored(t: &TestDb) -> Vec<audit_system_event::Model> {
    audit_system_event::Entity::find().order_by_asc(audit_system_event::Column::Seq).all(&t.db).await.unwrap()
}

/// Runs this with the layer of this audit.
async fn traced<F: Future>(audit: &Audit, future: F) -> F::Output {
    traced_from(None, audit, future).await
}

/// The same from this level on, if one is said.
async fn traced_from<F: Future>(level: Option<Level>, audit: &Audit, future: F) -> F::Output {
    let layer = EventLayer::new(audit.clone());
    let layer = match level {
        Some(level) => layer.level(level),
        None => layer,
    };
    let subscriber = tracing_subscriber::registry().with(layer);
    let output = audit.within(future).with_subscriber(subscriber).await;
    audit.flush().await.expect("flushed");
    output
}

db_test!(r5_an_event_is_recorded_by_hand, async |t| {
    let cause = sea_orm::DbErr::Custom("no answer".to_owned());
    let event = SystemEvent::new(EventKind::Performance, "slow report")
        .error(&cause)
        .origin("reports", "quarterly")
        .error_code("E42")
        .stack_trace("a\nb")
        .here();
    scope(ann(), log_system_event(&t.db, event)).await.unwrap().unwrap();
    let all = stored(t).await;
    let event = &all[0];
    assert_eq!((event.event_type.as_str(), event.title.as_str()), ("performance", "slow report"));
    assert!(event.description.as_deref().unwrap().contains("no answer"));
    assert_eq!((event.module.as_deref(), event.function.as_deref()), (Some("reports"), Some("quarterly")));
    assert_eq!((event.error_code.as_deref(), event.stack_trace.as_deref()), (Some("E42"), Some("a\nb")));
    assert!(event.file.as_deref().unwrap().ends_with("events.rs") && event.line.unwrap() > 20);
    assert_eq!((event.actor_id.as_deref(), event.hash_matches()), (Some("7"), Some(true)));
});

db_test!(r5_errors_and_warnings_of_the_program_become_events, async |t| {
    let audit = audit_of(t);
    let work = async {
        info!("not recorded");
        warn!(attempt = 2, "payment provider is slow");
        let cause = std::io::Error::other("connection reset");
        async { error!(error = &cause as &dyn std::error::Error, error_code = "E42", "payment failed") }
            .instrument(info_span!("pay"))
            .await;
        warn!(security = true, card = "4111 1111 1111 1111", "odd card");
    };
    let request = async {
        let span = info_span!("request", id = 7, password = "hunter2", route = tracing::field::Empty);
        span.record("route", "/pay");
        scope(ann(), work.instrument(span)).await;
    };
    traced(&audit, request).await;
    let all = stored(t).await;
    let seen: Vec<_> = all.iter().map(|e| (e.event_type.as_str(), e.title.as_str())).collect();
    assert_eq!(
        seen,
        [("warning", "payment provider is slow"), ("error", "payment failed"), ("security", "odd card")]
    );
    let metadata = |at: usize| all[at].metadata_as::<serde_json::Value>().unwrap().unwrap();
    assert_eq!(metadata(0)["attempt"], 2);
    let request = json!({"name": "request", "id": 7, "password": "***", "route": "/pay"});
    assert_eq!(metadata(0)["spans"], json!([request]));
    assert_eq!(metadata(1)["spans"], json!([{"name": "pay"}, request]));
    assert_eq!(
        (all[1].function.as_deref(), all[1].description.as_deref()),
        (Some("pay"), Some("connection reset"))
    );
    assert_eq!(all[1].error_code.as_deref(), Some("E42"));
    assert_eq!(all[1].actor_id.as_deref(), Some("7"), "in the context of the task");
    assert!(all[0].module.as_deref().unwrap().contains("records::events") && all[0].line.is_some());
    let everything = format!("{all:?}");
    assert!(!everything.contains("4111") && !everything.contains("hunter2"), "{everything}");
});

db_test!(r5_level_and_marks_say_what_becomes_an_event_of_which_sort, async |t| {
    let say = || async {
        trace!("trace");
        debug!("debug");
        info!("started");
        warn!(performance = true, took_ms = 900, "slow report");
        warn!(performance = false, security = false, "no mark");
        info!(performance = true, "slow start");
        error!(security = true, performance = true, "both");
    };
    let expected = [
        ("info", "started"),
        ("performance", "slow report"),
        ("warning", "no mark"),
        ("performance", "slow start"),
        ("security", "both"),
    ];
    let audit = audit_of(t);
    traced_from(Some(Level::INFO), &audit, say()).await;
    let all = stored(t).await;
    let seen: Vec<_> = all.iter().map(|event| (event.event_type.as_str(), event.title.as_str())).collect();
    assert_eq!(seen, expected);
    assert_eq!(all[1].metadata_as::<serde_json::Value>().unwrap().unwrap()["took_ms"], 900);
    // Errors alone; and by itself, errors and warnings.
    let mut known = all.len();
    for (level, more) in [(Some(Level::ERROR), vec!["both"]), (None, vec!["slow report", "no mark", "both"])]
    {
        traced_from(level, &audit, say()).await;
        let all = stored(t).await;
        let titles: Vec<_> = all[known..].iter().map(|event| event.title.as_str()).collect();
        assert_eq!(titles, more, "{level:?}");
        known = all.len();
    }
});

db_test!(r5_what_goes_wrong_while_events_are_written_makes_no_events, async |t| {
    let (from, to) = ("audit_system_event", "hidden");
    let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
    // On SQLite and PostgreSQL the view goes along; on MySQL it would stop working.
    t.db.execute_unprepared("DROP VIEW audit_status").await.unwrap();
    t.db.execute_unprepared(&rename(from, to)).await.unwrap();
    let audit = audit_of(t);
    let subscriber = tracing_subscriber::registry().with(EventLayer::new(audit.clone()));
    async {
        error!("the only one");
        // Each attempt fails and is logged by this library, SeaORM or the driver.
        for _ in 0..5 {
            audit.flush().await.unwrap_err();
        }
        assert_eq!(audit.metrics().queued, 1);
        t.db.execute_unprepared(&rename(to, from)).await.unwrap();
        audit.shutdown().await.unwrap();
    }
    .with_subscriber(subscriber)
    .await;
    let titles: Vec<_> = stored(t).await.into_iter().map(|event| event.title).collect();
    assert_eq!(titles, ["the only one"]);
});

db_test!(r5_a_storm_of_errors_does_not_fill_the_memory, async |t| {
    let mut config = audit_seaorm::Config::default();
    config.queue_limit = 10;
    let audit = Audit::builder().config(config).store(t.db.clone()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(EventLayer::new(audit.clone()));
    // Nothing is awaited in between: the writer gets no turn on this thread, but may have one on another.
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..1_000 {
            error!(n, "boom");
            assert!(audit.metrics().queued <= 20);
        }
    });
    audit.flush().await.unwrap();
    let metrics = audit.metrics();
    assert_eq!(stored(t).await.len() as u64 + metrics.lost, 1_000);
    assert!(metrics.lost > 0, "{metrics:?}");
});

db_test!(r5_errors_without_an_actor_are_not_lost_where_operations_demand_one, async |t| {
    let mut config = audit_seaorm::Config::default();
    config.require_actor = true;
    let audit = Audit::builder().config(config).store(t.db.clone()).build().unwrap();
    traced(&audit, async { error!("nobody's fault") }).await;
    let all = stored(t).await;
    assert_eq!((all.len(), all[0].actor_type.as_str()), (1, "system"));
});
