//! The consensus on real files, over pipes in memory.

mod agreement;
mod cluster;
mod cut;
mod mem_links;
mod profile;
mod recover;
mod removed;
mod short_pipe;
mod suite;
