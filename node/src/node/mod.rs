//! A whole peer: [`start`] puts the parts together in order, [`RunningNode`] stops them in the
//! opposite one.
//!
//! **Architecture invariant:** this is the only folder that knows all the others.

mod apis;
mod error;
mod join;
mod node_ipfs;
mod running;
mod serving;
mod start;

pub use self::{
    error::StartError,
    running::{Addresses, Exit, RunningNode},
    start::{StartOptions, start},
};
