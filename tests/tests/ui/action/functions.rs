//! Functions whose outcome can't be recorded. Mistakes in the options are reported together with those.

use std::fmt::Display;
use std::future::Future;

use audit_seaorm::audit_action;

#[audit_action(entity_type = "alert", action = "escalate")]
fn not_async() {}

#[audit_action(entity_type = "alert")]
fn future() -> impl Future<Output = ()> {
    async {}
}

#[audit_action(entity_type = "alert", action = "escalate", colour = "red")]
async fn opaque() -> impl Display {
    5
}

#[audit_action(entity_type = "alert", action = "escalate")]
async fn opaque_inside() -> Result<(u8, Vec<impl Display>), ()> {
    Ok((5, vec![5]))
}

fn main() {}
