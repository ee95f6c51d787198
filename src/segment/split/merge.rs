//! Joins pieces of one object that the watershed cut apart.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::super::measure::hull::Hull;
use super::basins::{Basins, NOBODY};
use super::coarse::Coarse;

/// What parts two pieces: the solidity lost by joining them, plus this much of the valley between them, relative to the
/// lower peak. Two equal disks that overlap by a tenth of their width lose 0.07 and have a valley of 0.55.
const VALLEY_WEIGHT: f64 = 0.2;

/// Pieces are parted from this on. A dent of a tenth of a disk's width costs 0.04.
const PARTED: f64 = 0.05;

/// A piece with a radius below this share of its neighbour's is a bump on it.
const BUMP_SHARE: f32 = 0.3;

/// A piece with fewer cells than this has no shape of its own.
const PIECE_MIN_CELLS: u64 = 12;

/// The owner of each cell, numbered from 0 without gaps; `None` outside.
pub(super) fn merge(coarse: &Coarse, mut basins: Basins) -> Vec<Option<u32>> {
    let roots: Vec<u32> = basins
        .of_cell
        .clone()
        .into_iter()
        .map(|basin| {
            if basin == NOBODY {
                NOBODY
            } else {
                basins.root(basin)
            }
        })
        .collect();
    let mut pieces = Pieces::of(coarse, &roots, &mut basins);
    pieces.join();
    if !pieces.are_parted() {
        return roots
            .into_iter()
            .map(|root| (root != NOBODY).then_some(0))
            .collect();
    }
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    roots
        .into_iter()
        .map(|root| {
            (root != NOBODY).then(|| {
                let next = numbers.len() as u32;
                *numbers.entry(pieces.owner(root)).or_insert(next)
            })
        })
        .collect()
}

struct Piece {
    area: u64,
    hull: Hull,
    solidity: f64,
    peak: f32,
    radius: f32,
    /// Neighbours with the highest pass to each.
    passes: BTreeMap<u32, f32>,
    /// Raised with every change, so that what the heap still holds of it is known to be stale.
    version: u32,
}

impl Piece {
    fn new(area: u64, points: Vec<[i64; 2]>, peak: f32, radius: f32) -> Self {
        let hull = Hull::around(points);
        let solidity = area as f64 / hull.area().max(1.0);
        Self {
            area,
            hull,
            solidity,
            peak,
            radius,
            passes: BTreeMap::new(),
            version: 0,
        }
    }
}

/// What joining two pieces costs; the cheapest pair is joined first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    cost: f64,
    a: u32,
    b: u32,
    versions: u32,
}

impl Eq for Pair {}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.cost
            .total_cmp(&other.cost)
            .then_with(|| (self.a, self.b).cmp(&(other.a, other.b)))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Pieces {
    pieces: HashMap<u32, Piece>,
    joined_to: HashMap<u32, u32>,
}

impl Pieces {
    fn of(coarse: &Coarse, roots: &[u32], basins: &mut Basins) -> Self {
        let stride = coarse.mask.stride();
        let mut extents: HashMap<u32, (u64, Vec<[i64; 2]>)> = HashMap::new();
        for (y, row) in roots.chunks_exact(stride).enumerate() {
            let mut x = 0;
            while x < stride {
                let from = x;
                while x < stride && row[x] == row[from] {
                    x += 1;
                }
                if row[from] != NOBODY {
                    let (area, points) = extents.entry(row[from]).or_default();
                    *area += (x - from) as u64;
                    for y in [y as i64, y as i64 + 1] {
                        points.extend([[from as i64, y], [x as i64, y]]);
                    }
                }
            }
        }
        let mut pieces: HashMap<u32, Piece> = extents
            .into_iter()
            .map(|(root, (area, points))| {
                let (peak, radius) = (basins.peaks[root as usize], basins.radii[root as usize]);
                (root, Piece::new(area, points, peak, radius))
            })
            .collect();
        for ((a, b), pass) in std::mem::take(&mut basins.passes) {
            let (a, b) = (basins.root(a), basins.root(b));
            if a != b {
                for (one, other) in [(a, b), (b, a)] {
                    if let Some(piece) = pieces.get_mut(&one) {
                        let known = piece.passes.entry(other).or_insert(pass);
                        *known = known.max(pass);
                    }
                }
            }
        }
        Self {
            pieces,
            joined_to: HashMap::new(),
        }
    }

    fn join(&mut self) {
        let mut heap: BinaryHeap<Reverse<Pair>> = BinaryHeap::new();
        for (a, piece) in &self.pieces {
            let later = piece.passes.keys().filter(|b| *b > a);
            heap.extend(later.map(|b| Reverse(self.pair(*a, *b))));
        }
        while let Some(Reverse(pair)) = heap.pop() {
            if pair.cost >= PARTED {
                break;
            }
            let (Some(a), Some(b)) = (self.pieces.get(&pair.a), self.pieces.get(&pair.b)) else {
                continue;
            };
            if a.version + b.version != pair.versions {
                continue;
            }
            let joined = self.join_two(pair.a, pair.b);
            let neighbours = self.pieces[&joined].passes.keys();
            heap.extend(neighbours.map(|other| Reverse(self.pair(joined, *other))));
        }
    }

    /// Whether what is left is parted taken all together: the sectors of a disk are more convex two by two than joined,
    /// but not more than the disk.
    fn are_parted(&self) -> bool {
        let area: u64 = self.pieces.values().map(|piece| piece.area).sum();
        let corners = self
            .pieces
            .values()
            .flat_map(|piece| piece.hull.corners().iter().copied())
            .collect();
        let together = area as f64 / Hull::around(corners).area().max(1.0);
        let weighted: f64 = self
            .pieces
            .values()
            .map(|piece| piece.area as f64 * piece.solidity)
            .sum();
        let valleys: Vec<f64> = self
            .pieces
            .values()
            .flat_map(|piece| {
                piece
                    .passes
                    .iter()
                    .map(|(other, pass)| valley(piece, &self.pieces[other], *pass))
            })
            .collect();
        let valley = valleys.iter().sum::<f64>() / valleys.len().max(1) as f64;
        weighted / area.max(1) as f64 - together + VALLEY_WEIGHT * valley >= PARTED
    }

    fn pair(&self, a: u32, b: u32) -> Pair {
        let (one, two) = (&self.pieces[&a], &self.pieces[&b]);
        Pair {
            cost: cost(one, two, one.passes[&b]),
            a: a.min(b),
            b: a.max(b),
            versions: one.version + two.version,
        }
    }

    fn join_two(&mut self, a: u32, b: u32) -> u32 {
        let (Some(one), Some(two)) = (self.pieces.remove(&a), self.pieces.remove(&b)) else {
            return a;
        };
        let (peak, radius) = (one.peak.max(two.peak), one.radius.max(two.radius));
        let mut joined = Piece::new(
            one.area + two.area,
            [one.hull.corners(), two.hull.corners()].concat(),
            peak,
            radius,
        );
        joined.version = one.version + two.version + 1;
        joined.passes = one.passes;
        for (other, pass) in two.passes {
            let known = joined.passes.entry(other).or_insert(pass);
            *known = known.max(pass);
        }
        joined.passes.remove(&a);
        joined.passes.remove(&b);
        for (other, pass) in &joined.passes {
            if let Some(neighbour) = self.pieces.get_mut(other) {
                neighbour.passes.remove(&b);
                neighbour.passes.insert(a, *pass);
            }
        }
        self.pieces.insert(a, joined);
        self.joined_to.insert(b, a);
        a
    }

    fn owner(&self, mut root: u32) -> u32 {
        while let Some(next) = self.joined_to.get(&root) {
            root = *next;
        }
        root
    }
}

fn cost(a: &Piece, b: &Piece, pass: f32) -> f64 {
    let (small, large) = if a.radius < b.radius { (a, b) } else { (b, a) };
    if small.radius < BUMP_SHARE * large.radius || small.area < PIECE_MIN_CELLS {
        return f64::NEG_INFINITY;
    }
    let area = a.area + b.area;
    let hull = Hull::around([a.hull.corners(), b.hull.corners()].concat()).area();
    let together = area as f64 / hull.max(1.0);
    let apart = (a.area as f64 * a.solidity + b.area as f64 * b.solidity) / area as f64;
    apart - together + VALLEY_WEIGHT * valley(a, b, pass)
}

/// Depth of the pass between two pieces below the lower peak, as a share of that peak.
fn valley(a: &Piece, b: &Piece, pass: f32) -> f64 {
    1.0 - f64::from(pass / a.peak.min(b.peak))
}
