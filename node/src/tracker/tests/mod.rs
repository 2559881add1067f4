//! The tracker over a real state and a real ledger, beside an IPFS node that does what a test says.

mod ledger;
mod node;
mod ownership;
mod peer;
mod pins;
mod queue;
