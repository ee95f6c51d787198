//! Standard output: the results of commands. Log lines never go there while a command prints a result.

use std::io::{self, Write};

use serde::Serialize;

/// Prints a text with a line break.
///
/// # Errors
/// When standard output cannot be written; a reader that went away ends the command quietly (see `exit`).
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As [`line`]; a value that JSON cannot hold.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}
