//! The shapes of the HTTP API, shared by server and client: what is sent, not what is meant.
//!
//! Keys come in the order of the fields, an empty value is a key with `null`, `[]`, `""` or a zero
//! time unless its documentation says that it is left out.

pub mod duration;
mod lenient;
pub mod pin;
pub mod time;
