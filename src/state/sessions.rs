//! The sessions part, to come.
