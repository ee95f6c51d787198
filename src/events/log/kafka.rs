//! The kafka part, to come.
