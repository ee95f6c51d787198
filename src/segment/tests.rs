//! The whole segmenter on synthetic scenes, whose truth is known to the pixel.

use super::scene::{Scene, SceneOptions, draw};
use super::*;

fn found(image: &Raster, parameters: &Parameters) -> Segmentation {
    segment(image, parameters, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Object numbers of whole objects, painted into a plane.
fn painted(result: &Segmentation) -> Vec<u32> {
    let width = result.width as usize;
    let mut plane = vec![0; width * result.height as usize];
    for object in result
        .objects
        .iter()
        .filter(|object| object.part == Part::Whole)
    {
        object
            .polygon
            .spans(result.width, result.height, |y, from, to| {
                let row = y as usize * width;
                plane[row + from as usize..row + to as usize].fill(object.number);
            });
    }
    plane
}

/// Intersection over union of all object pixels with the truth.
fn overlap(scene: &Scene, result: &Segmentation) -> f64 {
    let pairs = || painted(result).into_iter().zip(&scene.truth);
    let both = pairs()
        .filter(|(found, truth)| *found > 0 && **truth > 0)
        .count();
    let either = pairs()
        .filter(|(found, truth)| *found > 0 || **truth > 0)
        .count();
    both as f64 / either as f64
}

fn wholes(result: &Segmentation) -> usize {
    result
        .objects
        .iter()
        .filter(|object| object.part == Part::Whole)
        .count()
}

fn options() -> SceneOptions {
    SceneOptions {
        width: 480,
        height: 400,
        objects: 4,
        radius_px: (25.0, 55.0),
        ..SceneOptions::default()
    }
}

fn assert_found(seed: u64, options: &SceneOptions, least_overlap: f64) {
    let scene = draw(seed, options);
    let result = found(&scene.image, &Parameters::default());
    let what = format!("seed {seed}, {options:?}, note {:?}", result.note);
    assert_eq!(wholes(&result), usize::from(scene.objects), "{what}");
    let overlap = overlap(&scene, &result);
    assert!(overlap >= least_overlap, "overlap {overlap:.3}: {what}");
}

/// Least overlap with the truth, whatever the scene.
const OVERLAP: f64 = 0.97;

#[test]
fn shaded_scenes_of_either_polarity_are_found_to_the_pixel() {
    for seed in 0..6 {
        for dark in [true, false] {
            assert_found(seed, &SceneOptions { dark, ..options() }, OVERLAP);
        }
    }
}

#[test]
fn strong_shading_and_noise_do_not_matter() {
    for seed in 10..14 {
        for dark in [true, false] {
            let options = SceneOptions {
                shading: 0.7,
                noise: 0.04,
                dark,
                ..options()
            };
            assert_found(seed, &options, OVERLAP);
        }
    }
}

#[test]
fn spheroids_that_touch_are_counted_one_by_one() {
    for seed in 40..46 {
        for dark in [true, false] {
            let options = SceneOptions {
                touching: true,
                dark,
                ..options()
            };
            assert_found(seed, &options, OVERLAP);
        }
    }
}

#[test]
fn spheroids_out_of_focus_are_found_at_half_their_height() {
    for seed in 50..54 {
        for dark in [true, false] {
            let options = SceneOptions {
                blur_px: 2.5,
                debris: 8,
                dark,
                ..options()
            };
            assert_found(seed, &options, OVERLAP);
        }
    }
}

#[test]
fn the_wall_of_a_well_is_no_object() {
    for seed in 20..24 {
        let options = SceneOptions {
            well_rim: true,
            objects: 1,
            debris: 10,
            height: 480,
            ..options()
        };
        assert_found(seed, &options, OVERLAP);
    }
}

#[test]
fn an_empty_well_has_no_object_and_says_so() {
    for seed in 30..34 {
        for (dark, well_rim) in [(true, false), (false, false), (true, true)] {
            let options = SceneOptions {
                objects: 0,
                debris: if seed % 2 == 0 { 0 } else { 8 },
                dark,
                well_rim,
                height: 480,
                ..options()
            };
            let result = found(&draw(seed, &options).image, &Parameters::default());
            assert_eq!(
                result.objects.len(),
                0,
                "seed {seed}, dark {dark}, rim {well_rim}"
            );
            assert!(result.note.is_some());
        }
    }
}

#[test]
fn an_image_of_one_value_has_no_object() {
    let image = Raster::new(50, 40, Samples::U8(vec![9; 2000])).unwrap();
    let result = found(&image, &Parameters::default());
    assert_eq!(
        result.note.as_deref(),
        Some("every pixel has the same value")
    );
}

#[test]
fn area_in_the_json_is_the_polygons_area_exactly() {
    let result = found(&draw(5, &options()).image, &Parameters::default());
    let json = serde_json::to_string(&result).unwrap();
    let read: Segmentation = serde_json::from_str(&json).unwrap();
    assert!(!read.objects.is_empty());
    for object in &read.objects {
        assert_eq!(object.polygon.area(), object.measurements.area_px as f64);
    }
}

#[test]
fn a_loose_rim_makes_a_core_and_a_whole() {
    let disk = |x: u32, y: u32| (f64::from(x) - 150.0).hypot(f64::from(y) - 150.0);
    let values = (0..300 * 300).map(|index: u32| {
        let grain = (index.wrapping_mul(2_654_435_761) >> 29) as u8;
        grain
            + match disk(index % 300, index / 300) {
                r if r < 40.0 => 20,
                r if r < 100.0 => 130,
                _ => 200,
            }
    });
    let image = Raster::new(300, 300, Samples::U8(values.collect())).unwrap();
    let result = found(&image, &Parameters::default());
    let parts: Vec<_> = result
        .objects
        .iter()
        .map(|object| (object.part, object.core_of))
        .collect();
    assert_eq!(parts, [(Part::Whole, None), (Part::Core, Some(1))]);
    let radius = |object: &Object| object.measurements.equivalent_diameter_px / 2.0;
    assert!(
        (radius(&result.objects[0]) - 100.0).abs() < 3.0,
        "{}",
        radius(&result.objects[0])
    );
    assert!(
        (radius(&result.objects[1]) - 40.0).abs() < 2.0,
        "{}",
        radius(&result.objects[1])
    );

    let whole_only = Parameters {
        report_core: false,
        ..Parameters::default()
    };
    assert_eq!(found(&image, &whole_only).objects.len(), 1);
}

/// 0 to 31 without any pattern: the PCG output function (O'Neill 2014) of the index.
fn grain(index: u32) -> u8 {
    let state = index.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    ((word >> 22 ^ word) >> 27) as u8
}

/// A stripe or a disk of grain on a smooth ground of the same brightness.
fn grainy(inside: impl Fn(f64, f64) -> bool) -> Raster {
    let values = (0..400 * 400).map(|index: u32| {
        let (x, y) = (f64::from(index % 400), f64::from(index / 400));
        let grain = grain(index);
        if inside(x, y) {
            84 + grain
        } else {
            98 + grain / 8
        }
    });
    Raster::new(400, 400, Samples::U8(values.collect())).unwrap()
}

#[test]
fn a_body_as_bright_as_the_ground_is_found_by_its_texture() {
    let result = found(
        &grainy(|x, y| (x - 190.0).hypot(y - 210.0) < 80.0),
        &Parameters::default(),
    );
    assert_eq!(result.objects.len(), 1, "{:?}", result.note);
    let radius = result.objects[0].measurements.equivalent_diameter_px / 2.0;
    assert!((radius - 80.0).abs() < 5.0, "{radius}");
}

#[test]
fn of_a_wound_the_gap_is_the_object() {
    let result = found(
        &grainy(|_, y| !(150.0..290.0).contains(&y)),
        &Parameters::default(),
    );
    assert_eq!(result.objects.len(), 1, "{:?}", result.note);
    let gap = &result.objects[0].measurements;
    assert!(
        (gap.area_px as f64 / (400.0 * 140.0) - 1.0).abs() < 0.06,
        "{}",
        gap.area_px
    );
    assert_eq!(gap.bbox_px.width, 400);
}

#[test]
fn a_ring_counts_with_what_it_encloses() {
    let ring = |index: u32| {
        let r = (f64::from(index % 300) - 150.0).hypot(f64::from(index / 300) - 150.0);
        let grain = (index.wrapping_mul(2_654_435_761) >> 29) as u8;
        grain + if (13.0..15.5).contains(&r) { 90 } else { 180 }
    };
    let image = Raster::new(300, 300, Samples::U8((0..300 * 300).map(ring).collect())).unwrap();
    let min_area_px = Some(500);
    let result = found(
        &image,
        &Parameters {
            min_area_px,
            ..Parameters::default()
        },
    );
    let measured: Vec<_> = result
        .objects
        .iter()
        .map(|ring| ring.measurements.holes)
        .collect();
    assert_eq!(measured, [1]);
    assert!(result.objects[0].measurements.area_px < 500);
}

#[test]
fn a_clear_object_is_more_certain_than_one_in_the_noise() {
    let certainty = |noise: f64| {
        let scene = draw(
            3,
            &SceneOptions {
                noise,
                objects: 1,
                debris: 0,
                ..options()
            },
        );
        found(&scene.image, &Parameters::default()).objects[0]
            .confidence
            .unwrap()
    };
    let (clear, noisy) = (certainty(0.01), certainty(0.2));
    assert!(clear > 0.8 && clear <= 1.0, "{clear}");
    assert!(noisy > 0.0 && noisy < clear, "{noisy} {clear}");
}

#[test]
fn a_given_polarity_is_obeyed() {
    let scene = draw(1, &options());
    let bright = Parameters {
        polarity: Polarity::Bright,
        ..Parameters::default()
    };
    assert!(overlap(&scene, &found(&scene.image, &bright)) < 0.1);
}

#[test]
fn progress_rises_to_a_hundred_and_can_stop_the_work_at_every_step() {
    let scene = draw(2, &options());
    let mut steps = Vec::new();
    segment(&scene.image, &Parameters::default(), &mut |percent| {
        steps.push(percent);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(steps.is_sorted() && steps.first() == Some(&0) && steps.last() == Some(&100));
    for last in steps {
        let stop = &mut |percent| {
            if percent == last {
                ControlFlow::Break(Cancelled)
            } else {
                ControlFlow::Continue(())
            }
        };
        let answer = segment(&scene.image, &Parameters::default(), stop);
        assert!(
            matches!(answer, Err(SegmentError::Cancelled)),
            "stopped at {last}"
        );
    }
}

#[test]
fn images_of_every_small_size_are_survived() {
    for (width, height) in [(1, 1), (1, 40), (40, 1), (2, 2), (7, 3)] {
        let values = (0..width * height)
            .map(|index| (index * 37 % 251) as u8)
            .collect();
        let image = Raster::new(width, height, Samples::U8(values)).unwrap();
        let everything = Parameters {
            min_area_px: Some(1),
            min_contrast: 0.0,
            ..Parameters::default()
        };
        let result = found(&image, &everything);
        assert_eq!((result.width, result.height), (width, height));
    }
}
