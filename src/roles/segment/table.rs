//! `measurements.csv`: put together from the records when the run ends, in the order of the images, whoever did them.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::Context;
use serde::Serialize;

use crate::roles::exit::{Code, WithCode};
use crate::segment::SegmentError;
use crate::segment::export::csv::MeasurementsCsv;

use super::output_files::TABLE;
use super::records::{Records, Tally};
use super::work::{Outcome, PageOutcome};

/// How it went with a page: a line of the summary.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) image: String,
    pub(super) page: u64,
    pub(super) state: State,
    /// Of a stack.
    #[serde(skip)]
    pub(super) several_pages: bool,
    #[serde(flatten)]
    pub(super) tally: Option<Tally>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Done,
    DoneBefore,
    Failed,
}

impl State {
    /// In the summary.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DoneBefore => "done before",
            Self::Failed => "failed",
        }
    }
}

/// The rows that `fill` adds to a table, without its header.
///
/// # Errors
/// Those of `fill`.
pub(super) fn rows(
    fill: impl FnOnce(&mut MeasurementsCsv<Vec<u8>>) -> Result<(), SegmentError>,
) -> anyhow::Result<String> {
    let mut table = MeasurementsCsv::new(Vec::new())?;
    fill(&mut table)?;
    let text = String::from_utf8(table.finish()?)?;
    // No column's name holds a line break.
    Ok(text
        .split_once('\n')
        .map_or(String::new(), |(_, rows)| rows.to_owned()))
}

/// Writes the table of these outcomes, and says what is in it. It takes its name when it and all results are on the
/// disk.
///
/// # Errors
/// Exit status 73 where it cannot be written.
pub(super) fn write(outcomes: &[Outcome], records: &Records) -> anyhow::Result<Vec<Line>> {
    let written = write_lines(outcomes, records);
    let name = || records.out.join(TABLE).display().to_string();
    written.with_context(name).or_exit(Code::CantCreate)
}

fn write_lines(outcomes: &[Outcome], records: &Records) -> anyhow::Result<Vec<Line>> {
    let unfinished = records.work.join(TABLE);
    let mut table = BufWriter::new(File::create(&unfinished)?);
    table.write_all(&MeasurementsCsv::new(Vec::new())?.finish()?)?;
    let mut lines = Vec::new();
    for outcome in outcomes {
        for (page, of_page) in &outcome.of_pages {
            let (line, rows) = line(outcome, *page, of_page, records)?;
            table.write_all(rows.as_bytes())?;
            lines.push(line);
        }
    }
    table.flush()?;
    // All results at once: a call for each file would be felt with ten thousand of them.
    let folder = File::open(&records.out)?;
    rustix::fs::syncfs(&folder)?;
    std::fs::rename(&unfinished, records.out.join(TABLE))?;
    folder.sync_all()?;
    Ok(lines)
}

/// A page's line of the summary and its rows of the table.
fn line(
    outcome: &Outcome,
    page: u64,
    of_page: &PageOutcome,
    records: &Records,
) -> anyhow::Result<(Line, String)> {
    let name = &outcome.item.name;
    let mut line = Line {
        image: name.clone(),
        page,
        state: State::Failed,
        several_pages: outcome.pages > 1,
        tally: None,
        seconds: None,
        reason: None,
    };
    let why = match of_page {
        PageOutcome::Failed(why) => why,
        PageOutcome::Done { before } => {
            let stem = outcome.item.page_stem(page, outcome.pages);
            let record = records.read(&stem)?;
            line.state = if *before {
                State::DoneBefore
            } else {
                State::Done
            };
            line.tally = Some(record.tally);
            line.seconds = Some(record.seconds);
            return Ok((line, record.rows));
        }
    };
    line.reason = Some(why.clone());
    let page = u32::try_from(page).unwrap_or(u32::MAX);
    Ok((line, rows(|table| table.failure(name, page, why))?))
}
