//! The redis part, to come.
