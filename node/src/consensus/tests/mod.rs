//! The consensus on real files, over pipes in memory.

mod cluster;
mod mem_links;
mod profile;
mod suite;
