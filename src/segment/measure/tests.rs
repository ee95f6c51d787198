//! Numbers by hand, and those of scikit-image and ImageJ on the same masks (`tests/golden/measurements.py` makes them).

use serde::Deserialize;

use super::*;
use crate::segment::{Part, PixelSizeSource, Samples, Segmentation, Summary, contour};

const GOLDEN: &str = include_str!("../../../tests/golden/measurements.json");

/// Where the formula is the same, only the order of a few additions may differ.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    masks: Vec<GoldenMask>,
    spheroids: Vec<GoldenSpheroid>,
}

#[derive(Deserialize)]
struct GoldenMask {
    name: String,
    width: usize,
    height: usize,
    runs: Vec<usize>,
    skimage: Skimage,
    imagej: Imagej,
}

#[derive(Deserialize)]
struct Skimage {
    area: u64,
    centroid: [f64; 2],
    bbox: [u32; 4],
    perimeter: f64,
    perimeter_crofton: f64,
    equivalent_diameter_area: f64,
    axis_major_length: f64,
    axis_minor_length: f64,
    eccentricity: f64,
    orientation: f64,
    solidity: f64,
    extent: f64,
    feret_diameter_max: f64,
    euler_number: i64,
    area_filled: u64,
}

#[derive(Deserialize)]
struct Imagej {
    perimeter: f64,
    circularity: f64,
    feret: f64,
    min_feret: f64,
    solidity: f64,
}

#[derive(Deserialize)]
struct GoldenSpheroid {
    name: String,
    width: usize,
    height: usize,
    whole: Vec<usize>,
    core: Vec<usize>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    index: f64,
    radial_reach_q95: f64,
    dispersed_mass: f64,
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).unwrap()
}

/// A mask from lengths of alternating runs, empty pixels first.
fn unpacked(width: usize, height: usize, runs: &[usize]) -> Mask {
    let mut mask = Mask::new(0, 0, width, height);
    let mut at = 0;
    for (index, length) in runs.iter().enumerate() {
        for pixel in (at..at + length).filter(|_| index % 2 == 1) {
            mask.set(pixel % width, pixel / width, true);
        }
        at += length;
    }
    assert_eq!(at, width * height);
    mask
}

fn empty_image(width: usize, height: usize) -> Raster {
    let samples = Samples::U8(vec![0; width * height]);
    Raster::new(width as u32, height as u32, samples).unwrap()
}

fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    let off = (found - expected).abs();
    assert!(
        off <= tolerance * expected.abs().max(1.0),
        "{what}: {found}, not {expected}"
    );
}

/// The mask with its outline and its numbers.
fn measured(golden: &GoldenMask) -> (Polygon, Measurements) {
    let mask = unpacked(golden.width, golden.height, &golden.runs);
    let outline = contour::outline(&mask).unwrap();
    let found = measure(&mask, &outline, &empty_image(golden.width, golden.height));
    (outline, found)
}

#[test]
fn counts_are_those_of_scikit_image() {
    for golden in golden().masks {
        let (outline, found) = measured(&golden);
        let (name, expected) = (&golden.name, &golden.skimage);
        let bbox = found.bbox_px;
        assert_eq!(
            [bbox.x, bbox.y, bbox.width, bbox.height],
            expected.bbox,
            "{name}"
        );
        assert_eq!(found.area_px, expected.area, "{name}");
        assert_eq!(outline.outer.area(), expected.area_filled as f64, "{name}");
        let euler_number = found.shape.unwrap().euler_number;
        assert_eq!(euler_number, expected.euler_number, "{name}");
        assert_eq!(euler_number, 1 - i64::from(found.holes), "{name}");
    }
}

#[test]
fn numbers_are_those_of_scikit_image() {
    for golden in golden().masks {
        let (_, found) = measured(&golden);
        let (shape, expected) = (found.shape.unwrap(), &golden.skimage);
        let pairs = [
            (found.centroid_x_px, expected.centroid[0], "centroid x"),
            (found.centroid_y_px, expected.centroid[1], "centroid y"),
            (
                found.equivalent_diameter_px,
                expected.equivalent_diameter_area,
                "diameter",
            ),
            (
                found.perimeter_px,
                expected.perimeter_crofton,
                "Crofton perimeter",
            ),
            (shape.perimeter_skimage_px, expected.perimeter, "perimeter"),
            (
                shape.major_axis_px,
                expected.axis_major_length,
                "major axis",
            ),
            (
                shape.minor_axis_px,
                expected.axis_minor_length,
                "minor axis",
            ),
            (shape.eccentricity, expected.eccentricity, "eccentricity"),
            (shape.extent, expected.extent, "extent"),
            (shape.solidity_skimage, expected.solidity, "solidity"),
            (
                shape.feret_max_skimage_px,
                expected.feret_diameter_max,
                "Feret's diameter",
            ),
        ];
        for (found, expected, what) in pairs {
            assert_near(
                found,
                expected,
                TOLERANCE,
                &format!("{what} of {}", golden.name),
            );
        }
        // Theirs is counted from the y axis, and given where there is none.
        if let Some(degrees) = shape.orientation_deg {
            let theirs = (expected.orientation.to_degrees() + 90.0).rem_euclid(180.0);
            let off = (degrees - theirs).abs();
            assert_near(off.min(180.0 - off), 0.0, TOLERANCE, &golden.name);
        }
    }
}

#[test]
fn numbers_are_those_of_imagej() {
    for golden in golden().masks {
        let (_, found) = measured(&golden);
        let (shape, expected) = (found.shape.unwrap(), &golden.imagej);
        let near = |found: f64, expected: f64, what: &str| {
            assert_near(
                found,
                expected,
                TOLERANCE,
                &format!("{what} of {}", golden.name),
            );
        };
        near(shape.perimeter_imagej_px, expected.perimeter, "perimeter");
        near(
            shape.circularity_imagej,
            expected.circularity,
            "circularity",
        );
        near(shape.feret_max_px, expected.feret, "Feret");
        near(shape.feret_min_px, expected.min_feret, "MinFeret");
        near(shape.solidity, expected.solidity, "solidity");
    }
}

/// The objects of a spheroid: every connected piece whole, the first one with the core.
fn spheroid_of(golden: &GoldenSpheroid) -> Segmentation {
    let whole = unpacked(golden.width, golden.height, &golden.whole);
    let core = unpacked(golden.width, golden.height, &golden.core);
    let image = empty_image(golden.width, golden.height);
    let mut pieces = crate::segment::label::parts_of(&whole, 1);
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.area()));
    let wholes = pieces.iter().map(|piece| (piece, Part::Whole, None));
    let objects = wholes.chain([(&core, Part::Core, Some(1))]);
    let objects = objects.enumerate().map(|(index, (mask, part, core_of))| {
        let polygon = contour::outline(mask).unwrap();
        crate::segment::Object {
            number: index as u32 + 1,
            part,
            core_of,
            confidence: None,
            measurements: measure(mask, &polygon, &image),
            polygon,
        }
    });
    Segmentation {
        width: image.width(),
        height: image.height(),
        pixel_size: None,
        segmenter: crate::segment::SEGMENTER.to_owned(),
        objects: objects.collect(),
        note: None,
        summary: None,
        simplified_px: None,
    }
}

#[test]
fn a_spheroid_that_came_apart_is_told_by_the_formula() {
    for golden in golden().spheroids {
        let objects = spheroid_of(&golden).objects;
        let found = Summary::of(&objects, None).unwrap().disintegration.unwrap();
        let (expected, name) = (&golden.expected, &golden.name);
        // Distances are counted in steps of 1/65,536 of the longest.
        assert_near(found.index, expected.index, 1e-6, name);
        assert_near(
            found.radial_reach_q95,
            expected.radial_reach_q95,
            1e-4,
            name,
        );
        assert_near(
            found.dispersed_mass,
            expected.dispersed_mass,
            TOLERANCE,
            name,
        );
    }
}

#[test]
fn without_a_core_or_with_two_spheroids_there_is_no_index() {
    let mut objects = spheroid_of(&golden().spheroids[2]).objects;
    assert_eq!(
        objects
            .iter()
            .filter(|object| object.part == Part::Whole)
            .count(),
        3
    );
    let mut several = objects.clone();
    several[1].measurements.area_px = 1_000_000;
    let summary = Summary::of(&several, None).unwrap();
    assert_eq!((summary.objects, summary.disintegration), (3, None));
    objects.retain(|object| object.part == Part::Whole);
    let summary = Summary::of(&objects, None).unwrap();
    assert_eq!((summary.core, summary.disintegration), (None, None));
    assert_eq!(Summary::of(&[], None), None);
}

#[test]
fn a_disk_is_round() {
    let disk = golden()
        .masks
        .into_iter()
        .find(|mask| mask.name == "disk 50 between pixels");
    let (_, found) = measured(&disk.unwrap());
    assert!(
        (found.circularity - 1.0).abs() < 0.005,
        "{}",
        found.circularity
    );
    assert!((found.equivalent_diameter_px - 100.0).abs() < 0.1);
    let shape = found.shape.unwrap();
    assert!((shape.sphericity - 1.0).abs() < 0.003, "{shape:?}");
    let volume = PI / 6.0 * 100.0_f64.powi(3);
    assert!(
        (shape.volume_sphere_px3 / volume - 1.0).abs() < 0.003,
        "{shape:?}"
    );
    assert!(
        (shape.volume_prolate_px3 / volume - 1.0).abs() < 0.003,
        "{shape:?}"
    );
    assert_eq!(shape.orientation_deg, None);
}

#[test]
fn pixels_need_not_be_square() {
    // 4 × 2 pixels of 1 µm × 3 µm are 4 µm × 6 µm.
    let mut block = Mask::new(0, 0, 4, 2);
    (0..2).for_each(|y| block.row_mut(y).fill(true));
    let mut image = empty_image(4, 2);
    image.pixel_size = Some(PixelSize {
        x_um: 1.0,
        y_um: 3.0,
        source: PixelSizeSource::OmeXml,
    });
    let found = measure(&block, &contour::outline(&block).unwrap(), &image);
    let um = found.micrometres.unwrap();
    assert_eq!((um.area_um2, um.perimeter_um), (24.0, None));
    let shape = um.shape.unwrap();
    assert_eq!(
        (shape.feret_max_um, shape.feret_min_um),
        (52.0_f64.sqrt(), 4.0)
    );
    assert_eq!(shape.perimeter_imagej_um, None);
    // Centres at 0, 1, 2, 3 along x and at 0, 3 along y: variances 1.25 and 2.25.
    assert_near(
        shape.major_axis_um,
        4.0 * 2.25_f64.sqrt(),
        TOLERANCE,
        "major axis",
    );
    assert_near(
        shape.minor_axis_um,
        4.0 * 1.25_f64.sqrt(),
        TOLERANCE,
        "minor axis",
    );
}

#[test]
fn a_small_object_by_hand() {
    // A 2 × 3 block at (3, 1) of a 5 × 4 image, two of whose sides it reaches.
    let mut block = Mask::new(3, 1, 2, 3);
    (0..3).for_each(|y| block.row_mut(y).fill(true));
    let mut image = Raster::new(5, 4, Samples::U8((0..20).collect())).unwrap();
    image.pixel_size = Some(PixelSize {
        x_um: 0.5,
        y_um: 0.5,
        source: PixelSizeSource::Imagej,
    });
    let outline = contour::outline(&block).unwrap();
    let found = measure(&block, &outline, &image);
    assert_eq!(found.area_px, 6);
    assert_eq!((found.centroid_x_px, found.centroid_y_px), (4.0, 2.5));
    assert_eq!(
        found.bbox_px,
        BoundingBox {
            x: 3,
            y: 1,
            width: 2,
            height: 3
        }
    );
    assert_eq!((found.intensity_min, found.intensity_max), (8.0, 19.0));
    assert_eq!(found.intensity_mean, 13.5);
    assert!(found.touches_border);
    let micrometres = found.micrometres.unwrap();
    assert_eq!(micrometres.area_um2, 1.5);
    assert_eq!(micrometres.centroid_x_um, 2.0);
    assert!((micrometres.perimeter_um.unwrap() - found.perimeter_px / 2.0).abs() < 1e-12);
}

#[test]
fn an_untrusted_pixel_size_gives_no_micrometres() {
    let mut image = Raster::new(3, 3, Samples::U8(vec![0; 9])).unwrap();
    image.pixel_size = Some(PixelSize {
        x_um: 353.0,
        y_um: 353.0,
        source: PixelSizeSource::Resolution,
    });
    let mut pixel = Mask::new(1, 1, 1, 1);
    pixel.set(0, 0, true);
    let outline = contour::outline(&pixel).unwrap();
    let found = measure(&pixel, &outline, &image);
    assert_eq!((found.micrometres, found.touches_border), (None, false));
}
