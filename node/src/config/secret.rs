//! Values that never show up in logs, errors or debug output.

use std::fmt;

/// A value whose text forms are `<hidden>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

/// Key material.
pub type SecretBytes = Secret<Vec<u8>>;
/// The pre-shared key around the cluster's swarm.
pub type Psk = Secret<[u8; 32]>;

impl<T> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}
