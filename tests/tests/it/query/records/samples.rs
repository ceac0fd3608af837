//! Six records of each family, which differ in what its filters ask for.

use audit_seaorm::{
    EventKind, Export, LoginAttempt, Place, Query, QueryType, Resource, Severity, SystemEvent, Transition,
    Violation, ViolationStatus,
};
use uuid::Uuid;

pub(super) fn violations() -> Vec<Violation> {
    let of = |kind: &str, severity, module: &str, n: u32| {
        let about = Resource::new(if n == 7 { "Account" } else { "Order" }).id(n);
        Violation::new(kind, "x").severity(severity).module(module).resource(about)
    };
    vec![
        of("mass_deletion", Severity::High, "sales", 1),
        of("mass_deletion", Severity::Low, "sales", 2),
        of("slow_request", Severity::Low, "finance", 7),
        of("slow_request", Severity::Critical, "finance", 7),
        of("other_tenant", Severity::High, "sales", 1),
        of("other_tenant", Severity::Medium, "blog", 3),
    ]
}

pub(super) fn events() -> Vec<SystemEvent> {
    EventKind::ALL
        .iter()
        .chain([&EventKind::Error])
        .enumerate()
        .map(|(n, kind)| {
            SystemEvent::new(*kind, "x").origin(["db", "mail"][n % 2], "f").error_code(format!("E{n}"))
        })
        .collect()
}

pub(super) fn logins() -> Vec<LoginAttempt> {
    let place = Place { country: Some("DE".to_owned()), ..Default::default() };
    vec![
        LoginAttempt::success("ann").place(place),
        LoginAttempt::failed("ann", "x"),
        LoginAttempt::blocked("ann", "x"),
        LoginAttempt::success("ben"),
        LoginAttempt::failed("ben", "x"),
        LoginAttempt::failed("cleo%", "x"),
    ]
}

pub(super) fn exports() -> Vec<Export> {
    let of = |format: &str, model: &str| Export::new(format, model).export_type("report");
    vec![
        of("csv", "Account"),
        of("pdf", "Account"),
        of("csv", "Order"),
        of("csv", "Order").failed("disk full"),
        of("xlsx", "Order").export_type("user data"),
        of("pdf", "Post"),
    ]
}

pub(super) fn queries() -> Vec<Query> {
    let of = |kind, model: &str| Query::new(kind, model);
    vec![
        of(QueryType::Select, "Account"),
        of(QueryType::Count, "Account"),
        of(QueryType::Aggregate, "Order"),
        of(QueryType::Exists, "Order"),
        of(QueryType::Select, "Order").failed("timeout"),
        of(QueryType::Select, "Post"),
    ]
}

pub(super) fn steps(of: Uuid) -> Vec<Transition> {
    use ViolationStatus::{Closed, Investigating, Resolved};
    let one = |step, to| Transition::new("audit_violation", of, step, to);
    let mut all = vec![one(1, Investigating), one(2, Resolved), one(3, Closed)];
    all.extend((1..=3).map(|step| Transition::new("audit_violation", Uuid::nil(), step, Investigating)));
    all
}
