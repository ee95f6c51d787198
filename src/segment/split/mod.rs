//! Parts objects that touch, by a watershed over depth and height and a merger of what was cut too finely.
//!
//! The relief of an object is the distance to its outline times its height over the background: a neck, a dark seam
//! and a dim neighbour all show as valleys. The watershed cuts along every valley; then the pieces are joined again, the
//! most natural pair first, for as long as what comes of it is about as convex as its pieces were and no deep valley
//! runs through it. Texture within a spheroid goes away in that step, since its pieces together are rounder than each of
//! them alone; objects that touch stay apart.

mod basins;
mod coarse;
mod depth;
mod merge;

use super::label;
use super::mask::Mask;
use super::shape;

use basins::Basins;
use coarse::Coarse;

/// The parts of an object; itself where nothing parts it. No part is smaller than `min_area` pixels. `heights_at` fills in how far
/// the pixels of the image from a place on to the right stand out from the background.
pub(super) fn split(
    mask: Mask,
    min_area: u64,
    heights_at: impl Fn(usize, usize, &mut [f32]),
) -> Vec<Mask> {
    if mask.area() < 2 * min_area {
        return vec![mask];
    }
    let coarse = Coarse::of(&mask, &heights_at);
    let basins = Basins::flood(&coarse);
    if basins.count() < 2 {
        return vec![mask];
    }
    let owners = merge::merge(&coarse, basins);
    let parts = coarse.parts(&mask, &owners);
    if parts.len() < 2 {
        return vec![mask];
    }
    // A part may fall apart where a hole was; crumbs at the seams may be lost, nothing more.
    let pieces: Vec<Mask> = parts
        .iter()
        .flat_map(|part| label::parts_of(part, min_area))
        .collect();
    let kept: u64 = pieces.iter().map(Mask::area).sum();
    if pieces.len() < 2 || kept * 100 < mask.area() * 95 {
        vec![mask]
    } else {
        pieces
    }
}

/// Gives each pixel of a mask to the nearest of some parts within it, where what comes of that is at least `gain` more
/// solid than the mask; the mask itself otherwise.
pub(super) fn partition(mask: &Mask, parts: &[Mask], gain: f64) -> Vec<Mask> {
    let pieces = nearest(mask, parts);
    let area: u64 = pieces.iter().map(Mask::area).sum();
    let weighted: f64 = pieces
        .iter()
        .map(|piece| piece.area() as f64 * shape::solidity(piece))
        .sum();
    if weighted / area.max(1) as f64 - shape::solidity(mask) < gain {
        return vec![mask.clone()];
    }
    pieces
}

/// The pixels of a mask by the nearest part, found by growing all parts at the same rate inside the mask.
fn nearest(mask: &Mask, parts: &[Mask]) -> Vec<Mask> {
    let mut pieces = vec![Mask::new(mask.x, mask.y, mask.width, mask.height); parts.len()];
    let mut free = mask.clone();
    let mut front: Vec<(usize, usize, usize)> = Vec::new();
    for (owner, part) in parts.iter().enumerate() {
        for (x, y) in part.pixels() {
            let (x, y) = (
                x + (part.x - mask.x) as usize,
                y + (part.y - mask.y) as usize,
            );
            if free.row(y)[x] {
                free.set(x, y, false);
                pieces[owner].set(x, y, true);
                front.push((x, y, owner));
            }
        }
    }
    while !front.is_empty() {
        let mut next = Vec::new();
        for (x, y, owner) in front {
            for (x, y) in [
                (x.wrapping_sub(1), y),
                (x + 1, y),
                (x, y.wrapping_sub(1)),
                (x, y + 1),
            ] {
                if x < mask.width && y < mask.height && free.row(y)[x] {
                    free.set(x, y, false);
                    pieces[owner].set(x, y, true);
                    next.push((x, y, owner));
                }
            }
        }
        front = next;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(_: usize, _: usize, heights: &mut [f32]) {
        heights.fill(1.0);
    }

    pub(super) fn disks(width: usize, height: usize, disks: &[(f64, f64, f64)]) -> Mask {
        let mut mask = Mask::new(5, 7, width, height);
        for y in 0..height {
            for x in 0..width {
                let inside = disks
                    .iter()
                    .any(|(cx, cy, r)| (x as f64 - cx).powi(2) + (y as f64 - cy).powi(2) <= r * r);
                mask.set(x, y, inside);
            }
        }
        mask
    }

    #[test]
    fn two_touching_disks_are_two() {
        let mask = disks(90, 50, &[(24.0, 24.0, 20.0), (60.0, 24.0, 20.0)]);
        let area = mask.area();
        let parts = split(mask, 50, flat);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.iter().map(Mask::area).sum::<u64>(), area);
        assert_eq!((parts[0].x, parts[0].y), (9, 11));
    }

    #[test]
    fn the_seam_runs_along_the_neck_between_unequal_disks() {
        let mask = disks(110, 70, &[(34.0, 34.0, 30.0), (78.0, 34.0, 18.0)]);
        let parts = split(mask, 50, flat);
        assert_eq!(parts.len(), 2);
        let areas: Vec<f64> = parts.iter().map(|part| part.area() as f64).collect();
        // The disks' own areas, but for the small lens that they share.
        assert!(
            (areas[0] - 2_827.0).abs() < 90.0 && (areas[1] - 1_018.0).abs() < 90.0,
            "{areas:?}"
        );
        for part in &parts {
            assert!(shape::solidity(part) > 0.93, "{}", shape::solidity(part));
        }
    }

    #[test]
    fn a_dented_disk_and_a_disk_with_a_bump_are_one() {
        for extra in [(28.0, 24.0, 20.0), (45.0, 24.0, 4.0)] {
            let mask = disks(90, 50, &[(24.0, 24.0, 20.0), extra]);
            assert_eq!(split(mask, 50, flat).len(), 1, "{extra:?}");
        }
    }

    #[test]
    fn a_ring_stays_whole() {
        let mut mask = disks(60, 60, &[(29.0, 29.0, 28.0)]);
        let hole = disks(60, 60, &[(29.0, 29.0, 20.0)]);
        hole.pixels().for_each(|(x, y)| mask.set(x, y, false));
        assert_eq!(split(mask.clone(), 50, flat), vec![mask]);
    }
}
