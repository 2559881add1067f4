//! HTTP over any byte pipe: connections, requests' framing, answers. It knows no endpoint.

pub(crate) mod access_log;
mod framing;
mod inbound;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod stream;
pub(crate) mod tls;
