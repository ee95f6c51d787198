//! Measures the job queue, on Redis, in the process, and behind the API. `scripts/bench queue` runs this beside programs
//! of the same kind for the peers and prints the tables; `program` says what it can be asked.

#[path = "../program.rs"]
mod bench;
mod program;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    bench::main("queue", program::answer).await
}
