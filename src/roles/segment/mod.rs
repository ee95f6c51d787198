//! `spheroctl segment`: the main job with no server. The same uploads, queue, worker and segmenter as a server's run on
//! embedded backends in a work folder beside the results, which is removed at the end.

mod items;
mod results;
mod workplace;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::app::App;
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::roles::args::SegmentArgs;
use crate::roles::exit::{Code, WithCode};
use crate::roles::{output, worker};
use crate::settings::Settings;

use items::Item;
use results::{Done, Results};
use workplace::{Account, Workplace};

/// Longest wait for the worker and the relay to end once all images are done.
const ENDING_PATIENCE: Duration = Duration::from_secs(10);

/// Exit status after Ctrl-C, as shells have it: 128 + SIGINT. The work folder is gone, finished results stay.
const INTERRUPTED: u8 = 130;

/// What a run did.
#[derive(Debug, Default, Serialize)]
struct Summary {
    images: usize,
    failed: usize,
    objects: usize,
    seconds: f64,
    out: String,
}

/// Runs the command.
///
/// # Errors
/// When the folder of results cannot be written. Images that cannot be read are named on standard error, the others
/// are done, and the exit status is 65.
pub async fn run(args: SegmentArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let started = tokio::time::Instant::now();
    std::fs::create_dir_all(&args.out).or_exit(Code::CantCreate)?;
    let samples = args
        .samples
        .map_or_else(|| Ok(Vec::new()), |count| items::draw(&args.out, count))?;
    let items = items::of(args.files.iter().chain(&samples));
    let workplace = Workplace::make(&args.out).or_exit(Code::CantCreate)?;
    let app = open(&workplace, settings).await?;
    let account = Account::make(&app).await?;
    worker::start_worker(&app);
    app.start_relay();

    let outcome = tokio::select! {
        outcome = segment_all(&app, &account, &args, items) => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    app.lifecycle.finish(ENDING_PATIENCE).await;
    app.close().await;
    let Some(outcome) = outcome else {
        return Ok(INTERRUPTED.into());
    };
    let mut summary = outcome?;
    summary.seconds = started.elapsed().as_secs_f64();
    report(&args, &summary)?;
    Ok(if summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        Code::Data.into()
    })
}

async fn open(workplace: &Workplace, settings: Settings) -> anyhow::Result<App> {
    let settings = workplace.settings(settings);
    let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await?;
    app.migrate(false).await?;
    Ok(app)
}

/// Segments every item, a bounded number at once, and writes the results in the order of the items.
async fn segment_all(
    app: &App,
    account: &Account,
    args: &SegmentArgs,
    items: Vec<Item>,
) -> anyhow::Result<Summary> {
    let mut results = Results::begin(&args.out)?;
    let mut summary = Summary {
        images: items.len(),
        out: args.out.display().to_string(),
        ..Summary::default()
    };
    let bar = progress_bar(items.len());
    // Twice as many as run: while some are segmented, others are read in and written out.
    let at_once = 2 * app.settings.worker.concurrency;
    let mut done = futures::stream::iter(items)
        .map(|item| results::of_item(app, account, args.page, item, &args.out))
        .buffered(at_once);
    while let Some(item) = done.next().await {
        match &item.outcome {
            Ok(pages) => summary.objects += pages.iter().map(Done::objects).sum::<usize>(),
            Err(why) => {
                summary.failed += 1;
                bar.suspend(|| eprintln!("spheroctl: {}: {why}", item.path.display()));
            }
        }
        results.add(&item)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    results.finish()?;
    Ok(summary)
}

fn progress_bar(images: usize) -> ProgressBar {
    let style = "{bar:40} {pos}/{len} images, {per_sec}, {eta} left";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(images as u64).with_style(style)
}

fn report(args: &SegmentArgs, summary: &Summary) -> anyhow::Result<()> {
    if args.json {
        return Ok(output::json(summary)?);
    }
    let Summary {
        images,
        failed,
        objects,
        seconds,
        out,
    } = summary;
    let table = Path::new(out).join("measurements.csv");
    let done = images - failed;
    output::line(&format!(
        "{done} of {images} images, {objects} objects, {seconds:.1} s"
    ))?;
    output::line(&format!("table: {}", table.display()))?;
    Ok(output::line(&format!(
        "pictures: {}",
        Path::new(out).join("*.overlay.png").display()
    ))?)
}
