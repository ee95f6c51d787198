//! One answer from several methods: the best one's objects, and what others saw that it did not.

use super::super::label;
use super::super::mask::Mask;
use super::super::shape;
use super::super::texture::Texture;
use super::confidence::confidence;
use super::{Candidate, Scene};

/// Objects that together cover less than this share of the body in which they lie are parts of it: its brightest cells, or
/// pieces of its outline.
const PARTS_SHARE: f64 = 0.5;

/// An object belongs to a body with at least this share of its pixels.
const INSIDE_SHARE: f64 = 0.5;

/// A body is something else than an object in which less than this share of it lies.
const APART_SHARE: f64 = 0.2;

/// The edge of an object is rough too, and so is what lies within this many blocks of it.
const EDGE_BLOCKS: f64 = 8.0;

/// A part is the core of its body where it covers at least this share of it …
const CORE_SHARE: f64 = 0.1;

/// … and fills this share of its convex hull.
const CORE_SOLIDITY: f64 = 0.7;

/// One method of three sees what texture alone shows.
const AGREEMENT: f64 = 1.0 / 3.0;

/// Adds the objects that another method found elsewhere, and takes its outline where the first one saw but pieces of it.
pub(super) fn with_others(mut found: Vec<Candidate>, others: Vec<Candidate>) -> Vec<Candidate> {
    for other in others {
        let body = without_holes(&other.whole);
        if let Some(parts) = parts_of(&mut found, &body, 0.0) {
            found.push(other);
            drop(parts);
        }
    }
    found
}

/// The same with bodies that texture alone shows; of a wound, the gap.
pub(super) fn with_texture(scene: &Scene<'_>, mut found: Vec<Candidate>) -> Vec<Candidate> {
    let Some(texture) = Texture::of(scene.blocks) else {
        return found;
    };
    let frame = scene.frame();
    if let Some(gap) = texture.gap(frame) {
        return vec![alone(scene, gap, Vec::new())];
    }
    let edge_px = EDGE_BLOCKS * scene.flat.width as f64 / scene.blocks.width as f64;
    for body in texture.bodies(frame) {
        if let Some(parts) = parts_of(&mut found, &body, edge_px) {
            let cores = parts.into_iter().map(|part| part.whole);
            let cores = cores.filter(|part| is_core(part, &body)).collect();
            found.push(alone(scene, body, cores));
        }
    }
    found
}

/// Takes the objects that are but parts of a body out of what was found; `None` where the body says nothing new, or lies
/// closer round them than `edge_px`.
fn parts_of(found: &mut Vec<Candidate>, body: &Mask, edge_px: f64) -> Option<Vec<Candidate>> {
    let near: Vec<&Candidate> = found
        .iter()
        .filter(|object| boxes_meet(&object.whole, body))
        .collect();
    let (parts, others): (Vec<&Candidate>, Vec<&Candidate>) = near
        .into_iter()
        .partition(|object| share_inside(&object.whole, body) >= INSIDE_SHARE);
    let known = others
        .iter()
        .any(|object| share_inside(body, &without_holes(&object.whole)) >= APART_SHARE);
    let covered: u64 = parts
        .iter()
        .map(|part| label::enclosed_area(&part.whole))
        .sum();
    let radius = |area: u64| (area as f64 / std::f64::consts::PI).sqrt();
    let close = radius(body.area()) - radius(covered) < edge_px;
    if known || close || covered as f64 >= PARTS_SHARE * body.area() as f64 {
        return None;
    }
    let (parts, others) = std::mem::take(found).into_iter().partition(|object| {
        boxes_meet(&object.whole, body) && share_inside(&object.whole, body) >= INSIDE_SHARE
    });
    *found = others;
    Some(parts)
}

fn alone(scene: &Scene<'_>, whole: Mask, cores: Vec<Mask>) -> Candidate {
    let report_core = scene.parameters.report_core;
    Candidate {
        confidence: confidence(1.0, &whole, AGREEMENT, scene.frame()),
        height: 0.0,
        score: 0.0,
        whole,
        cores: if report_core { cores } else { Vec::new() },
    }
}

fn is_core(part: &Mask, body: &Mask) -> bool {
    part.area() as f64 >= CORE_SHARE * body.area() as f64 && shape::solidity(part) >= CORE_SOLIDITY
}

fn without_holes(mask: &Mask) -> Mask {
    let mut filled = mask.clone();
    label::fill_holes(&mut filled, u64::MAX);
    filled
}

fn boxes_meet(a: &Mask, b: &Mask) -> bool {
    let meet = |a: u32, a_length: usize, b: u32, b_length: usize| {
        (a as usize) < b as usize + b_length && (b as usize) < a as usize + a_length
    };
    meet(a.x, a.width, b.x, b.width) && meet(a.y, a.height, b.y, b.height)
}

/// The share of a part's pixels that lie in a body.
fn share_inside(part: &Mask, body: &Mask) -> f64 {
    let inside = |(x, y): &(usize, usize)| {
        let column = (part.x as usize + x)
            .checked_sub(body.x as usize)
            .filter(|x| *x < body.width);
        let row = (part.y as usize + y)
            .checked_sub(body.y as usize)
            .filter(|y| *y < body.height);
        column.zip(row).is_some_and(|(x, y)| body.row(y)[x])
    };
    part.pixels().filter(inside).count() as f64 / part.area().max(1) as f64
}
