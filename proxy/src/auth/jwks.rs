//! JSON Web Key Sets (RFC 7517): reading a set, and keeping one up to date.

mod set;
mod source;

pub(crate) use source::Source;
