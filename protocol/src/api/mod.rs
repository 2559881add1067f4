//! The shapes of the HTTP API, shared by server and client: what is sent, not what is meant.
//!
//! Keys come in the order of the fields, an empty value is a key with `null`, `[]`, `""` or a zero
//! time unless its documentation says that it is left out.

pub mod add;
pub mod bandwidth;
pub mod content;
pub mod duration;
pub mod error;
pub mod gc;
pub mod graph;
pub mod id;
pub mod json;
mod lenient;
pub mod metrics;
pub mod options;
pub mod pin;
pub mod pinning;
pub mod query;
pub mod repair;
pub mod stage;
pub mod status;
pub mod time;
