//! Where an address is.

use std::fmt::Debug;
use std::net::IpAddr;

use crate::Place;

/// Knows where addresses are: a database of a provider, or a service.
///
/// Contract: quick, because a login waits for it; who asks a service keeps answers and limits the time. An error is no
/// answer: the login is recorded without a place. Calls may come from many tasks at once.
#[async_trait::async_trait]
pub trait Geography: Debug + Send + Sync {
    /// The place of this address, or `None` if it isn't known.
    async fn place(&self, address: IpAddr) -> Option<Place>;
}

/// Knows nothing: what counts where nothing else is set.
#[async_trait::async_trait]
impl Geography for () {
    async fn place(&self, _address: IpAddr) -> Option<Place> {
        None
    }
}
