//! How right the segmenter is: on real images with a truth, as far as one is known, and on drawn scenes.

use std::ops::ControlFlow;
use std::path::Path;

use crate::segment::{Parameters, Part, Raster, SegmentError, Segmentation, segment};

use super::scenes;
use super::timing::{load, timed};
use super::truth::{Overlap, covered_iou, labels, mask};

/// An image with what is known of it.
struct Case {
    file: &'static str,
    page: u32,
    /// What is wanted, in words.
    wanted: &'static str,
    judge: Judge,
}

/// What was found, in words, and whether that is what is wanted; none where nobody knows.
type Judge = fn(&Segmentation, &Path) -> Result<(String, Option<bool>), SegmentError>;

const CASES: &[Case] = &[
    case(
        "sph_bf_single_clean.png",
        0,
        "1 whole, 56,000–61,000 px",
        |found, _| {
            let areas = areas(found, Part::Whole);
            let good = matches!(areas[..], [56_000..=61_000]);
            Ok((counts(found), Some(good)))
        },
    ),
    case(
        "sph_bf_debris_core_corona.png",
        0,
        "1 whole with 1 or more cores",
        |found, _| {
            let good = areas(found, Part::Whole).len() == 1 && !areas(found, Part::Core).is_empty();
            Ok((counts(found), Some(good)))
        },
    ),
    case(
        "skimage_coins.png",
        0,
        "24 coins, 22 or more",
        |found, _| {
            let count = areas(found, Part::Whole).len();
            Ok((counts(found), Some((22..=26).contains(&count))))
        },
    ),
    case("skimage_cell.png", 0, "1 cell", |found, _| {
        let good = areas(found, Part::Whole).len() == 1;
        Ok((counts(found), Some(good)))
    }),
    case("stardist_img2d.tif", 0, "AP50 ≥ 0.72 of 125 nuclei", nuclei),
    case("wound_sample.jpg", 0, "IoU ≥ 0.85 with the mask", wound),
    // By eye: organoids 15 pixels across and more, blurred ones included.
    case(
        "orgaquant_1.jpg",
        0,
        "about 105 by eye, ± 20 %",
        |found, _| {
            let count = areas(found, Part::Whole).len();
            Ok((counts(found), Some((84..=126).contains(&count))))
        },
    ),
    case("orgaquant_8.tif", 0, "60–150", |found, _| {
        let count = areas(found, Part::Whole).len();
        Ok((counts(found), Some((60..=150).contains(&count))))
    }),
    case("fucci_confocal_D10.tif", 0, "1 spheroid", one),
    case("fucci_confocal_D10.tif", 1, "1 spheroid", one),
    case("fucci_confocal_D10.tif", 2, "1 spheroid", one),
    case("fucci_confocal_D10.tif", 3, "1 spheroid", one),
    case("cp_fly_D_palette.tif", 0, "nuclei, count unknown", unknown),
    case("cp_human_dna.tif", 0, "nuclei, count unknown", unknown),
];

const fn case(file: &'static str, page: u32, wanted: &'static str, judge: Judge) -> Case {
    Case {
        file,
        page,
        wanted,
        judge,
    }
}

/// Tries the images and scenes whose name holds `only`, and prints two tables.
pub fn run(dir: &Path, only: &str) -> Result<(), SegmentError> {
    println!("| image | page | wanted | found | as wanted | ms |\n|---|---:|---|---|---|---:|");
    for case in CASES.iter().filter(|case| case.file.contains(only)) {
        let Case {
            file, page, wanted, ..
        } = case;
        let path = dir.join(file);
        if !path.exists() {
            println!(
                "| {file} | {page} | {wanted} | not found in {} | | |",
                dir.display()
            );
            continue;
        }
        let image = load(&path, *page)?;
        let (found, ms) = timed(|| found(&image, &Parameters::default()));
        let found = found?;
        let (words, good) = (case.judge)(&found, dir)?;
        let note = found
            .note
            .map_or(String::new(), |note| format!(" ({note})"));
        println!(
            "| {file} | {page} | {wanted} | {words}{note} | {} | {ms:.0} |",
            verdict(good)
        );
    }
    println!();
    println!(
        "| drawn scenes | number | wrong count | IoU mean | IoU worst | as wanted |\n|---|---:|---:|---:|---:|---|"
    );
    for outcome in scenes::run(only)? {
        let good = outcome.miscounted == 0 && outcome.worst_iou >= 0.97;
        println!(
            "| {} | {} | {} | {:.4} | {:.4} | {} |",
            outcome.kind,
            outcome.scenes,
            outcome.miscounted,
            outcome.mean_iou,
            outcome.worst_iou,
            verdict(Some(good))
        );
    }
    Ok(())
}

/// What the segmenter finds.
pub fn found(image: &Raster, parameters: &Parameters) -> Result<Segmentation, SegmentError> {
    segment(image, parameters, &mut |_| ControlFlow::Continue(()))
}

fn verdict(good: Option<bool>) -> &'static str {
    match good {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    }
}

fn nuclei(found: &Segmentation, dir: &Path) -> Result<(String, Option<bool>), SegmentError> {
    let truth = mask(&load(&dir.join("stardist_mask2d.tif"), 0)?);
    let found = labels(found);
    let matches = Overlap::of(&found, &truth).matches();
    let precision = matches.average_precision();
    let words = format!(
        "AP50 {precision:.3}: {} right, {} found, {} there; foreground IoU {:.3}",
        matches.right,
        matches.found,
        matches.truth,
        covered_iou(&found, &truth)
    );
    Ok((words, Some(precision >= 0.72)))
}

/// The mask is the wound, which is what the cells leave free: the better of both readings counts, and both are said.
fn wound(found: &Segmentation, dir: &Path) -> Result<(String, Option<bool>), SegmentError> {
    let truth = load(&dir.join("wound_sample_mask.jpg"), 0)?;
    let truth: Vec<u32> = mask(&truth)
        .iter()
        .map(|value| u32::from(*value > 127))
        .collect();
    let covered = labels(found);
    let free: Vec<u32> = covered.iter().map(|label| u32::from(*label == 0)).collect();
    let (objects, ground) = (covered_iou(&covered, &truth), covered_iou(&free, &truth));
    let words = format!(
        "{}; IoU of the objects {objects:.3}, of what they leave free {ground:.3}",
        counts(found)
    );
    Ok((words, Some(objects.max(ground) >= 0.85)))
}

fn one(found: &Segmentation, _: &Path) -> Result<(String, Option<bool>), SegmentError> {
    let good = areas(found, Part::Whole).len() == 1;
    Ok((counts(found), Some(good)))
}

fn unknown(found: &Segmentation, _: &Path) -> Result<(String, Option<bool>), SegmentError> {
    Ok((counts(found), None))
}

fn areas(found: &Segmentation, part: Part) -> Vec<u64> {
    let objects = found.objects.iter().filter(|object| object.part == part);
    objects.map(|object| object.measurements.area_px).collect()
}

/// How many, and the areas where they are few.
fn counts(found: &Segmentation) -> String {
    let of = |part: Part| {
        let areas = areas(found, part);
        match areas.len() {
            0 => String::new(),
            1..=4 => format!("{} {} {areas:?} px", areas.len(), part.name()),
            count => format!("{count} {}", part.name()),
        }
    };
    let parts = [of(Part::Whole), of(Part::Core)];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    }
}
