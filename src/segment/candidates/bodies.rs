//! Bodies that texture shows and brightness does not, beside the objects that brightness shows.

use super::super::mask::Mask;
use super::super::shape;
use super::super::texture::Texture;
use super::confidence::confidence;
use super::{Candidate, Scene};

/// Objects that together cover less than this share of the body in which they lie are parts of it: its brightest cells, or
/// pieces of its outline.
const PARTS_SHARE: f64 = 0.5;

/// An object lies in a body with at least this share of its pixels.
const INSIDE_SHARE: f64 = 0.8;

/// A part is the core of its body where it covers at least this share of it …
const CORE_SHARE: f64 = 0.1;

/// … and fills this share of its convex hull.
const CORE_SOLIDITY: f64 = 0.7;

/// One method of three sees what texture alone shows.
const AGREEMENT: f64 = 1.0 / 3.0;

/// The same objects, with a body of texture in the place of objects that are but parts of it; of a wound, the gap.
pub(super) fn with_texture(scene: &Scene<'_>, mut found: Vec<Candidate>) -> Vec<Candidate> {
    let Some(texture) = Texture::of(scene.blocks) else {
        return found;
    };
    let frame = scene.frame();
    if let Some(gap) = texture.gap(frame) {
        return vec![alone(scene, gap, Vec::new())];
    }
    for body in texture.bodies(frame) {
        let (parts, others): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|object| lies_in(&object.whole, &body));
        found = others;
        let overlapped = found.iter().any(|object| lies_in(&body, &object.whole));
        let covered: u64 = parts.iter().map(|part| without_holes(&part.whole)).sum();
        if overlapped || covered as f64 >= PARTS_SHARE * body.area() as f64 {
            found.extend(parts);
        } else {
            let cores = parts
                .into_iter()
                .map(|part| part.whole)
                .filter(|part| is_core(part, &body))
                .collect();
            found.push(alone(scene, body, cores));
        }
    }
    found
}

fn alone(scene: &Scene<'_>, whole: Mask, cores: Vec<Mask>) -> Candidate {
    Candidate {
        confidence: confidence(1.0, &whole, AGREEMENT, scene.frame()),
        score: 0.0,
        whole,
        cores: if scene.parameters.report_core {
            cores
        } else {
            Vec::new()
        },
    }
}

fn is_core(part: &Mask, body: &Mask) -> bool {
    part.area() as f64 >= CORE_SHARE * body.area() as f64 && shape::solidity(part) >= CORE_SOLIDITY
}

fn without_holes(mask: &Mask) -> u64 {
    let mut filled = mask.clone();
    super::super::label::fill_holes(&mut filled, u64::MAX);
    filled.area()
}

fn lies_in(part: &Mask, body: &Mask) -> bool {
    let inside = |(x, y): &(usize, usize)| {
        let column = (part.x as usize + x)
            .checked_sub(body.x as usize)
            .filter(|x| *x < body.width);
        let row = (part.y as usize + y)
            .checked_sub(body.y as usize)
            .filter(|y| *y < body.height);
        column.zip(row).is_some_and(|(x, y)| body.row(y)[x])
    };
    let both = part.pixels().filter(inside).count();
    both as f64 >= INSIDE_SHARE * part.area() as f64
}
