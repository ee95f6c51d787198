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

    /// Behind the label: objects, area, diameter, seconds, state.
    fn cells(&self) -> [String; 5] {
        let Some(tally) = &self.tally else {
            let empty = String::new;
            return [empty(), empty(), empty(), empty(), self.state.name().into()];
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
        let seconds = self
            .seconds
            .map_or(String::new(), |seconds| format!("{seconds:.2}"));
        [tally.objects.to_string(), area, diameter, seconds, state]
    }
}

const HEADINGS: [&str; 6] = ["image", "objects", "area", "mean diameter", "s", "state"];

/// The first lines as columns: names to the left and cut at their beginning where room is scarce, numbers to the
/// right.
fn table(results: &[Line], width: usize) -> Vec<String> {
    let shown: Vec<(String, [String; 5])> = results
        .iter()
        .take(LINES_MAX)
        .map(|line| (line.label(), line.cells()))
        .collect();
    if shown.is_empty() {
        return Vec::new();
    }
    let column = |index: usize| {
        let cells = shown.iter().map(|(_, cells)| length(&cells[index]));
        cells.max().unwrap_or(0).max(length(HEADINGS[index + 1]))
    };
    let widths: [usize; 4] = std::array::from_fn(column);
    let gaps = 2 * widths.len() + 2;
    let room = width.saturating_sub(widths.iter().sum::<usize>() + gaps);
    let longest = shown
        .iter()
        .map(|(label, _)| length(label))
        .max()
        .unwrap_or(0);
    // A third of what is left is for the state, which may be a sentence.
    let label_width = longest.max(length(HEADINGS[0])).min(room * 2 / 3);
    let state_width = room - label_width;
    let row = |label: &str, cells: [&str; 5]| {
        let label = keep_end(label, label_width);
        let mut text = format!("{label}{}", " ".repeat(label_width - length(&label)));
        for (cell, width) in cells.iter().zip(widths) {
            text += &format!("  {}{cell}", " ".repeat(width - length(cell)));
        }
        format!("{text}  {}", keep_beginning(cells[4], state_width))
            .trim_end()
            .to_owned()
    };
    let [first, rest @ ..] = HEADINGS;
    let mut lines = vec![row(first, rest)];
    lines.extend(
        shown
            .iter()
            .map(|(label, cells)| row(label, cells.each_ref().map(String::as_str))),
    );
    if results.len() > LINES_MAX {
        lines.push(format!("… and {} more", results.len() - LINES_MAX));
    }
    lines
}

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
