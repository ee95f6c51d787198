//! Parses the command line and returns the exit code.

fn main() {}
