//! What is done: one record for each page of an image, written when all its files are, so that a run which was
//! interrupted goes on where it stood.
//!
//! A record counts only for the same file (path, length, time of its last change), the same choices and the same
//! version of the program, and while the files that it names have their lengths: that is how results which a power cut
//! took back are noticed. Files take their names when they are whole, the record comes last, and it goes first.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::segment::{Part, Segmentation};

use super::choices::Choices;
use super::inputs::absolute;
use super::items::{Item, with_suffix};
use super::output_files::Output;
use super::workplace::Workplace;

/// Raised when a record or the files it stands for change their form.
const FORM: u32 = 1;

/// What a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    form: u32,
    program: String,
    path: String,
    name: String,
    bytes: u64,
    /// Nanoseconds since 1970, as text: more digits than JSON's numbers have.
    modified_ns: String,
    /// The JSON form, because a number that is read back may differ in its last bit.
    parameters: String,
    outputs: Vec<Output>,
}

impl Source {
    /// Of this file as it is now.
    ///
    /// # Errors
    /// When there is no such file.
    pub(super) fn of(item: &Item, choices: &Choices) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(&item.path)?;
        Ok(Self {
            form: FORM,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            path: absolute(&item.path).to_string_lossy().into_owned(),
            name: item.name.clone(),
            bytes: metadata.len(),
            modified_ns: modified_ns(&metadata),
            parameters: serde_json::to_string(&choices.parameters)?,
            outputs: choices.outputs.clone(),
        })
    }
}

fn modified_ns(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or_else(String::new, |since| since.as_nanos().to_string())
}

/// A page with its results.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) source: Source,
    pub(super) page: u64,
    /// How many pages the file has.
    pub(super) pages: u64,
    /// The length of each file that was written, in bytes.
    pub(super) files: Vec<(Output, u64)>,
    /// The rows of the table.
    pub(super) rows: String,
    pub(super) tally: Tally,
    /// How long the page took to be segmented.
    pub(super) seconds: f64,
}

/// The objects of a page in a few numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Whole objects.
    pub(super) objects: u64,
    /// Dense cores in them.
    pub(super) cores: u64,
    /// Area of the whole objects together, in pixels.
    pub(super) area_px: u64,
    /// The same in µm², where a trusted pixel size is known.
    pub(super) area_um2: Option<f64>,
    /// Mean over the whole objects of the diameter of the disk with the same area, in pixels; none without an object.
    pub(super) equivalent_diameter_px: Option<f64>,
    /// The same in µm.
    pub(super) equivalent_diameter_um: Option<f64>,
    /// Mean over the whole objects of how sure the segmenter is of them, 0–1, where it says so.
    pub(super) confidence: Option<f64>,
    /// Why there is nothing, or what else there is to know.
    pub(super) note: Option<String>,
}

impl Tally {
    /// Counts the objects of a result.
    pub(super) fn of(result: &Segmentation) -> Self {
        let part = |part| {
            result
                .objects
                .iter()
                .filter(move |object| object.part == part)
        };
        let whole = || part(Part::Whole).map(|object| &object.measurements);
        let um = || whole().map(|found| found.micrometres.as_ref());
        let objects = whole().count() as u64;
        let mean = |sum: f64| (objects > 0).then(|| sum / objects as f64);
        let sum_um: Option<f64> = um().map(|um| Some(um?.equivalent_diameter_um)).sum();
        Self {
            objects,
            cores: part(Part::Core).count() as u64,
            area_px: whole().map(|found| found.area_px).sum(),
            area_um2: um()
                .map(|um| Some(um?.area_um2))
                .sum::<Option<f64>>()
                .filter(|_| objects > 0),
            equivalent_diameter_px: mean(whole().map(|found| found.equivalent_diameter_px).sum()),
            equivalent_diameter_um: sum_um.and_then(mean),
            confidence: part(Part::Whole)
                .map(|object| object.confidence)
                .sum::<Option<f64>>()
                .and_then(mean),
            note: result.note.clone(),
        }
    }
}

/// The records in the folder of results.
#[derive(Debug, Clone)]
pub(super) struct Records {
    /// Where they lie.
    folder: PathBuf,
    /// Where the results lie.
    pub(super) out: PathBuf,
    /// Where unfinished files lie.
    pub(super) work: PathBuf,
}

impl Records {
    /// The records of the results in `out`.
    pub(super) fn of(out: &Path, workplace: &Workplace) -> Self {
        Self {
            folder: workplace.records.clone(),
            out: out.to_owned(),
            work: workplace.work.clone(),
        }
    }

    /// Whether nothing was ever done here.
    pub(super) fn is_empty(&self) -> bool {
        self.stems().next().is_none()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.stems().count()
    }

    fn stems(&self) -> impl Iterator<Item = walkdir::DirEntry> {
        let entries = WalkDir::new(&self.folder)
            .into_iter()
            .filter_map(Result::ok);
        entries.filter(|entry| entry.file_type().is_file())
    }

    /// The record of a page, where it counts for this source.
    pub(super) fn find(&self, stem: &Path, source: &Source) -> Option<Record> {
        let record = self.read(stem).ok()?;
        let there = |(output, bytes): &(Output, u64)| {
            let metadata = std::fs::metadata(self.result(stem, *output));
            metadata.is_ok_and(|metadata| metadata.len() == *bytes)
        };
        (record.source == *source && record.files.iter().all(there)).then_some(record)
    }

    /// The record of a page, whatever its source.
    ///
    /// # Errors
    /// When there is none, or none that can be read.
    pub(super) fn read(&self, stem: &Path) -> std::io::Result<Record> {
        Ok(serde_json::from_slice(&std::fs::read(self.path(stem))?)?)
    }

    /// Removes the record of a page and the results that it names, so that none of an earlier run stays beside new
    /// ones. Files that no record names are somebody else's.
    ///
    /// # Errors
    /// The file system's own; what is not there is no error.
    pub(super) fn forget(&self, stem: &Path) -> std::io::Result<()> {
        let files = self.read(stem).map_or(Vec::new(), |record| record.files);
        remove(&self.path(stem))?;
        let mut outputs = files.iter().map(|(output, _)| self.result(stem, *output));
        outputs.try_for_each(|file| remove(&file))
    }

    /// Where an unfinished file of a page lies.
    pub(super) fn unfinished(&self, token: &str, output: Output) -> PathBuf {
        self.work.join(format!("{token}{}", output.suffix()))
    }

    /// Gives the unfinished files of a page their names and writes its record; their lengths are put into it.
    ///
    /// # Errors
    /// The file system's own.
    pub(super) fn keep(&self, stem: &Path, token: &str, mut record: Record) -> std::io::Result<()> {
        self.forget(stem)?;
        make_parent(&self.out.join(stem))?;
        for output in record.source.outputs.clone() {
            let unfinished = self.unfinished(token, output);
            record
                .files
                .push((output, std::fs::metadata(&unfinished)?.len()));
            std::fs::rename(unfinished, self.result(stem, output))?;
        }
        let unfinished = self.work.join(format!("{token}.json"));
        std::fs::write(&unfinished, serde_json::to_vec(&record)?)?;
        let path = self.path(stem);
        make_parent(&path)?;
        std::fs::rename(unfinished, path)
    }

    fn path(&self, stem: &Path) -> PathBuf {
        with_suffix(&self.folder.join(stem), ".json")
    }

    fn result(&self, stem: &Path, output: Output) -> PathBuf {
        with_suffix(&self.out.join(stem), output.suffix())
    }
}

fn make_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
