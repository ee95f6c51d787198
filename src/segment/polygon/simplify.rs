//! A polygon with fewer points, for display: Douglas and Peucker's lines, but never rings that cross.

use std::collections::HashSet;

use super::{Point, Polygon, Ring, squared_distance};

/// Where the simplified rings would cross, they are tried again with half the tolerance, as often as this; then the
/// exact ones stay.
const ATTEMPTS: usize = 4;

/// A ring keeps at least this many points.
const POINTS_MIN: usize = 4;

/// Pairs of sides, and of holes and sides, that are compared to see whether a simplified polygon is valid, at most: some
/// 100 ms of work. A polygon that needs more stays exact.
const LOOKS_MAX: usize = 20_000_000;

impl Polygon {
    /// A copy with fewer points, for display only: its area is not the mask's. No point left out lies farther than
    /// `tolerance_px` from the line that replaces it, and rings stay simple, apart from each other, and holes inside.
    /// A ring that would have fewer than four points stays as it is, and so does the whole polygon where no
    /// simpler one is valid.
    ///
    /// Source: Douglas and Peucker, Cartographica 10 (1973), 112–122.
    pub fn simplified(&self, tolerance_px: f64) -> Self {
        // Every hole has four sides at least.
        if self.holes.len().saturating_mul(self.holes.len()) > LOOKS_MAX {
            return self.clone();
        }
        let shared = self.shared_points();
        let mut tolerance = tolerance_px;
        for _ in 0..ATTEMPTS {
            let reduce = |ring: &Ring| reduced(ring, tolerance, &shared);
            let candidate = Self {
                outer: reduce(&self.outer),
                holes: self.holes.iter().map(reduce).collect(),
            };
            if candidate.rings_cross_nowhere() && candidate.holes_lie_inside(&shared) {
                return candidate;
            }
            tolerance /= 2.0;
        }
        self.clone()
    }

    /// The points in which rings touch each other. They stay, so that touching rings do not come to cross.
    fn shared_points(&self) -> HashSet<[u64; 2]> {
        let mut seen = HashSet::new();
        let points = self.rings().flat_map(|ring| ring.0.iter().map(key));
        points.filter(|point| !seen.insert(*point)).collect()
    }

    fn rings_cross_nowhere(&self) -> bool {
        let mut sides: Vec<Side> = Vec::new();
        for (ring, points) in self.rings().enumerate() {
            let count = points.0.len();
            sides.extend(points.edges().enumerate().map(|(index, (a, b))| Side {
                a,
                b,
                ring,
                index,
                next: (index + 1) % count,
            }));
        }
        sides.sort_unstable_by(|a, b| a.top().total_cmp(&b.top()));
        let mut active: Vec<Side> = Vec::new();
        let mut looks = 0;
        for side in sides {
            active.retain(|other| other.bottom() >= side.top());
            looks += active.len();
            if looks > LOOKS_MAX || active.iter().any(|other| side.conflicts_with(other)) {
                return false;
            }
            active.push(side);
        }
        true
    }

    fn holes_lie_inside(&self, shared: &HashSet<[u64; 2]>) -> bool {
        let sides: usize = self.rings().map(|ring| ring.0.len()).sum();
        if self.holes.len().saturating_mul(sides) > LOOKS_MAX {
            return false;
        }
        self.holes.iter().enumerate().all(|(index, hole)| {
            let Some(point) = hole.0.iter().find(|point| !shared.contains(&key(point))) else {
                return true;
            };
            let mut others = self
                .holes
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            self.outer.holds(*point) && !others.any(|(_, other)| other.holds(*point))
        })
    }
}

/// A side of a ring, with the place of its two ends in it.
#[derive(Debug, Clone, Copy)]
struct Side {
    a: Point,
    b: Point,
    ring: usize,
    index: usize,
    next: usize,
}

impl Side {
    fn top(&self) -> f64 {
        self.a[1].min(self.b[1])
    }

    fn bottom(&self) -> f64 {
        self.a[1].max(self.b[1])
    }

    /// Whether two sides meet otherwise than they may: neighbours in their common point, and sides of different rings
    /// in a corner that both have.
    fn conflicts_with(&self, other: &Self) -> bool {
        let left = |side: &Self| side.a[0].min(side.b[0]);
        let right = |side: &Self| side.a[0].max(side.b[0]);
        if left(self) > right(other) || left(other) > right(self) {
            return false;
        }
        let same_ring = self.ring == other.ring;
        if same_ring && self.next == other.index {
            return turns_back(self.a, self.b, other.b);
        }
        if same_ring && other.next == self.index {
            return turns_back(other.a, other.b, self.b);
        }
        let ends = [(self.a, self.b), (self.b, self.a)];
        let meeting = ends.into_iter().flat_map(|(end, rest)| {
            [(other.a, other.b), (other.b, other.a)]
                .into_iter()
                .filter(move |(other_end, _)| *other_end == end)
                .map(move |(_, other_rest)| turns_back(rest, end, other_rest))
        });
        match meeting.reduce(|one, two| one || two) {
            Some(overlap) => same_ring || overlap,
            None => self.touches(other),
        }
    }

    fn touches(&self, other: &Self) -> bool {
        let sides = |line: &Self, of: &Self| {
            let (a, b) = (turn(line.a, line.b, of.a), turn(line.a, line.b, of.b));
            (a >= 0.0 && b <= 0.0) || (a <= 0.0 && b >= 0.0)
        };
        // Both boxes overlap already, which decides for sides on one line.
        sides(self, other) && sides(other, self)
    }
}

/// Whether the way over these points runs back over itself.
fn turns_back(a: Point, b: Point, c: Point) -> bool {
    let ahead = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]);
    turn(a, b, c) == 0.0 && ahead < 0.0
}

/// Positive where the way over these points turns to the right on the screen.
fn turn(a: Point, b: Point, c: Point) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn key(point: &Point) -> [u64; 2] {
    // −0 and 0 are one place.
    point.map(|coordinate| (coordinate + 0.0).to_bits())
}

fn reduced(ring: &Ring, tolerance: f64, shared: &HashSet<[u64; 2]>) -> Ring {
    let points = &ring.0;
    let kept = kept(points, tolerance, shared);
    let fewer = points.iter().zip(&kept).filter(|(_, kept)| **kept);
    let fewer: Vec<Point> = fewer.map(|(point, _)| *point).collect();
    if fewer.len() < POINTS_MIN {
        return ring.clone();
    }
    Ring(fewer)
}

/// Which points stay.
fn kept(points: &[Point], tolerance: f64, shared: &HashSet<[u64; 2]>) -> Vec<bool> {
    let count = points.len();
    let mut kept = vec![false; count];
    for at in (0..count).filter(|at| shared.contains(&key(&points[*at]))) {
        // With its neighbours, so that the rings meet there as they did.
        for at in [at + count - 1, at, at + 1] {
            kept[at % count] = true;
        }
    }
    let first = kept.iter().position(|kept| *kept).unwrap_or(0);
    let squared = |a: Point, b: Point| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    let away = |at: &usize| squared(points[*at], points[first]);
    let Some(farthest) = (0..count).max_by(|a, b| away(a).total_cmp(&away(b))) else {
        return kept;
    };
    kept[first] = true;
    kept[farthest] = true;
    let fixed: Vec<usize> = (0..count).filter(|at| kept[*at]).collect();
    let mut pieces: Vec<(usize, usize)> = fixed.windows(2).map(|two| (two[0], two[1])).collect();
    pieces.extend(
        fixed
            .last()
            .zip(fixed.first())
            .map(|(last, first)| (*last, first + count)),
    );
    while let Some((from, to)) = pieces.pop() {
        let line = (points[from % count], points[to % count]);
        let off = |at: usize| squared_distance(points[at % count], line);
        let worst = (from + 1..to).max_by(|a, b| off(*a).total_cmp(&off(*b)));
        if let Some(worst) = worst.filter(|worst| off(*worst) > tolerance * tolerance) {
            kept[worst % count] = true;
            pieces.extend([(from, worst), (worst, to)]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::segment::{contour, label};

    fn outlines(width: usize, cells: &[bool]) -> Vec<Polygon> {
        let found = label::components(width, cells.len() / width, 1, |y, row| {
            row.copy_from_slice(&cells[y * width..(y + 1) * width]);
        });
        let masks = found.iter().map(|runs| label::mask_of(runs));
        masks.filter_map(|mask| contour::outline(&mask)).collect()
    }

    proptest! {
        #[test]
        fn rings_stay_valid_and_near(
            width in 4_usize..14,
            cells in proptest::collection::vec(proptest::bool::weighted(0.7), 16..160),
            tolerance in 0.3_f64..4.0,
        ) {
            let rows = cells.len() / width;
            for exact in outlines(width, &cells[..rows * width]) {
                prop_assert!(exact.rings_cross_nowhere(), "the exact one is valid: {:?}", exact);
                let simple = exact.simplified(tolerance);
                prop_assert!(simple.rings_cross_nowhere(), "{:?}", simple);
                prop_assert_eq!(simple.holes.len(), exact.holes.len());
                for (ring, of) in simple.rings().zip(exact.rings()) {
                    prop_assert!(ring.0.len() >= POINTS_MIN && ring.area() > 0.0);
                    for point in &of.0 {
                        let off = ring.edges().map(|side| squared_distance(*point, side));
                        let off = off.fold(f64::MAX, f64::min);
                        prop_assert!(off <= tolerance * tolerance + 1e-9, "{} px", off.sqrt());
                    }
                }
            }
        }
    }

    fn square(left: f64, top: f64, side: f64) -> Ring {
        let (right, bottom) = (left + side, top + side);
        Ring(vec![
            [left, top],
            [right, top],
            [right, bottom],
            [left, bottom],
        ])
    }

    #[test]
    fn a_staircase_becomes_a_line() {
        let mut stairs: Vec<Point> = Vec::new();
        for step in 0..50 {
            let at = f64::from(step);
            stairs.extend([[at, at], [at + 1.0, at]]);
        }
        stairs.extend([[50.0, 50.0], [50.0, 60.0], [0.0, 60.0]]);
        let exact = Polygon {
            outer: Ring(stairs),
            holes: Vec::new(),
        };
        assert_eq!(exact.simplified(1.0).outer.0.len(), 4);
        assert_eq!(exact.simplified(0.0).area(), exact.area());
        assert_eq!(
            exact.simplified(f64::NAN).outer.0.len(),
            exact.outer.0.len()
        );
    }

    #[test]
    fn what_crosses_or_leaves_is_seen() {
        let polygon = |outer, holes| Polygon { outer, holes };
        let nothing_shared = HashSet::new();
        let inside = polygon(square(0.0, 0.0, 9.0), vec![square(2.0, 2.0, 3.0)]);
        assert!(inside.rings_cross_nowhere() && inside.holes_lie_inside(&nothing_shared));
        let crossing = polygon(square(0.0, 0.0, 9.0), vec![square(7.0, 7.0, 3.0)]);
        assert!(!crossing.rings_cross_nowhere());
        let outside = polygon(square(0.0, 0.0, 9.0), vec![square(20.0, 2.0, 3.0)]);
        assert!(!outside.holes_lie_inside(&nothing_shared));
        let within = vec![square(1.0, 1.0, 6.0), square(2.0, 2.0, 3.0)];
        assert!(!polygon(square(0.0, 0.0, 9.0), within).holes_lie_inside(&nothing_shared));
        let bow = Ring(vec![[0.0, 0.0], [4.0, 4.0], [4.0, 0.0], [0.0, 4.0]]);
        assert!(!polygon(bow, Vec::new()).rings_cross_nowhere());
        let spike = Ring(vec![
            [0.0, 0.0],
            [4.0, 0.0],
            [9.0, 0.0],
            [6.0, 0.0],
            [2.0, 4.0],
        ]);
        assert!(!polygon(spike, Vec::new()).rings_cross_nowhere());
    }
}
