//! To come.

pub mod error;

pub use error::ClusterError;
