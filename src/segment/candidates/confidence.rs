//! How sure the segmenter is of an object, from 0 to 1.

use super::super::frame::Frame;
use super::super::mask::Mask;
use super::super::shape;
use super::heights::{Heights, Side};
use super::level::Level;

/// A step of this many standard deviations of the background is worth a half.
const HALF_SURE_DEVIATIONS: f32 = 4.0;

/// Pixels of an object that are asked whether a method agrees.
const SAMPLES: u64 = 1024;

/// The geometric mean of what speaks for an object: the step at its edge in deviations of the background, how solid it is,
/// how central, and how far the methods agree on it.
pub(super) fn confidence(contrast: f64, outline: &Mask, agreement: f64, frame: Frame) -> f64 {
    let product = contrast * shape::solidity(outline) * frame.centrality(outline) * agreement;
    product.max(0.0).powf(0.25)
}

/// What a step at the edge is worth, from 0 to 1.
pub(super) fn contrast(step: f32, noise: f32) -> f64 {
    let half = HALF_SURE_DEVIATIONS * noise;
    f64::from(step / (step + half).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0)
}

/// The mean over the methods of the share of the object that reaches the method's level times the share of its
/// surroundings that does not.
pub(super) fn agreement(
    object: &Mask,
    outline: &[Side],
    heights: &Heights<'_>,
    methods: &[Level<'_>],
) -> f64 {
    let every = (object.area() / SAMPLES).max(1) as usize;
    let rows = (0..object.height).step_by(every);
    let inside: Vec<(usize, usize)> = rows
        .flat_map(|y| {
            let cells = object.row(y).iter().enumerate().filter(|(_, set)| **set);
            cells.map(move |(x, _)| (object.x as usize + x, object.y as usize + y))
        })
        .collect();
    let of_method = |method: &Level<'_>| {
        let reaches = |(x, y): (usize, usize)| heights.at(x, y) >= method.at(heights, x, y);
        let within = share(inside.iter().map(|place| reaches(*place)));
        let around = share(heights.places_outside(outline).map(|place| !reaches(place)));
        within * around
    };
    methods.iter().map(of_method).sum::<f64>() / methods.len().max(1) as f64
}

fn share(answers: impl Iterator<Item = bool>) -> f64 {
    let (mut yes, mut all) = (0_u64, 0_u64);
    for answer in answers {
        yes += u64::from(answer);
        all += 1;
    }
    yes as f64 / all.max(1) as f64
}
