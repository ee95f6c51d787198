//! Outlines by following the cracks between pixels, so that a polygon's area is its mask's pixel count exactly.
//!
//! Every side between a set and an empty pixel is a crack; cracks are followed with the object on the right hand.
//! Where two set pixels touch only at a corner, four cracks meet, and the walk turns so that the two empty pixels are
//! kept apart. As the object is 4-connected (see `label`), the two empty pixels then lie on different rings: no
//! ring ever passes through a point twice, all rings are simple, and they touch each other in single points at most,
//! which is what a valid polygon (OGC Simple Features, JTS) allows.

use super::bits::{Bits, columns};
use super::mask::Mask;
use super::{Point, Polygon, Ring};

/// Steps along the cracks: right, down, left, up.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

/// The outline of a mask whose pixels are 4-connected; `None` for an empty mask. The outer ring begins at the upper left
/// corner of its first row and runs clockwise on the screen, inner rings run against it.
pub(super) fn outline(mask: &Mask) -> Option<Polygon> {
    let bits = Bits::of(mask);
    let mut walk = Walk {
        followed: bits.emptied(),
        origin: [f64::from(mask.x) - 1.0, f64::from(mask.y) - 1.0],
        bits: &bits,
    };
    let mut outer = None;
    let mut holes = Vec::new();
    for row in 1..bits.rows() {
        for index in 0..bits.row(row).len() {
            // Every ring has a top edge; outer rings run to the right along theirs, and the first is the outer ring.
            while let Some(column) = walk.next_top_edge(row, index) {
                let ring = walk.follow(column, row);
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

struct Walk<'a> {
    bits: &'a Bits,
    /// The pixels whose upper crack has been followed.
    followed: Bits,
    /// Where the frame's first cell lies in the image.
    origin: Point,
}

impl Walk<'_> {
    /// The first pixel in a word of a row whose upper side is a crack that has not been followed.
    fn next_top_edge(&self, row: usize, index: usize) -> Option<usize> {
        let (here, above) = (self.bits.row(row)[index], self.bits.row(row - 1)[index]);
        columns(index, here & !above & !self.followed.row(row)[index]).next()
    }

    /// Follows the ring whose crack above this pixel runs to the right.
    fn follow(&mut self, column: usize, row: usize) -> Ring {
        let (mut at, mut direction) = ((column, row), 0);
        let mut points = Vec::new();
        loop {
            if direction == 0 {
                if self.followed.at(at.0, at.1) {
                    break;
                }
                self.followed.set(at.0, at.1);
            }
            let (x, y) = STEPS[direction];
            at = (at.0.wrapping_add_signed(x), at.1.wrapping_add_signed(y));
            let next = self.turn(at, direction);
            if next != direction {
                points.push([self.origin[0] + at.0 as f64, self.origin[1] + at.1 as f64]);
                direction = next;
            }
        }
        // The walk came back to its first corner last.
        points.rotate_right(1);
        Ring(points)
    }

    /// The direction in which the walk goes on from a pixel's upper left corner, with the object on its right.
    fn turn(&self, (x, y): (usize, usize), direction: usize) -> usize {
        // The pixels ahead on the left and on the right.
        let (left, right) = match direction {
            0 => ((x, y - 1), (x, y)),
            1 => ((x, y), (x - 1, y)),
            2 => ((x - 1, y), (x - 1, y - 1)),
            _ => ((x - 1, y - 1), (x, y - 1)),
        };
        let set = |(x, y)| self.bits.at(x, y);
        match (set(left), set(right)) {
            // Also where the right one is empty: the two set pixels touch at this corner, and the walk passes over to
            // the other one.
            (true, _) => (direction + 3) % 4,
            (false, true) => direction,
            (false, false) => (direction + 1) % 4,
        }
    }
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
