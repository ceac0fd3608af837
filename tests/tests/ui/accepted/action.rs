//! The functions that `#[audit_action]` can stand on, and that it leaves their outcome alone.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use audit_seaorm::{Audit, MemorySink, Severity, Status, audit_action};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

const ESCALATE: &str = "escalate";

/// Runs `future`, and gives what it gave and its entries: status, action, type, id and name.
async fn recorded<T>(future: impl Future<Output = T> + Send) -> (T, Vec<String>) {
    let sink = MemorySink::new();
    let audit = Audit::builder().sink(sink.clone()).build().unwrap();
    let outcome = audit.within(future).await;
    let entries = sink.take().into_iter().map(|entry| {
        let id = entry.resource.id.unwrap_or_default();
        let name = entry.resource.name.unwrap_or_default();
        format!("{} {} {} {id} {name}", entry.status, entry.action, entry.resource.kind).trim_end().to_owned()
    });
    (outcome, entries.collect())
}

#[audit_action(entity_type = "alert", action = ESCALATE, entity_id = id, entity_name = format!("Alert {id}"))]
async fn escalate(id: i64) -> Result<i64, String> {
    if id < 0 {
        return Err("negative".to_owned());
    }
    let doubled: i64 = "2".parse::<i64>().map_err(|error| error.to_string())?;
    Ok(id * doubled)
}

#[tokio::test]
async fn c11_success_and_failure_are_recorded_and_passed_on() {
    let (outcome, entries) = recorded(escalate(4)).await;
    assert_eq!((outcome, entries), (Ok(8), vec!["success escalate alert 4 Alert 4".to_owned()]));
    let (outcome, entries) = recorded(escalate(-4)).await;
    assert_eq!(
        (outcome, entries),
        (Err("negative".to_owned()), vec!["failed escalate alert -4 Alert -4".to_owned()])
    );
}

#[audit_action(entity_type = "alert", action = "close", module = "security", severity = "Critical")]
async fn close() {}

#[tokio::test]
async fn c11_module_and_severity_are_recorded() {
    let sink = MemorySink::new();
    Audit::builder().sink(sink.clone()).build().unwrap().within(close()).await;
    let entry = sink.take().remove(0);
    assert_eq!((entry.module.as_deref(), entry.severity), (Some("security"), Severity::Critical));
    assert_eq!(entry.status, Status::Success);
}

#[audit_action(entity_type = "name", action = "consume", entity_id = name)]
async fn consume(name: String, mut times: usize) -> Vec<String> {
    let mut names = vec![name];
    while times > 1 {
        times -= 1;
        names.push(names[0].clone());
    }
    names
}

#[audit_action(entity_type = "boxed", action = "coerce")]
async fn coerce(fail: bool) -> Result<Box<dyn Display + Send>, Box<dyn Error + Send + Sync>> {
    if fail {
        Err("no")?;
    }
    Ok(Box::new(5))
}

#[audit_action(entity_type = "boxed", action = "tail")]
async fn tail() -> Box<dyn Display + Send> {
    Box::new(5)
}

#[audit_action(entity_type = "generic", action = "borrow", entity_id = value)]
async fn generic<'a, T>(value: &'a T, others: &[u8]) -> Result<&'a T, DbErr>
where
    T: Display + Sync + ?Sized,
{
    _ = others.len();
    Ok(value)
}

#[audit_action(entity_type = "recursive", action = "count", entity_id = depth)]
async fn count(depth: u8) -> u8 {
    if depth == 0 { 0 } else { Box::pin(count(depth - 1)).await + 1 }
}

#[tokio::test]
async fn c11_functions_keep_their_meaning() {
    let (outcome, entries) = recorded(consume("a".to_owned(), 2)).await;
    assert_eq!((outcome.len(), entries), (2, vec!["success consume name a".to_owned()]));
    assert_eq!(recorded(coerce(false)).await.0.unwrap().to_string(), "5");
    let (outcome, entries) = recorded(coerce(true)).await;
    assert_eq!(outcome.err().unwrap().to_string(), "no");
    assert_eq!(entries, ["failed coerce boxed"]);
    assert_eq!(recorded(tail()).await.0.to_string(), "5");
    assert_eq!(recorded(generic("text", &[])).await.0.unwrap(), "text");
    let (outcome, entries) = recorded(count(2)).await;
    assert_eq!((outcome, entries.len()), (2, 3));
}

struct Service {
    id: u8,
    list: Vec<u8>,
}

impl Service {
    #[audit_action(entity_type = "service", action = "look", entity_id = self.id)]
    async fn look(&self) -> &[u8] {
        &self.list
    }

    /// Documented.
    #[must_use]
    #[audit_action(entity_type = "service", action = "change", entity_id = self.id)]
    async fn change(&mut self) -> &mut u8 {
        self.list.push(1);
        &mut self.list[0]
    }

    #[audit_action(entity_type = "service", action = "share", entity_id = self.id)]
    async fn share(self: Arc<Self>) -> u8 {
        self.id
    }

    #[audit_action(entity_type = "service", action = "end", entity_id = self.id)]
    async fn end(self, fail: bool) -> Result<Vec<u8>, Self> {
        if fail { Err(self) } else { Ok(self.list) }
    }
}

#[tokio::test]
async fn c11_methods_can_use_self() {
    let mut service = Service { id: 3, list: vec![7] };
    assert_eq!(recorded(service.look()).await.0, [7]);
    let (first, entries) = recorded(service.change()).await;
    *first += 1;
    assert_eq!(entries, ["success change service 3"]);
    let (outcome, entries) = recorded(service.end(true)).await;
    let Err(service) = outcome else { panic!("it fails") };
    assert_eq!(entries, ["success end service 3"], "an error without a text can't be told from a value");
    assert_eq!(recorded(service.end(false)).await.0.ok().unwrap(), [8, 1]);
    assert_eq!(
        recorded(Arc::new(Service { id: 4, list: vec![] }).share()).await.1,
        ["success share service 4"]
    );
}

trait Native {
    async fn native(&self) -> u8;
}

impl Native for u8 {
    #[audit_action(entity_type = "native", action = "read", entity_id = self)]
    async fn native(&self) -> u8 {
        *self
    }
}

#[async_trait::async_trait]
trait Boxed {
    async fn boxed(&self, name: String) -> Result<&u8, DbErr>;
    async fn unit(&mut self, parts: (u8, u8));
}

#[async_trait::async_trait]
impl Boxed for u8 {
    #[audit_action(entity_type = "boxed", action = "read", entity_id = self, entity_name = name)]
    async fn boxed(&self, name: String) -> Result<&u8, DbErr> {
        if name.is_empty() {
            return Err(DbErr::Custom("empty".to_owned()));
        }
        drop(name);
        Ok(self)
    }

    #[audit_action(entity_type = "boxed", action = "add", entity_id = self)]
    async fn unit(&mut self, (a, b): (u8, u8)) {
        *self += a + b;
    }
}

#[tokio::test]
async fn c11_trait_methods_can_be_recorded() {
    assert_eq!(recorded(9.native()).await, (9, vec!["success read native 9".to_owned()]));
    let (outcome, entries) = recorded(9.boxed("nine".to_owned())).await;
    assert_eq!((outcome.unwrap(), entries), (&9, vec!["success read boxed 9 nine".to_owned()]));
    let (outcome, entries) = recorded(9.boxed(String::new())).await;
    assert!(matches!(outcome, Err(DbErr::Custom(text)) if text == "empty"));
    assert_eq!(entries, ["failed read boxed 9"]);
    let mut sum = 1;
    recorded(sum.unit((2, 3))).await;
    assert_eq!(sum, 6);
}

struct NoConnection;

#[audit_action(entity_type = "db", action = "named")]
async fn by_name(db: &DatabaseConnection) {
    _ = db;
}

#[audit_action(entity_type = "db", action = "generic")]
async fn by_generic_name(txn: &impl ConnectionTrait) {
    _ = txn;
}

#[audit_action(entity_type = "db", action = "owned")]
async fn owned(db: DatabaseConnection) {
    drop(db);
}

#[audit_action(entity_type = "db", action = "other")]
async fn other(conn: &NoConnection) {
    let NoConnection = conn;
}

#[audit_action(entity_type = "db", action = "pointer", db = db)]
async fn pointer(db: &Arc<DatabaseConnection>) {
    _ = db;
}

#[audit_action(entity_type = "db", action = "field", db = state.1)]
async fn field(state: &(u8, &DatabaseConnection)) {
    _ = state.0;
}

#[tokio::test]
async fn c11_a_connection_is_found_by_name_or_expression() {
    let db = DatabaseConnection::default();
    for entries in [
        recorded(by_name(&db)).await.1,
        recorded(by_generic_name(&db)).await.1,
        recorded(owned(db.clone())).await.1,
        recorded(other(&NoConnection)).await.1,
        recorded(pointer(&Arc::new(db.clone()))).await.1,
        recorded(field(&(1, &db))).await.1,
    ] {
        assert_eq!(entries.len(), 1);
    }
}
