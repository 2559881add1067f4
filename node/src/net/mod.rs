//! To come.

pub mod keys;
