//! The convex hull of a mask and what follows from it: solidity and Feret's diameters, as ImageJ and scikit-image have
//! them.
//!
//! ImageJ's hull is that of the pixels' corners. scikit-image's is that of the middles of the pixels' sides, and it
//! goes on with the pixels whose centres lie in it. Hulls are found in whole numbers: corners as they are, middles of
//! sides doubled.

use crate::segment::Point;
use crate::segment::mask::Mask;

/// The first and the last pixel of a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::segment) struct RowEnds {
    pub y: i64,
    pub first: i64,
    pub last: i64,
}

/// A convex polygon, its corners in order.
#[derive(Debug, Clone)]
pub(in crate::segment) struct Hull(Vec<[i64; 2]>);

/// Feret's diameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Feret {
    pub max: f64,
    pub min: f64,
}

/// The rows of a mask that hold pixels.
pub(in crate::segment) fn rows_of(mask: &Mask) -> Vec<RowEnds> {
    let ends = |y: usize| {
        let row = mask.row(y);
        let first = row.iter().position(|set| *set)?;
        let last = row.iter().rposition(|set| *set)?;
        Some(RowEnds {
            y: y as i64,
            first: first as i64,
            last: last as i64,
        })
    };
    (0..mask.height).filter_map(ends).collect()
}

impl Hull {
    /// Of the pixels' corners, in pixels.
    pub(in crate::segment) fn of_corners(rows: &[RowEnds]) -> Self {
        let corners = rows
            .iter()
            .flat_map(|row| [row.y, row.y + 1].map(|y| [[row.first, y], [row.last + 1, y]]));
        Self::around(corners.flatten().collect())
    }

    /// Of the middles of the pixels' sides, in half pixels, centres at even numbers.
    fn of_sides(rows: &[RowEnds]) -> Self {
        let middles = rows.iter().flat_map(|row| {
            let (left, right, y) = (2 * row.first, 2 * row.last, 2 * row.y);
            [
                [left, y - 1],
                [right, y - 1],
                [left - 1, y],
                [right + 1, y],
                [left, y + 1],
                [right, y + 1],
            ]
        });
        Self::around(middles.collect())
    }

    /// The monotone chain: Andrew, Inf. Process. Lett. 9 (1979), 216–219.
    pub(in crate::segment) fn around(mut points: Vec<[i64; 2]>) -> Self {
        points.sort_unstable_by_key(|[x, y]| (*y, *x));
        points.dedup();
        let mut corners = half(points.iter());
        corners.extend(half(points.iter().rev()));
        Self(corners)
    }

    /// The corners, in order.
    pub(in crate::segment) fn corners(&self) -> &[[i64; 2]] {
        &self.0
    }

    /// Area in squares of the unit that the corners are in.
    pub(in crate::segment) fn area(&self) -> f64 {
        let twice: i64 = self.sides().map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum();
        twice.abs() as f64 / 2.0
    }

    fn sides(&self) -> impl Iterator<Item = ([i64; 2], [i64; 2])> + '_ {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().zip(next).map(|(a, b)| (*a, *b))
    }

    /// Of a hull of sides: the pixels whose centres lie in it or on its border, as scikit-image's
    /// `convex_hull_image(offset_coordinates=True, include_borders=True)`.
    fn pixels(&self, rows: &[RowEnds]) -> Vec<RowEnds> {
        let (Some(top), Some(bottom)) = (rows.first(), rows.last()) else {
            return Vec::new();
        };
        let empty = |y| RowEnds {
            y,
            first: i64::MAX,
            last: i64::MIN,
        };
        let mut filled: Vec<RowEnds> = (top.y..=bottom.y).map(empty).collect();
        for (a, b) in self.sides() {
            let ([x, from], [to_x, to]) = if a[1] < b[1] { (a, b) } else { (b, a) };
            // The rows whose centre line, an even number, the side crosses or touches; none for a level side, whose
            // neighbours reach its ends.
            let crossed = from + (from & 1)..=to;
            for level in crossed.step_by(2).filter(|_| from < to) {
                // The crossing is `over / (2 * (to - from))`, in whole pixels.
                let over = x * (to - from) + (to_x - x) * (level - from);
                let by = 2 * (to - from);
                let row = &mut filled[(level / 2 - top.y) as usize];
                row.first = row.first.min(-(-over).div_euclid(by));
                row.last = row.last.max(over.div_euclid(by));
            }
        }
        filled
    }

    /// Feret's diameters of the hull when its unit has these lengths along x and y: the longest distance between two
    /// corners, and the smallest between two parallels that hold the hull between them. One of them lies on a side
    /// (Freeman and Shapira, Commun. ACM 18 (1975), 409–413); found by rotating calipers (Shamos 1978).
    pub(super) fn feret(&self, unit: [f64; 2]) -> Feret {
        let corners: Vec<Point> = self
            .0
            .iter()
            .map(|[x, y]| [*x as f64 * unit[0], *y as f64 * unit[1]])
            .collect();
        let count = corners.len();
        let (mut max, mut min) = (0.0_f64, f64::INFINITY);
        let mut far = 1;
        for index in 0..count {
            let (a, b) = (corners[index], corners[(index + 1) % count]);
            let height = |at: usize| twice_area(a, b, corners[at % count]);
            while height(far + 1) > height(far) {
                far += 1;
            }
            // Also the one after, which is as far where two sides are parallel.
            for opposite in [far, far + 1].map(|at| corners[at % count]) {
                max = max.max(distance(a, opposite)).max(distance(b, opposite));
            }
            min = min.min(height(far) / distance(a, b));
        }
        Feret { max, min }
    }
}

/// What scikit-image derives from its hull image.
pub(super) struct HullImage {
    /// Pixels in it.
    pub area: u64,
    /// The longest distance between two points of its outline at level 0.5, `feret_diameter_max`, in pixels.
    pub feret_max: f64,
}

impl HullImage {
    /// Source: scikit-image 0.26, `convex_hull.py`, `_regionprops.py`.
    pub fn of(rows: &[RowEnds]) -> Self {
        let filled = Hull::of_sides(rows).pixels(rows);
        let area = filled
            .iter()
            .map(|row| row.last - row.first + 1)
            .sum::<i64>();
        // The outline passes through the middles of sides.
        let feret = Hull::of_sides(&filled).feret([0.5, 0.5]);
        Self {
            area: area as u64,
            feret_max: feret.max,
        }
    }
}

fn half<'a>(points: impl Iterator<Item = &'a [i64; 2]>) -> Vec<[i64; 2]> {
    let mut hull: Vec<[i64; 2]> = Vec::new();
    for point in points {
        while let [.., a, b] = hull[..]
            && (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]) >= 0
        {
            hull.pop();
        }
        hull.push(*point);
    }
    hull.pop();
    hull
}

fn twice_area(a: Point, b: Point, c: Point) -> f64 {
    ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])).abs()
}

fn distance(a: Point, b: Point) -> f64 {
    // Whole and half numbers are squared exactly.
    let [x, y] = [b[0] - a[0], b[1] - a[1]];
    (x * x + y * y).sqrt()
}
