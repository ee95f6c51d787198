//! `spheroctl segment`: the main job with no server. The same uploads, queue, worker and segmenter as a server's run on
//! embedded backends in a hidden folder among the results. A run that was interrupted goes on where it stood.
//!
//! In reading order:
//! * `inputs`, `natural`, `items`: the files that the arguments mean, their order, and the names of their results.
//! * `args`, `choices`, `pages`: the flags, and what they choose.
//! * `workplace`, `records`, `plan`: where a run works, what is done, what is still to be done.
//! * `session`, `work`, `output_files`: the backends of a run, and one image from file to results.
//! * `progress`, `table`, `summary`: what is said meanwhile and in the end.

mod args;
mod choices;
mod inputs;
mod items;
mod natural;
mod output_files;
mod pages;
mod plan;
mod progress;
mod records;
mod session;
mod summary;
mod table;
mod work;
mod workplace;

use std::process::ExitCode;

use crate::app::image_limits;
use crate::roles::exit::{Code, WithCode};
use crate::settings::Settings;

use choices::Choices;
use items::Item;
use plan::Planned;
use progress::Progress;
use records::Records;
use session::Session;
use summary::Summary;
use work::{Outcome, PageOutcome};
use workplace::Workplace;

pub use args::{PolarityName, SegmentArgs, SegmenterArgs};
pub use output_files::Output;
pub use pages::Pages;

/// Exit status of a wrong command line, as clap has it.
const WRONG_COMMAND_LINE: u8 = 2;

/// Runs the command.
///
/// # Errors
/// When the folder of results cannot be written, another run works in it, or an argument means no image. Images that
/// cannot be read are named on standard error, the others are done, and the exit status is 65.
pub async fn run(args: SegmentArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let started = tokio::time::Instant::now();
    let choices = match Choices::of(&args) {
        Ok(choices) => choices,
        Err(error) => {
            eprintln!("spheroctl: {error:#}");
            return Ok(WRONG_COMMAND_LINE.into());
        }
    };
    std::fs::create_dir_all(&args.out).or_exit(Code::CantCreate)?;
    let workplace = Workplace::make(&args.out)?;
    let records = Records::of(&args.out, &workplace);
    let items = items(&args)?;
    let images = items.len();
    let limits = image_limits(&settings);
    let planned =
        plan::plan(items, &choices, &records, &limits, args.fresh).or_exit(Code::CantCreate)?;
    let is_done = |planned: &Planned| planned.is_done(&choices);
    let (before, to_do): (Vec<Planned>, Vec<Planned>) = planned.into_iter().partition(is_done);
    let done_before = before.len();
    if done_before > 0 && !args.quiet {
        eprintln!("{done_before} of {images} images were done before");
    }
    let mut outcomes: Vec<Outcome> = before.into_iter().map(Outcome::done_before).collect();
    let session = Session {
        workplace: &workplace,
        choices: &choices,
        records: &records,
        progress: Progress::begin(to_do.len(), args.quiet),
    };
    let stopped = session.work(settings, to_do, &mut outcomes).await?;
    outcomes.sort_by(|a, b| natural::order(&a.item.path, &b.item.path));
    let not_reached = images - outcomes.len();
    let failed = outcomes.iter().filter(|outcome| outcome.has_failed());
    let summary = Summary {
        images,
        failed: failed.count(),
        done_before,
        not_reached,
        others: others(&outcomes, &records, not_reached),
        seconds: started.elapsed().as_secs_f64(),
        ..Summary::of(table::write(&outcomes, &records)?, &args.out)
    };
    summary.print(args.json)?;
    Ok(match stopped {
        Some(status) => {
            eprintln!("spheroctl: stopped; the same command goes on from here");
            status.into()
        }
        None if summary.failed > 0 => Code::Data.into(),
        None => ExitCode::SUCCESS,
    })
}

fn items(args: &SegmentArgs) -> anyhow::Result<Vec<Item>> {
    let mut inputs = inputs::find(&args.inputs, args.recursive, &args.out)?;
    if let Some(count) = args.samples {
        inputs.extend(items::draw(&args.out, count)?);
    }
    inputs.sort_by(|a, b| natural::order(&a.path, &b.path));
    Ok(items::of(inputs))
}

/// Records of other images or pages; unknown while images of this run are not reached, whose records may be old.
fn others(outcomes: &[Outcome], records: &Records, not_reached: usize) -> usize {
    if not_reached > 0 {
        return 0;
    }
    let pages = outcomes.iter().flat_map(|outcome| &outcome.of_pages);
    let done = pages
        .filter(|(_, page)| matches!(page, PageOutcome::Done { .. }))
        .count();
    records.count().saturating_sub(done)
}
