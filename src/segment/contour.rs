//! Outlines by following the cracks between pixels, so that a polygon's area is its mask's pixel count exactly.
//!
//! Every side between a set and an empty pixel is a crack; cracks are followed with the object on the right hand.
//! Where two set pixels touch only at a corner, four cracks meet, and the walk turns so that the two empty pixels are
//! kept apart. As the object is 4-connected (see `label`), the two empty pixels then lie on different rings: no
//! ring ever passes through a point twice, all rings are simple, and they touch each other in single points at most,
//! which is what a valid polygon (OGC Simple Features, JTS) allows.

use super::mask::Mask;
use super::{Polygon, Ring};

/// Steps along the cracks: right, down, left, up.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

/// The outline of a mask whose pixels are 4-connected; `None` for an empty mask.
pub(super) fn outline(mask: &Mask) -> Option<Polygon> {
    let mut visited = vec![false; mask.cells().len()];
    let mut outer = None;
    let mut holes = Vec::new();
    for y in 0..mask.height as isize {
        for x in 0..mask.width as isize {
            // Every ring has a top edge; outer rings run to the right along theirs, and the first is the outer ring.
            if mask.at(x, y) && !mask.at(x, y - 1) && !visited[cell(mask, x, y)] {
                let ring = follow(mask, x, y, &mut visited);
                match outer {
                    None => outer = Some(ring),
                    Some(_) => holes.push(ring),
                }
            }
        }
    }
    Some(Polygon {
        outer: outer?,
        holes,
    })
}

/// Follows the ring whose crack above the pixel (x, y) runs to the right. `visited` marks pixels whose upper crack has
/// been followed.
fn follow(mask: &Mask, x: isize, y: isize, visited: &mut [bool]) -> Ring {
    let (mut at, mut direction) = ((x, y), 0);
    let mut points = Vec::new();
    loop {
        if direction == 0 {
            let seen = &mut visited[cell(mask, at.0, at.1)];
            if *seen {
                break;
            }
            *seen = true;
        }
        at = (at.0 + STEPS[direction].0, at.1 + STEPS[direction].1);
        let next = turn(mask, at, direction);
        if next != direction {
            points.push([
                f64::from(mask.x) + at.0 as f64,
                f64::from(mask.y) + at.1 as f64,
            ]);
            direction = next;
        }
    }
    // The walk came back to its first corner last.
    points.rotate_right(1);
    Ring(points)
}

/// The direction in which the walk goes on from a corner, with the object on its right.
fn turn(mask: &Mask, at: (isize, isize), direction: usize) -> usize {
    // The pixels ahead on the left and on the right.
    let (left, right) = match direction {
        0 => ((0, -1), (0, 0)),
        1 => ((0, 0), (-1, 0)),
        2 => ((-1, 0), (-1, -1)),
        _ => ((-1, -1), (0, -1)),
    };
    let set = |offset: (isize, isize)| mask.at(at.0 + offset.0, at.1 + offset.1);
    match (set(left), set(right)) {
        // Also where the right one is empty: the two set pixels touch at this corner, and the walk passes over to the
        // other one.
        (true, _) => (direction + 3) % 4,
        (false, true) => direction,
        (false, false) => (direction + 1) % 4,
    }
}

fn cell(mask: &Mask, x: isize, y: isize) -> usize {
    (y + 1) as usize * mask.stride() + (x + 1) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::label;
    use super::*;

    fn objects(width: usize, cells: &[bool]) -> Vec<Mask> {
        let found = label::components(width, cells.len() / width, 1, |y, row| {
            row.copy_from_slice(&cells[y * width..][..width])
        });
        found.iter().map(|runs| label::mask_of(runs)).collect()
    }

    /// Holes by another way: empty 4-connected regions that do not reach the frame.
    fn hole_count(mask: &Mask) -> usize {
        let (cells, stride) = (mask.cells(), mask.stride());
        label::components(stride, mask.height + 2, 1, |y, row| {
            let cells = &cells[y * stride..(y + 1) * stride];
            row.iter_mut()
                .zip(cells)
                .for_each(|(row, cell)| *row = !cell);
        })
        .len()
            - 1
    }

    proptest! {
        #[test]
        fn area_is_the_pixel_count_and_rings_are_simple(
            width in 1_usize..12,
            cells in proptest::collection::vec(any::<bool>(), 1..140),
        ) {
            let rows = cells.len() / width;
            for mask in objects(width, &cells[..rows * width]) {
                let polygon = outline(&mask).unwrap();
                prop_assert_eq!(polygon.area(), mask.area() as f64);
                prop_assert_eq!(polygon.holes.len(), hole_count(&mask));
                for ring in polygon.rings() {
                    let points: HashSet<_> =
                        ring.0.iter().map(|p| (p[0] as i64, p[1] as i64)).collect();
                    prop_assert_eq!(points.len(), ring.0.len(), "a point twice in {:?}", ring);
                }
                let mut again = Mask::new(mask.x, mask.y, mask.width, mask.height);
                polygon.spans(1000, 1000, |y, from, to| {
                    let row = again.row_mut((y - mask.y) as usize);
                    row[(from - mask.x) as usize..(to - mask.x) as usize].fill(true);
                });
                prop_assert_eq!(&again, &mask, "filling the polygon gives the mask back");
            }
        }
    }

    #[test]
    fn a_square_has_four_corners() {
        let polygon = outline(&objects(2, &[true; 4])[0]).unwrap();
        assert_eq!(polygon.outer.0.len(), 4);
        assert_eq!(polygon.area(), 4.0);
    }

    #[test]
    fn a_ring_closed_over_a_corner_has_a_hole() {
        // The two ends of the arm meet at a corner only: a hole that touches the outer ring in one point.
        let cells = [true, true, true, true, false, true, true, true, false];
        let polygon = outline(&objects(3, &cells)[0]).unwrap();
        assert_eq!((polygon.area(), polygon.holes.len()), (7.0, 1));
    }

    #[test]
    fn an_empty_mask_has_no_outline() {
        assert_eq!(outline(&Mask::new(0, 0, 3, 3)), None);
    }
}
