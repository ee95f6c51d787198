//! Settings.
mod sections;
pub use sections::*;
