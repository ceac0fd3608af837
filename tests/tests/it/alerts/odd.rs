//! What may go wrong around alerts: certificates, routes that come and go, clocks, large and odd texts.

use std::collections::HashSet;
use std::time::Duration;

use audit_seaorm::alerts::{Backoff, Route, Webhook, dead_letters, revive};
use audit_seaorm::{Actor, Audit, AuditContext, Severity, Violation, log_violation, scope};
use audit_tests::db_test;
use chrono::{DateTime, TimeDelta};
use sea_orm::PaginatorTrait;
use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::tls::SelfSigned;
use super::webhook::genuine;
use super::{Scene, channel, received};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn webhook(receiver: &Receiver) -> Webhook {
    Webhook::signed(&receiver.url, SECRET).build().expect("a webhook")
}

db_test!(q7_a_receiver_whose_certificate_nobody_trusts_gets_nothing, async |t| {
    let scene = Scene::new(t);
    let server = SelfSigned::new().await;
    assert_eq!(server.trusted().await, "HTTP/1.1 200", "but for who has signed it, the server is in order");
    let url = format!("https://localhost:{}/hook", server.port);
    let worker = scene.worker(Webhook::signed(url, SECRET).build().unwrap());
    scene.violation(Severity::High).await;
    for attempt in 1..=2 {
        let pass = worker.run_once(&t.db).await.unwrap();
        assert_eq!((pass.delivered, pass.failed, pass.dead), (0, 1, 0));
        assert_eq!(scene.states().await, [("pending".to_owned(), attempt)]);
        let alert = scene.alerts().await.remove(0);
        assert_eq!(alert.last_error.as_deref(), Some("the receiver can't be reached"));
        scene.clock.advance(Backoff::default().longest);
    }
    // It was refused for its certificate, before a word of the alert was said.
    while server.seen().len() < 3 {
        tokio::task::yield_now().await;
    }
    let seen = server.seen();
    assert_eq!(seen[0], "GET /control HTTP/1.1");
    assert!(seen[1..].iter().all(|end| end.contains("fatal alert") && !end.contains("POST")), "{seen:?}");
});

db_test!(q7_a_route_that_was_away_gets_what_it_missed, async |t| {
    let scene = Scene::new(t);
    let (first, mut told) = channel();
    let (other, mut others) = channel();
    // Both under their names alone: they begin when a worker first has them.
    let both = scene.builder().route(Route::new("a", first.clone())).route(Route::new("b", other.clone()));
    both.build().unwrap().run_once(&t.db).await.unwrap();
    let both_got = scene.violation(Severity::High).await;
    // Route a fails for it, and is taken away.
    let (closed, gone) = channel();
    drop(gone);
    let failing = scene.builder().route(Route::new("a", closed)).route(Route::new("b", other.clone()));
    assert_eq!(failing.build().unwrap().run_once(&t.db).await.unwrap().failed, 1);
    scene.clock.advance(Duration::from_secs(3600));
    let missed = scene.violation(Severity::High).await;
    let without = scene.builder().route(Route::new("b", other.clone())).build().unwrap();
    without.run_once(&t.db).await.unwrap();
    assert_eq!(scene.alerts().await.iter().filter(|alert| alert.state == "pending").count(), 1);
    // A day later it is there again: with what was pending, and with what it missed.
    scene.clock.advance(Duration::from_secs(24 * 3600));
    let again = scene.builder().route(Route::new("a", first)).route(Route::new("b", other)).build().unwrap();
    again.run_once(&t.db).await.unwrap();
    again.run_once(&t.db).await.unwrap();
    let ids = |alerts: Vec<audit_seaorm::alerts::Alert>| -> Vec<_> {
        alerts.into_iter().map(|alert| alert.violation.id).collect()
    };
    let told = ids(received(&mut told));
    assert_eq!((told.len(), HashSet::from_iter(told)), (2, HashSet::from([both_got, missed])));
    assert_eq!(
        ids(received(&mut others)),
        [both_got, missed],
        "it has missed nothing, and gets nothing twice"
    );
});

db_test!(q7_two_workers_in_the_background_send_each_alert_once, async |t| {
    const ALERTS: usize = 30;
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Status(200)]).await;
    let worker = || {
        let builder = scene.builder().route(scene.route(webhook(&receiver)));
        builder.interval(Duration::from_millis(1)).build().unwrap()
    };
    let tasks = [worker().start(t.db.clone()), worker().start(t.db.clone())];
    for _ in 0..ALERTS {
        scene.violation(Severity::High).await;
    }
    let sent = vec![("delivered".to_owned(), 1); ALERTS];
    while scene.states().await != sent {
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.stop().await;
    }
    let requests = receiver.requests();
    let deliveries: HashSet<_> = requests.iter().map(|request| &request.headers["audit-delivery"]).collect();
    assert_eq!((requests.len(), deliveries.len()), (ALERTS, ALERTS));
});

db_test!(q7_large_and_odd_texts_arrive_as_they_were_recorded, async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Status(200)]).await;
    let odd = "Zürich \u{1f6a8} 漢字 \u{202e}\u{0}\r\n\t\"quoted\" \\ </script> %00 ";
    let large = odd.repeat(20_000);
    let context = AuditContext::new(Actor::user("Ünï\u{1f6a8}")).named(odd).tenant("acme");
    let violation = Violation::new("größer_als", odd.repeat(1_000))
        .severity(Severity::High)
        .details(json!({"text": large, "deep": [[[{"ключ": [1, 2.5, null, true]}]]]}));
    let logged = scene.audit.within(scope(context, log_violation(&t.db, violation))).await;
    logged.unwrap().unwrap();
    let chat = Webhook::slack(&receiver.url).build().unwrap();
    let chat = Route::new("chat", chat).since(DateTime::UNIX_EPOCH);
    let worker = scene.builder().route(scene.route(webhook(&receiver))).route(chat).build().unwrap();
    let pass = worker.run_once(&t.db).await.unwrap();
    assert_eq!((pass.delivered, pass.failed, pass.dead), (2, 0, 0));

    let requests = receiver.requests();
    let (signed, chats): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.headers.contains_key("audit-signature"));
    let body: Value = serde_json::from_slice(&signed[0].body).expect("JSON");
    genuine(signed[0], &scene.clock, SECRET);
    let told = &body["violation"];
    assert_eq!(told["violation_type"], "größer_als");
    assert_eq!(told["details"]["deep"], json!([[[{"ключ": [1, 2.5, null, true]}]]]));
    // What PostgreSQL has no text for is replaced in all of them.
    let kept = told["details"]["text"].as_str().unwrap();
    assert_eq!(kept.replace('\u{fffd}', "\0"), large);
    assert_eq!(told["description"].as_str().unwrap().chars().count(), 16_384);
    assert_eq!(told["actor"]["name"].as_str().unwrap(), odd.replace('\0', "\u{fffd}"));
    // A chat takes 3,000 characters at most.
    let chat: Value = serde_json::from_slice(&chats[0].body).expect("JSON");
    let sections = chat["blocks"].as_array().unwrap().iter();
    assert!(
        sections.filter_map(|block| block["text"]["text"].as_str()).all(|text| text.chars().count() <= 3_000)
    );
});

db_test!(q7_a_clock_that_is_set_back_delays_and_loses_nothing, async |t| {
    let scene = Scene::new(t);
    let (notifier, mut told) = channel();
    let since = scene.clock.0.lock().unwrap().to_owned() - TimeDelta::days(1);
    let (closed, gone) = channel();
    drop(gone);
    let failing = scene.worker_of(Route::new("main", closed).since(since));
    let worker = scene.worker_of(Route::new("main", notifier).since(since));
    let first = scene.violation(Severity::High).await;
    assert_eq!(failing.run_once(&t.db).await.unwrap().failed, 1);
    worker.run_once(&t.db).await.unwrap();
    assert!(received(&mut told).is_empty(), "it isn't due yet");
    // Two hours back. What is recorded now is older than what was looked at.
    *scene.clock.0.lock().unwrap() -= TimeDelta::hours(2);
    let second = scene.violation(Severity::High).await;
    worker.run_once(&t.db).await.unwrap();
    assert_eq!(received(&mut told).iter().map(|alert| alert.violation.id).collect::<Vec<_>>(), [second]);
    worker.run_once(&t.db).await.unwrap();
    assert!(received(&mut told).is_empty());
    scene.clock.advance(Duration::from_secs(2 * 3600) + Backoff::default().longest);
    worker.run_once(&t.db).await.unwrap();
    assert_eq!(received(&mut told).iter().map(|alert| alert.violation.id).collect::<Vec<_>>(), [first]);
    let states = scene.states().await;
    assert!(states.iter().all(|(state, _)| state == "delivered"), "{states:?}");
});

db_test!(i7_dead_letters_over_a_bound_connection_are_its_tenants, async |t| {
    let scene = Scene::new(t);
    scene.violation_of("acme", Severity::High).await;
    let globex = scene.violation_of("globex", Severity::High).await;
    let (closed, gone) = channel();
    drop(gone);
    let once = Backoff { attempts: 1, ..Backoff::default() };
    let worker = scene.builder().route(scene.route(closed)).backoff(once).build().unwrap();
    assert_eq!(worker.run_once(&t.db).await.unwrap().dead, 2);
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let bound = db.with_context(AuditContext::user(8).tenant("globex"));
    let letters = dead_letters(&bound).all(&bound).await.unwrap();
    assert_eq!(letters.iter().map(|dead| dead.violation_id).collect::<Vec<_>>(), [globex]);
    // What the connection is bound to counts, as for everything else that is done over it.
    let acme = AuditContext::user(7).tenant("acme");
    let seen = scope(acme.clone(), async { dead_letters(&bound).all(&bound).await.unwrap() }).await;
    assert_eq!(seen, letters);
    assert_eq!(scope(acme, async { dead_letters(&db).count(&db).await.unwrap() }).await, 1);
    assert_eq!(dead_letters(&db).count(&db).await.unwrap(), 2);
    revive(&bound, letters[0].id).await.unwrap();
    assert_eq!(dead_letters(&bound).count(&bound).await.unwrap(), 0);
    assert_eq!(dead_letters(&db).count(&db).await.unwrap(), 1);
});
