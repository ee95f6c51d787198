//! What the program can be asked, and its answers: JSON for another program, or a table for a person.

mod accuracy;
mod bandwidth;
mod drawing;
mod scenes;
mod steps;
mod timing;
mod truth;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: segment time IMAGE [ROUNDS] [--exports]   how long decoding and segmenting take, as JSON
       segment bandwidth                         what the memory gives, as JSON
       segment draw DIR                          the synthetic images of the timing table
       segment accuracy DIR [ONLY]               how right it is on the images with truth in DIR (a name's part: only those)";

/// Runs the command of this process.
pub fn main() -> ExitCode {
    // `cargo bench` adds a flag of its own.
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    match answer(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("segment: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(words: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    match words {
        ["time", file, options @ ..] => timing::run(Path::new(file), options)?,
        ["bandwidth"] => println!("{}", serde_json::to_string(&bandwidth::measure())?),
        ["draw", dir] => drawing::write(Path::new(dir))?,
        ["accuracy", dir] => accuracy::run(Path::new(dir), "")?,
        ["accuracy", dir, only] => accuracy::run(Path::new(dir), only)?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
