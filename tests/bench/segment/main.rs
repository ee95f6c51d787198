//! Times the builtin segmenter on one image, and tries how right it is. `scripts/bench segment` and
//! `scripts/bench accuracy` run this and print the tables; `program` says what it can be asked.

mod program;

use spheroctl::segment;

fn main() -> std::process::ExitCode {
    program::main()
}
