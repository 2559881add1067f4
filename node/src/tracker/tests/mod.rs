//! The tracker's parts on real files.

mod ledger;
mod queue;
