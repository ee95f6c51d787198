//! The memory part, to come.
