//! The harness of the black-box tests, and the house rules.

pub mod tidy;
