//! Which topics an instance has subscribers for, as others need to know it: a filter that says no for certain, or
//! maybe.
//!
//! All bits of a topic lie in one block of 512 bits (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient
//! Bloom Filters", 2007), so a publisher that asks for a hundred instances has a hundred cache misses and not a
//! thousand. The filter takes the size that the number of topics needs, so small sites cost others little.

mod delta;
mod filter;
mod own;
mod theirs;

pub use self::{
    filter::{Block, Filter, Probe, Sizing},
    own::{Own, Summary},
    theirs::Theirs,
};

#[cfg(test)]
mod tests;
