//! What every bench that is a program does: it answers one command with one line of JSON, whose instants are seconds since
//! 1970.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Whatever ends a run; its text is printed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Prints the answer to the words of the command line, or on standard error why there is none.
pub async fn main(
    name: &str,
    answer: impl AsyncFnOnce(&[&str]) -> Result<Value, Failure>,
) -> ExitCode {
    // `cargo bench` adds a flag of its own.
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    match answer(&words).await {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Seconds since 1970.
pub fn seconds(instant: DateTime<Utc>) -> f64 {
    instant.timestamp_micros() as f64 / 1e6
}
