//! From outlines through pixel centres, as OpenCV's `findContours` gives them, to the pixels that they mean.
//!
//! An object's outline runs through the centres of its outermost pixels: all pixels whose centres lie in it *or on it*
//! are the object's. A hole's outline runs through the pixels of the object round the hole: only those whose centres lie
//! *inside* it are the hole's. This is the inverse of `findContours`, so that mask and area are the service's own.

use std::collections::HashSet;

use super::super::mask::Mask;
use super::super::{Point, Polygon, Ring};

/// Coordinates that differ from a whole number by less than this are meant to be it.
const ON_CENTRE: f64 = 1e-6;

/// The pixels of an object with this outline and these holes, in an image of this size; `None` where there is none.
pub(super) fn mask_of(
    outer: &[Point],
    holes: &[&[Point]],
    width: u32,
    height: u32,
) -> Option<Mask> {
    let mut mask = empty_mask(outer, width, height)?;
    let (left, top) = (mask.x, mask.y);
    shifted(outer).spans(width, height, |y, from, to| {
        let row = mask.row_mut((y - top) as usize);
        row[(from - left) as usize..(to - left) as usize].fill(true);
    });
    for (x, y) in centres_on(outer, width, height) {
        mask.set((x - left) as usize, (y - top) as usize, true);
    }
    for hole in holes {
        dig(&mut mask, hole, width, height);
    }
    (mask.area() > 0).then_some(mask)
}

/// How much work an outline is: rows and columns that its sides cross.
pub(super) fn length(points: &[Point]) -> f64 {
    sides(points)
        .map(|(a, b)| (a[0] - b[0]).abs() + (a[1] - b[1]).abs())
        .sum()
}

fn dig(mask: &mut Mask, hole: &[Point], width: u32, height: u32) {
    let kept: HashSet<(u32, u32)> = centres_on(hole, width, height).collect();
    let (right, bottom) = (mask.x + mask.width as u32, mask.y + mask.height as u32);
    shifted(hole).spans(width, height, |y, from, to| {
        if !(mask.y..bottom).contains(&y) {
            return;
        }
        for x in from.max(mask.x)..to.min(right) {
            if !kept.contains(&(x, y)) {
                mask.set((x - mask.x) as usize, (y - mask.y) as usize, false);
            }
        }
    });
}

/// A mask of the pixels' box, cut at the image's frame.
fn empty_mask(points: &[Point], width: u32, height: u32) -> Option<Mask> {
    let ends = |axis: usize, side: u32| {
        let least = points.iter().map(|p| p[axis]).fold(f64::INFINITY, f64::min);
        let most = points
            .iter()
            .map(|p| p[axis])
            .fold(f64::NEG_INFINITY, f64::max);
        let first = (least - ON_CENTRE).ceil().max(0.0);
        let last = (most + ON_CENTRE).floor().min(f64::from(side) - 1.0);
        (first <= last).then(|| (first as u32, (last - first) as usize + 1))
    };
    let ((x, columns), (y, rows)) = (ends(0, width)?, ends(1, height)?);
    Some(Mask::new(x, y, columns, rows))
}

/// The same in coordinates of pixel corners, in which a centre lies at a half.
fn shifted(points: &[Point]) -> Polygon {
    Polygon {
        outer: Ring(points.iter().map(|[x, y]| [x + 0.5, y + 0.5]).collect()),
        holes: Vec::new(),
    }
}

fn sides(points: &[Point]) -> impl Iterator<Item = (Point, Point)> + '_ {
    let shifted = points.iter().cycle().skip(1);
    points.iter().zip(shifted).map(|(a, b)| (*a, *b))
}

/// The pixels of the image whose centres lie on a side.
fn centres_on(points: &[Point], width: u32, height: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
    sides(points)
        .flat_map(|(a, b)| {
            // Along the longer direction there is at most one centre to a step.
            let steep = (a[1] - b[1]).abs() >= (a[0] - b[0]).abs();
            let (along, across) = if steep { (1, 0) } else { (0, 1) };
            let (start, end) = if a[along] <= b[along] { (a, b) } else { (b, a) };
            let slope = if end[along] > start[along] {
                (end[across] - start[across]) / (end[along] - start[along])
            } else {
                0.0
            };
            let first = (start[along] - ON_CENTRE).ceil() as i64;
            let last = (end[along] + ON_CENTRE).floor() as i64;
            (first..=last).filter_map(move |step| {
                let at = start[across] + (step as f64 - start[along]) * slope;
                let near = at.round();
                let place = if steep {
                    (near as i64, step)
                } else {
                    (step, near as i64)
                };
                ((at - near).abs() < ON_CENTRE).then_some(place)
            })
        })
        .filter_map(move |(x, y)| {
            let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
            (x < width && y < height).then_some((x, y))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mask as rows of text, with its place.
    fn drawn(outer: &[Point], holes: &[&[Point]]) -> (u32, u32, Vec<String>) {
        let mask = mask_of(outer, holes, 10, 8).expect("a mask");
        let letter = |set: &bool| if *set { '#' } else { '.' };
        let rows = (0..mask.height).map(|y| mask.row(y).iter().map(letter).collect());
        (mask.x, mask.y, rows.collect())
    }

    #[test]
    fn centres_on_the_outline_belong_to_the_object() {
        let square = [[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]];
        assert_eq!(drawn(&square, &[]), (1, 1, vec!["####".to_owned(); 3]));
        // As findContours gives a plus sign: four corners, joined by diagonals.
        let plus = [[2.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 2.0]];
        let rows = [".#.", "###", ".#."].map(str::to_owned).to_vec();
        assert_eq!(drawn(&plus, &[]), (1, 1, rows));
    }

    #[test]
    fn lines_and_single_pixels_are_objects() {
        assert_eq!(drawn(&[[3.0, 2.0]], &[]), (3, 2, vec!["#".to_owned()]));
        let line = drawn(&[[1.0, 1.0], [3.0, 3.0]], &[]);
        let rows = ["#..", ".#.", "..#"].map(str::to_owned).to_vec();
        assert_eq!(line, (1, 1, rows));
    }

    #[test]
    fn a_holes_outline_belongs_to_the_object() {
        let square = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]];
        // The four-cornered hole of one pixel, as findContours gives it.
        let hole = [[1.0, 2.0], [2.0, 1.0], [3.0, 2.0], [2.0, 3.0]];
        let rows = ["#####", "#####", "##.##", "#####", "#####"];
        let rows = rows.map(str::to_owned).to_vec();
        assert_eq!(drawn(&square, &[&hole]), (0, 0, rows));
    }

    #[test]
    fn what_holds_no_centre_is_nothing_and_what_sticks_out_is_cut() {
        let splinter = [[1.2, 1.2], [1.8, 1.2], [1.5, 1.8]];
        assert_eq!(mask_of(&splinter, &[], 10, 8), None);
        let wide = [[8.0, 6.0], [10.0, 6.0], [10.0, 8.0], [8.0, 8.0]];
        assert_eq!(drawn(&wide, &[]), (8, 6, vec!["##".to_owned(); 2]));
    }
}
