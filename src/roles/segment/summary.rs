//! What a run did: a table for a person, as wide as the terminal, or JSON.

use std::path::Path;

use serde::Serialize;

use crate::roles::output;

use super::output_files::TABLE;
use super::table::{Line, State};

/// Lines of the table that are printed; the others are in `measurements.csv`.
const LINES_MAX: usize = 20;
/// Failures that are said again at the end; each was said when it happened.
const FAILURES_MAX: usize = 20;
/// Width where standard output is no terminal, and the least that the table is made for.
const WIDTH: usize = 100;
const WIDTH_MIN: usize = 60;

/// What a run did. Its JSON form is stable: keys may be added, none changes its meaning.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Image files.
    pub(super) images: usize,
    /// Image files of which a page, or all, could not be done.
    pub(super) failed: usize,
    /// Image files that an earlier run had done.
    pub(super) done_before: usize,
    /// Image files that were not reached because the run was interrupted.
    pub(super) not_reached: usize,
    /// Pages in the table.
    pub(super) pages: usize,
    /// Whole objects.
    pub(super) objects: u64,
    /// Dense cores in them.
    pub(super) cores: u64,
    /// How long the run took.
    pub(super) seconds: f64,
    /// The folder of results.
    pub(super) out: String,
    /// The table in it.
    pub(super) table: String,
    /// Pages of earlier runs (other images, pages or names) whose results lie in the folder and not in the table.
    pub(super) others: usize,
    /// Each page, in the order of the table.
    pub(super) results: Vec<Line>,
}

impl Summary {
    /// Of these lines; the counts of files are for the caller to fill in.
    pub(super) fn of(results: Vec<Line>, out: &Path) -> Self {
        let tallies = || results.iter().filter_map(|line| line.tally.as_ref());
        Self {
            images: 0,
            failed: 0,
            done_before: 0,
            not_reached: 0,
            pages: results.len(),
            objects: tallies().map(|tally| tally.objects).sum(),
            cores: tallies().map(|tally| tally.cores).sum(),
            seconds: 0.0,
            out: out.display().to_string(),
            table: out.join(TABLE).display().to_string(),
            others: 0,
            results,
        }
    }

    /// Prints it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn print(&self, json: bool) -> std::io::Result<()> {
        if json {
            return output::json(self);
        }
        let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into());
        output::line(&self.text(width.max(WIDTH_MIN)))
    }

    fn text(&self, width: usize) -> String {
        let mut lines = table(&self.results, width);
        lines.push(String::new());
        lines.push(self.totals());
        lines.extend(self.failures());
        lines.push(format!("table:     {}", self.table));
        lines.push(format!(
            "per image: {}",
            Path::new(&self.out).join("*").display()
        ));
        if self.others > 0 {
            lines.push(format!(
                "{} results of earlier runs (other images or pages) lie there too and are not in the table",
                self.others
            ));
        }
        lines.join("\n")
    }

    fn totals(&self) -> String {
        let Self {
            images,
            failed,
            done_before,
            not_reached,
            objects,
            cores,
            seconds,
            ..
        } = self;
        let done = images - failed - not_reached;
        let mut text = format!("{done} of {images} images, {objects} objects");
        if *cores > 0 {
            text += &format!(" with {cores} cores");
        }
        text += &format!(", {seconds:.1} s");
        if *done_before > 0 {
            text += &format!("; {done_before} of {images} done before");
        }
        if *failed > 0 {
            text += &format!("; {failed} failed");
        }
        if *not_reached > 0 {
            text += &format!("; {not_reached} not reached");
        }
        text
    }

    fn failures(&self) -> Vec<String> {
        let failed = || {
            self.results
                .iter()
                .filter_map(|line| Some((line, line.reason.as_ref()?)))
        };
        let mut lines: Vec<_> = failed()
            .take(FAILURES_MAX)
            .map(|(line, why)| format!("failed:    {}: {why}", line.label()))
            .collect();
        let more = failed().count().saturating_sub(FAILURES_MAX);
        if more > 0 {
            lines.push(format!("… and {more} more failures"));
        }
        lines
    }
}

impl Line {
    fn label(&self) -> String {
        if self.several_pages {
            format!("{}, page {}", self.image, self.page)
        } else {
            self.image.clone()
        }
    }

    /// One for each of the [`HEADINGS`] behind the label.
    fn cells(&self) -> Vec<String> {
        let Some(tally) = &self.tally else {
            let mut cells = vec![String::new(); HEADINGS.len() - 2];
            cells.push(self.state.name().to_owned());
            return cells;
        };
        let area = match tally.area_um2 {
            _ if tally.objects == 0 => String::new(),
            Some(area) => format!("{area:.0} µm²"),
            None => format!("{} px", tally.area_px),
        };
        let diameter = match (tally.equivalent_diameter_um, tally.equivalent_diameter_px) {
            (Some(um), _) => format!("{um:.1} µm"),
            (None, Some(px)) => format!("{px:.1} px"),
            (None, None) => String::new(),
        };
        let state = match (self.state, &tally.note) {
            (State::Done, Some(note)) => note.clone(),
            (state, _) => state.name().to_owned(),
        };
        let confidence = tally.confidence.map(|score| format!("{score:.2}"));
        let seconds = self.seconds.map(|seconds| format!("{seconds:.2}"));
        vec![
            tally.objects.to_string(),
            area,
            diameter,
            confidence.unwrap_or_default(),
            seconds.unwrap_or_default(),
            state,
        ]
    }
}

/// Of the table: the label to the left, numbers to the right, the state to the left.
const HEADINGS: &[&str] = &[
    "image",
    "objects",
    "area",
    "mean diameter",
    "confidence",
    "s",
    "state",
];

/// The first lines as columns that fit the width: labels are cut at their beginning, where most of them agree, and the
/// state, which may be a sentence, at its end.
fn table(results: &[Line], width: usize) -> Vec<String> {
    if results.is_empty() {
        return Vec::new();
    }
    let headings = HEADINGS
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let mut rows: Vec<Vec<String>> = vec![headings];
    for line in results.iter().take(LINES_MAX) {
        let cells = line.cells().into_iter();
        rows.push(std::iter::once(line.label()).chain(cells).collect());
    }
    let last = HEADINGS.len() - 1;
    let widest = |column: usize| {
        rows.iter()
            .map(|row| length(&row[column]))
            .max()
            .unwrap_or(0)
    };
    let numbers: Vec<usize> = (1..last).map(widest).collect();
    let taken = numbers.iter().sum::<usize>() + GAP.len() * last;
    let room = width.saturating_sub(taken);
    let label_width = widest(0).min(room * 2 / 3);
    let format = |row: &Vec<String>| {
        let label = keep_end(&row[0], label_width);
        let mut text = format!("{label}{}", " ".repeat(label_width - length(&label)));
        for (cell, width) in row[1..last].iter().zip(&numbers) {
            text += &format!("{GAP}{}{cell}", " ".repeat(width - length(cell)));
        }
        text += &format!("{GAP}{}", keep_beginning(&row[last], room - label_width));
        text.trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(format).collect();
    if results.len() > LINES_MAX {
        lines.push(format!("… and {} more", results.len() - LINES_MAX));
    }
    lines
}

const GAP: &str = "  ";

fn length(text: &str) -> usize {
    text.chars().count()
}

fn keep_end(text: &str, width: usize) -> String {
    let excess = length(text).saturating_sub(width);
    if excess == 0 {
        return text.to_owned();
    }
    let end: String = text.chars().skip(excess + 1).collect();
    format!("…{end}")
}

fn keep_beginning(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{beginning}…")
}

#[cfg(test)]
mod tests {
    use super::super::records::Tally;
    use super::*;

    fn line(image: &str, objects: u64) -> Line {
        Line {
            image: image.into(),
            page: 0,
            state: State::Done,
            several_pages: false,
            tally: Some(Tally {
                objects,
                area_px: 100 * objects,
                equivalent_diameter_px: Some(11.0),
                ..Tally::default()
            }),
            seconds: Some(0.25),
            reason: None,
        }
    }

    #[test]
    fn the_table_fits_the_terminal() {
        let long = "a-very-long-folder-name/".repeat(9) + "the-end.tif";
        let mut results = vec![line(&long, 3), line("b.png", 12)];
        results[1].tally.as_mut().unwrap().note = Some("a note that is long. ".repeat(9));
        results.extend((0..30).map(|number| line(&format!("{number}.png"), 1)));
        let mut summary = Summary::of(results, Path::new("out"));
        summary.images = 32;
        let text = summary.text(80);
        let table: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(table.len(), 1 + LINES_MAX + 1);
        assert!(table.iter().all(|line| length(line) <= 80), "{text}");
        assert!(
            table[1].contains("the-end.tif") && table[21] == "… and 12 more",
            "{text}"
        );
        assert!(text.contains("32 of 32 images, 45 objects"), "{text}");
    }

    #[test]
    fn failures_are_counted_and_said_with_their_reasons() {
        let mut failed = line("broken.tif", 0);
        (failed.state, failed.tally, failed.seconds) = (State::Failed, None, None);
        failed.reason = Some("truncated TIFF".into());
        let mut summary = Summary::of(vec![line("a.tif", 1), failed], Path::new("out"));
        (summary.images, summary.failed, summary.done_before) = (2, 1, 1);
        let text = summary.text(100);
        assert!(
            text.contains("1 of 2 images, 1 objects, 0.0 s; 1 of 2 done before; 1 failed"),
            "{text}"
        );
        assert!(
            text.contains("failed:    broken.tif: truncated TIFF"),
            "{text}"
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["results"][1]["reason"], "truncated TIFF");
        assert_eq!(json["results"][0]["objects"], 1);
    }
}
