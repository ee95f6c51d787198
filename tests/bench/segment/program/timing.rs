//! One image, decoded and segmented again and again by one thread, each part timed.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::steps;
use crate::segment::export::csv::MeasurementsCsv;
use crate::segment::export::{geojson, labels, overlay};
use crate::segment::{Limits, Parameters, Raster, SegmentError, Segmentation, decode, segment};

#[derive(Serialize)]
struct Answer {
    width: u32,
    height: u32,
    bytes_per_sample: u64,
    file_bytes: u64,
    objects: usize,
    rounds: Vec<Round>,
    /// Largest resident size of the process so far, in KiB; 0 where the system does not tell.
    peak_rss_kib: u64,
}

#[derive(Serialize)]
struct Round {
    decode_ms: f64,
    segment_ms: f64,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exports_ms: Option<Exports>,
}

/// A part of the work.
#[derive(Serialize)]
struct Step {
    name: String,
    ms: f64,
    /// Bytes that it must move to and from memory whatever it does in between, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct Exports {
    csv: f64,
    geojson: f64,
    labels: f64,
    overlay: f64,
}

/// Times the file and prints the figures.
pub fn run(file: &Path, options: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let exports = options.contains(&"--exports");
    let rounds = options
        .iter()
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_usize);
    let mut answer = Answer {
        width: 0,
        height: 0,
        bytes_per_sample: 0,
        file_bytes: std::fs::metadata(file)?.len(),
        objects: 0,
        rounds: Vec::with_capacity(rounds),
        peak_rss_kib: 0,
    };
    for _ in 0..rounds.max(1) {
        let (image, decode_ms) = timed(|| load(file, 0));
        let image = image?;
        let (found, mut steps, segment_ms) = segment_in_steps(&image)?;
        steps.insert(0, decode_step(decode_ms, answer.file_bytes, &image));
        (answer.width, answer.height) = (image.width(), image.height());
        answer.bytes_per_sample = steps::bytes_per_sample(&image);
        answer.objects = found.objects.len();
        answer.rounds.push(Round {
            decode_ms,
            segment_ms,
            steps,
            exports_ms: exports.then(|| export(&image, &found)).transpose()?,
        });
    }
    answer.peak_rss_kib = peak_rss_kib();
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// A page of a file, with the limits that every user has.
pub fn load(file: &Path, page: u32) -> Result<Raster, SegmentError> {
    decode(
        &mut BufReader::new(File::open(file)?),
        page,
        &Limits::default(),
    )
}

/// Runs the work and says how many milliseconds it took.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark asks the real clock, and there is no runtime here whose time could be paused"
)]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begin = Instant::now();
    let answer = work();
    (answer, begin.elapsed().as_secs_f64() * 1000.0)
}

/// Segments, and takes the time between one report of progress and the next for a step.
fn segment_in_steps(image: &Raster) -> Result<(Segmentation, Vec<Step>, f64), SegmentError> {
    let mut marks: Vec<(u8, f64)> = Vec::new();
    let clock = Stopwatch::start();
    let found = segment(image, &Parameters::default(), &mut |percent| {
        marks.push((percent, clock.ms()));
        ControlFlow::Continue(())
    })?;
    let total = clock.ms();
    let steps = marks
        .windows(2)
        .map(|pair| Step {
            name: steps::name(pair[1].0),
            ms: pair[1].1 - pair[0].1,
            bytes: steps::bytes(&steps::name(pair[1].0), image),
        })
        .collect();
    Ok((found, steps, total))
}

/// Reads the file, from the page cache, and writes the plane.
fn decode_step(ms: f64, file_bytes: u64, image: &Raster) -> Step {
    Step {
        name: "decode".to_owned(),
        ms,
        bytes: Some(file_bytes + image.pixels() * steps::bytes_per_sample(image)),
    }
}

struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a benchmark asks the real clock, and there is no runtime here whose time could be paused"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    fn ms(&self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1000.0
    }
}

fn export(image: &Raster, found: &Segmentation) -> Result<Exports, SegmentError> {
    let (table, csv) = timed(|| -> Result<(), SegmentError> {
        let mut table = MeasurementsCsv::new(Vec::new())?;
        table.image("image", 0, found)?;
        table.finish().map(drop)
    });
    table?;
    let (outlines, geojson) = timed(|| geojson::write(found, Vec::new()));
    outlines?;
    let (mask, labels) = timed(|| labels::write(found, Vec::new()));
    mask?;
    let (picture, overlay) = timed(|| overlay::write(image, found, Vec::new()));
    picture?;
    Ok(Exports {
        csv,
        geojson,
        labels,
        overlay,
    })
}

fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
