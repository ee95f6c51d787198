//! Measures the event backbone: groups, inbox, outbox and the embedded log. `scripts/bench events` runs this and prints the
//! tables; `program` says what it can be asked.

#[path = "../program.rs"]
mod bench;
mod program;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    bench::main("events", program::answer).await
}
