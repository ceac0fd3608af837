//! Alerts by HTTP, to a real server.

use std::time::Duration;

use audit_seaorm::alerts::{Backoff, Route, Webhook, dead_letters, revive, verify_signature_at};
use audit_seaorm::{Clock, Severity};
use audit_tests::db_test;
use serde_json::Value;

use super::receiver::{Answer, Receiver, Request};
use super::{Hand, Scene};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const MINUTES: Duration = Duration::from_secs(300);

fn webhook(receiver: &Receiver) -> Webhook {
    Webhook::signed(&receiver.url, SECRET).build().expect("a webhook")
}

/// The body, if the request is genuine.
pub(super) fn genuine(request: &Request, clock: &Hand, secret: &str) -> Value {
    let header = |name: &str| request.headers[name].as_str();
    let (timestamp, signature) = (header("audit-timestamp"), header("audit-signature"));
    verify_signature_at(clock.now(), secret, timestamp, &request.body, signature, MINUTES).expect("genuine");
    serde_json::from_slice(&request.body).expect("JSON")
}

db_test!(q7_a_webhook_gets_a_signed_alert, async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Status(204)]).await;
    let previous = "the secret before this one";
    let webhook = Webhook::signed(&receiver.url, SECRET).previous_secret(previous).build().unwrap();
    let id = scene.violation(Severity::High).await;
    let pass = scene.worker(webhook).run_once(&t.db).await.unwrap();
    assert_eq!((pass.found, pass.delivered, pass.failed, pass.dead), (1, 1, 0, 0));

    let requests = receiver.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let body = genuine(request, &scene.clock, SECRET);
    assert_eq!(genuine(request, &scene.clock, previous), body);
    assert_eq!(request.line, "POST /hook HTTP/1.1");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["audit-delivery"], body["delivery"].as_str().unwrap());
    assert_eq!(body["violation"]["id"], id.to_string());
    assert_eq!(body["violation"]["description"], "no funds");
    assert_eq!(body["violation"]["actor"]["name"], "Ann");
    let whole = format!("{request:?}{}", String::from_utf8_lossy(&request.body));
    assert!(!whole.contains("session-secret") && !whole.contains(SECRET), "{whole}");
    assert_eq!(scene.alerts().await[0].id.to_string(), body["delivery"].as_str().unwrap());
});

db_test!(q7_an_alert_that_got_500_is_sent_again, async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([500, 503, 200].map(Answer::Status)).await;
    let worker = scene.worker(webhook(&receiver));
    scene.violation(Severity::High).await;
    for (delivered, state) in
        [(0, ("pending", 1)), (0, ("pending", 2)), (1, ("delivered", 3)), (0, ("delivered", 3))]
    {
        let pass = worker.run_once(&t.db).await.unwrap();
        assert_eq!(pass.delivered, delivered);
        assert_eq!(scene.states().await, [(state.0.to_owned(), state.1)]);
        scene.clock.advance(Backoff::default().longest);
    }
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.body, requests[0].body);
        assert_eq!(request.headers["audit-delivery"], requests[0].headers["audit-delivery"]);
    }
    assert_ne!(requests[0].headers["audit-timestamp"], requests[2].headers["audit-timestamp"]);
    assert_ne!(requests[0].headers["audit-signature"], requests[2].headers["audit-signature"]);
    let alert = &scene.alerts().await[0];
    assert_eq!(alert.last_error, None, "it was delivered after all");
});

db_test!(q7_a_slow_receiver_is_a_failure_that_is_tried_again, async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Silence, Answer::Status(200)]).await;
    let slow = Webhook::signed(&receiver.url, SECRET).timeout(Duration::from_millis(300)).build().unwrap();
    let worker = scene.worker(slow);
    scene.violation(Severity::High).await;
    assert_eq!(worker.run_once(&t.db).await.unwrap().failed, 1);
    let error = scene.alerts().await[0].last_error.clone().unwrap();
    assert_eq!(error, "the receiver didn't answer within 300ms");
    scene.clock.advance(Backoff::default().longest);
    assert_eq!(worker.run_once(&t.db).await.unwrap().delivered, 1);
    let requests = receiver.requests();
    let ids: Vec<_> = requests.iter().map(|request| &request.headers["audit-delivery"]).collect();
    assert_eq!((ids.len(), ids[0]), (2, ids[1]), "the receiver can tell that it has it already");
});

db_test!(q7_receivers_that_fail_for_an_hour_get_each_alert_once, async |t| {
    let scene = Scene::new(t);
    let (down, failing) = (Receiver::new([Answer::Down]).await, Receiver::new([Answer::Status(500)]).await);
    let silent = Receiver::new([Answer::Silence]).await;
    let worker = |patience: Duration| {
        let route = |name: &str, receiver: &Receiver| {
            let webhook = Webhook::signed(&receiver.url, SECRET).timeout(patience).build().unwrap();
            Route::new(name, webhook).since(chrono::DateTime::UNIX_EPOCH)
        };
        let routes = scene.builder().route(route("down", &down)).route(route("failing", &failing));
        routes.route(route("silent", &silent)).build().unwrap()
    };
    let impatient = worker(Duration::from_millis(20));
    let mut expected = Vec::new();
    for _ in 0..20 {
        expected.push(scene.violation(Severity::High).await.to_string());
    }
    expected.sort();
    for _ in 0..60 {
        let pass = impatient.run_once(&t.db).await.unwrap();
        assert_eq!((pass.delivered, pass.dead), (0, 0));
        scene.clock.advance(Duration::from_secs(60));
    }
    assert!(scene.states().await.iter().all(|(state, _)| state == "pending"));
    // Three in a row, then it is left alone until the next pass.
    assert!((20..=180).contains(&failing.requests().len()), "{}", failing.requests().len());
    let before = (failing.requests().len(), silent.requests().len());
    let alerts = scene.alerts().await;
    let silence = alerts.iter().filter(|alert| alert.notifier == "silent" && alert.attempts > 0);
    let reasons: std::collections::HashSet<_> = silence.map(|alert| alert.last_error.as_deref()).collect();
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), [Some("the receiver didn't answer within 20ms")]);

    down.answer([Answer::Status(200)]);
    failing.answer([Answer::Status(200)]);
    silent.answer([Answer::Status(200)]);
    // On a machine that is busy, an answer takes longer than the others were waited for.
    let worker = worker(Duration::from_secs(10));
    scene.clock.advance(Backoff::default().longest);
    let pass = worker.run_once(&t.db).await.unwrap();
    assert_eq!((pass.delivered, pass.failed, pass.dead), (60, 0, 0));
    scene.clock.advance(Backoff::default().longest);
    assert_eq!(worker.run_once(&t.db).await.unwrap().delivered, 0);
    assert!(scene.states().await.iter().all(|(state, _)| state == "delivered"));
    let ids = |requests: &[Request]| {
        let mut ids: Vec<String> = requests.iter().map(genuine_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&down.requests()), expected);
    assert_eq!(ids(&failing.requests()[before.0..]), expected);
    let mut told = ids(&silent.requests()[before.1..]);
    // What nobody waited for any more may have been read late.
    told.dedup();
    assert_eq!(told, expected);
});

fn genuine_id(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    body["violation"]["id"].as_str().expect("an id").to_owned()
}

db_test!(q7_after_the_last_attempt_an_alert_is_dead_and_can_be_revived, async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Status(500)]).await;
    let backoff = Backoff { attempts: 3, ..Backoff::default() };
    let worker = scene.builder().route(scene.route(webhook(&receiver))).backoff(backoff).build().unwrap();
    scene.violation(Severity::High).await;
    for (failed, dead) in [(1, 0), (1, 0), (0, 1), (0, 0)] {
        let pass = worker.run_once(&t.db).await.unwrap();
        assert_eq!((pass.failed, pass.dead), (failed, dead));
        scene.clock.advance(backoff.longest);
    }
    assert_eq!(receiver.requests().len(), 3);
    let dead = dead_letters(&t.db).all(&t.db).await.unwrap();
    let [letter] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!((letter.attempts, letter.last_error.as_deref()), (3, Some("the receiver answered 500")));

    receiver.answer([Answer::Status(500), Answer::Status(200)]);
    scene.audit.within(revive(&t.db, letter.id)).await.unwrap();
    let error = scene.audit.within(revive(&t.db, letter.id)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("there is no dead alert with the id {}", letter.id));
    assert!(dead_letters(&t.db).all(&t.db).await.unwrap().is_empty());
    assert_eq!(worker.run_once(&t.db).await.unwrap().failed, 1, "it has all its attempts before it");
    scene.clock.advance(backoff.longest);
    assert_eq!(worker.run_once(&t.db).await.unwrap().delivered, 1);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|request| request.headers["audit-delivery"] == letter.id.to_string()));
});

db_test!(q7_a_receiver_may_say_when_and_that_never, on(sqlite), async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::With(429, "retry-after: 3000"), Answer::Status(410)]).await;
    let worker = scene.worker(webhook(&receiver));
    scene.violation(Severity::High).await;
    assert_eq!(worker.run_once(&t.db).await.unwrap().failed, 1);
    let alert = &scene.alerts().await[0];
    assert_eq!((alert.due_at - scene.clock.now()).num_seconds(), 3000);
    scene.clock.advance(Duration::from_secs(3000));
    assert_eq!(worker.run_once(&t.db).await.unwrap().dead, 1, "410 means that it is of no use");
    assert_eq!(scene.alerts().await[0].last_error.as_deref(), Some("the receiver answered 410"));
});

db_test!(q7_redirects_are_not_followed, on(sqlite), async |t| {
    let scene = Scene::new(t);
    let elsewhere = Receiver::new([Answer::Status(200)]).await;
    let location: &'static str = Box::leak(format!("location: {}", elsewhere.url).into_boxed_str());
    let receiver = Receiver::new([Answer::With(307, location)]).await;
    scene.violation(Severity::High).await;
    assert_eq!(scene.worker(webhook(&receiver)).run_once(&t.db).await.unwrap().failed, 1);
    assert_eq!((receiver.requests().len(), elsewhere.requests().len()), (1, 0));
});

db_test!(i5_address_and_secret_are_in_no_error, on(sqlite), async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Down, Answer::Status(500), Answer::Silence]).await;
    let url = receiver.url.replace("http://", "http://user:pa55@").replace("/hook", "/private-path");
    let webhook = Webhook::signed(url, SECRET).timeout(Duration::from_millis(300)).build().unwrap();
    let worker = scene.worker(webhook);
    scene.violation(Severity::High).await;
    for part in ["half-way", "answered 500", "didn't answer"] {
        assert_eq!(worker.run_once(&t.db).await.unwrap().failed, 1);
        let error = scene.alerts().await[0].last_error.clone().unwrap();
        assert!(error.contains(part), "{error}");
        let all = format!("{error} {worker:?}");
        for secret in ["pa55", "private-path", SECRET, "127.0.0.1:"] {
            assert!(!all.contains(secret), "{all}");
        }
        scene.clock.advance(Backoff::default().longest);
    }
    let nobody = Webhook::signed("http://127.0.0.1:1/private-path", SECRET).build().unwrap();
    let route = Route::new("nobody", nobody).since(chrono::DateTime::UNIX_EPOCH);
    scene.builder().route(route).build().unwrap().run_once(&t.db).await.unwrap();
    let error = scene.alerts().await.pop().unwrap().last_error.unwrap();
    assert_eq!(error, "the receiver can't be reached");
});

db_test!(q7_a_chat_gets_a_message, on(sqlite), async |t| {
    let scene = Scene::new(t);
    let receiver = Receiver::new([Answer::Status(200)]).await;
    scene.violation(Severity::Critical).await;
    let worker = scene.worker(Webhook::slack(&receiver.url).build().unwrap());
    assert_eq!(worker.run_once(&t.db).await.unwrap().delivered, 1);
    let request = receiver.requests().remove(0);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["text"], "\u{1f6a8} transfer_failed: no funds");
    assert_eq!(body["blocks"][0]["type"], "section");
    assert!(!request.headers.contains_key("audit-signature"), "nobody could check it");
});
