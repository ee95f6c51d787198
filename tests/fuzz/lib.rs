//! The room under test, and nothing else of the program.

#[path = "../../src/segment/mod.rs"]
pub mod segment;
