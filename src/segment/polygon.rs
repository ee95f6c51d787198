//! Polygons with holes: their area, and the pixels they cover.

mod simplify;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

/// A corner: x and y in pixels.
pub type Point = [f64; 2];

/// An outline with its holes. Rings are simple; they may touch each other in single points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Polygon {
    /// The outer ring.
    pub outer: Ring,
    /// The inner rings, one per hole.
    pub holes: Vec<Ring>,
}

/// A closed line through its points, the last of which is joined to the first (which is not repeated).
///
/// In JSON a list of `[x, y]`; whole numbers are written without a fraction, and every number reads back as the
/// same number, so that areas survive.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Ring(pub Vec<Point>);

impl Polygon {
    /// Area in square pixels: the outer ring's less the holes'.
    pub fn area(&self) -> f64 {
        self.outer.area() - self.holes.iter().map(Ring::area).sum::<f64>()
    }

    /// The outer ring, then the inner ones.
    pub fn rings(&self) -> impl Iterator<Item = &Ring> {
        std::iter::once(&self.outer).chain(&self.holes)
    }

    /// Calls `span(y, from, to)` for every run of pixels whose centres lie inside (even-odd rule), row by row,
    /// `to` excluded, clipped to an image of this size. For a polygon on pixel corners these are exactly its pixels.
    pub fn spans(&self, width: u32, height: u32, mut span: impl FnMut(u32, u32, u32)) {
        let edges = self.edges_by_top(height);
        let mut active: Vec<Edge> = Vec::new();
        let mut crossings: Vec<f64> = Vec::new();
        let mut next = 0;
        let first_row = edges.first().map_or(height, |edge| edge.first_row);
        for y in first_row..height {
            active.retain(|edge| edge.end_row > y);
            while next < edges.len() && edges[next].first_row <= y {
                active.push(edges[next]);
                next += 1;
            }
            if active.is_empty() && next == edges.len() {
                break;
            }
            crossings.clear();
            crossings.extend(active.iter().map(|edge| edge.x_at(f64::from(y) + 0.5)));
            crossings.sort_unstable_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                let (from, to) = (first_centre(pair[0], width), first_centre(pair[1], width));
                if from < to {
                    span(y, from, to);
                }
            }
        }
    }

    fn edges_by_top(&self, height: u32) -> Vec<Edge> {
        let mut edges: Vec<Edge> = self
            .rings()
            .flat_map(Ring::edges)
            .filter_map(|(a, b)| Edge::new(a, b, height))
            .collect();
        edges.sort_unstable_by_key(|edge| edge.first_row);
        edges
    }
}

impl Ring {
    /// Area in square pixels by the shoelace formula, never negative. Exact on pixel corners: every product and sum is
    /// a whole number below 2⁵³.
    pub fn area(&self) -> f64 {
        let twice: f64 = self.edges().map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum();
        twice.abs() / 2.0
    }

    /// The sides, each as its two ends.
    pub fn edges(&self) -> impl Iterator<Item = (Point, Point)> + '_ {
        let shifted = self.0.iter().cycle().skip(1);
        self.0.iter().zip(shifted).map(|(a, b)| (*a, *b))
    }

    /// Whether a point that is not on the ring lies inside it.
    pub(super) fn holds(&self, [x, y]: Point) -> bool {
        let crossed = self.edges().filter(|(a, b)| {
            (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
        });
        crossed.count() % 2 == 1
    }
}

/// Distance from a point to the nearest one between two others.
pub(super) fn distance(point: Point, side: (Point, Point)) -> f64 {
    squared_distance(point, side).sqrt()
}

fn squared_distance(point: Point, (a, b): (Point, Point)) -> f64 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let (px, py) = (point[0] - a[0], point[1] - a[1]);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 {
        ((px * dx + py * dy) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (px - along * dx).powi(2) + (py - along * dy).powi(2)
}

impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for point in &self.0 {
            sequence.serialize_element(&[Coordinate(point[0]), Coordinate(point[1])])?;
        }
        sequence.end()
    }
}

/// A number that is written without a fraction where it has none.
struct Coordinate(f64);

impl Serialize for Coordinate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Beyond 2⁵³ not every whole number is an f64; no image is that wide.
        if self.0.fract() == 0.0 && self.0.abs() < 9_007_199_254_740_992.0 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// A side that crosses the centre line of at least one pixel row.
#[derive(Debug, Clone, Copy)]
struct Edge {
    first_row: u32,
    end_row: u32,
    top: Point,
    dx_per_row: f64,
}

impl Edge {
    fn new(a: Point, b: Point, height: u32) -> Option<Self> {
        let (top, bottom) = if a[1] <= b[1] { (a, b) } else { (b, a) };
        let (first_row, end_row) = (
            first_centre(top[1], height),
            first_centre(bottom[1], height),
        );
        let dx_per_row = (bottom[0] - top[0]) / (bottom[1] - top[1]);
        (first_row < end_row).then_some(Self {
            first_row,
            end_row,
            top,
            dx_per_row,
        })
    }

    fn x_at(&self, y: f64) -> f64 {
        self.top[0] + (y - self.top[1]) * self.dx_per_row
    }
}

/// The first pixel whose centre is not left of `x`, at most `end`.
fn first_centre(x: f64, end: u32) -> u32 {
    // The cast saturates, so that a coordinate outside the image is clipped.
    ((x - 0.5).ceil().max(0.0) as u32).min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Polygon {
        Polygon {
            outer: Ring(vec![[0.0, 0.0], [5.0, 0.0], [5.0, 4.0], [0.0, 4.0]]),
            holes: vec![Ring(vec![[1.0, 1.0], [1.0, 3.0], [4.0, 3.0], [4.0, 1.0]])],
        }
    }

    #[test]
    fn holes_are_subtracted() {
        assert_eq!(frame().area(), 20.0 - 6.0);
    }

    #[test]
    fn spans_cover_as_many_pixels_as_the_area_says() {
        let mut covered = Vec::new();
        frame().spans(5, 4, |y, from, to| {
            covered.extend((from..to).map(|x| (x, y)))
        });
        assert_eq!(covered.len(), 14);
        assert!(!covered.contains(&(2, 1)), "a pixel of the hole");
    }

    #[test]
    fn what_lies_outside_the_image_is_clipped() {
        let polygon = Polygon {
            outer: Ring(vec![[-3.0, -3.0], [1e12, -3.0], [1e12, 2.0], [-3.0, 2.0]]),
            holes: Vec::new(),
        };
        let mut count = 0;
        polygon.spans(7, 9, |_, from, to| count += to - from);
        assert_eq!(count, 14);
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        let ring = Ring(vec![[0.1, 3.0], [1.0 / 3.0, -7.0], [2.5e-9, 12345.0]]);
        let json = serde_json::to_string(&ring).unwrap();
        assert!(json.starts_with("[[0.1,3],"), "{json}");
        assert_eq!(serde_json::from_str::<Ring>(&json).unwrap(), ring);
    }
}
