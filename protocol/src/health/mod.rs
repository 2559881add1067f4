//! What the members last said about themselves, and what follows from silence.
//!
//! Metrics count for their TTL *from their arrival*, by this peer's monotonic clock: nobody's wall
//! clock decides who is alive. Wall times are kept for showing, and to compare the clocks.

mod alerts;
mod view;

pub use alerts::{Alert, Alerts};
pub use view::{CLOCK_OFFSET_MAX_MS, HealthView, PING, Received};
