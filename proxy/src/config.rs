//! Settings: what each section of the configuration file says.

pub mod auth;
