//! Parts objects that touch, by a watershed on the distance to the outline.
//!
//! Pixels are taken from the deepest to the shallowest. Each joins the basin of a neighbour or begins its own; where
//! two basins meet, the depth of the meeting place says whether it is a neck between two objects or a dent in one. The
//! shallower basin is merged unless it is clearly deeper than the neck.

use super::label;
use super::mask::Mask;
use super::shape;

/// Objects at least this solid are one piece: two disks that touch fill at most 0.95 of their hull.
const SOLID: f64 = 0.95;

/// A neck is a neck where its half-width is at most this share of the smaller part's radius.
const NECK_SHARE: f32 = 0.75;

/// … and this many pixels less than that radius.
const NECK_MIN_PX: f32 = 1.5;

/// A part with a radius below this share of the largest part's is a bump.
const BUMP_SHARE: f32 = 0.3;

/// Levels of depth per pixel.
const LEVELS_PER_PX: f32 = 4.0;

const NOBODY: u32 = u32::MAX;

/// The parts of an object; itself where nothing parts it. No part is smaller than `min_area` pixels.
pub(super) fn split(mask: Mask, min_area: u64) -> Vec<Mask> {
    if mask.area() < 2 * min_area || shape::solidity(&mask) >= SOLID {
        return vec![mask];
    }
    let mut filled = mask.clone();
    label::fill_holes(&mut filled, u64::MAX);
    let depths = depths(&filled);
    let basins = Basins::flood(&filled, &depths, min_area);
    let parts = basins.parts(&mask, min_area);
    let kept: u64 = parts.iter().map(Mask::area).sum();
    // Crumbs at the seams may be lost, nothing more.
    if parts.len() < 2 || kept * 100 < mask.area() * 95 {
        vec![mask]
    } else {
        parts
    }
}

/// Distance of every cell to the nearest empty one, in pixels: Felzenszwalb and Huttenlocher, Theory of Computing 8
/// (2012), columns first, then rows.
fn depths(mask: &Mask) -> Vec<f32> {
    let (stride, rows) = (mask.stride(), mask.height + 2);
    let mut squared: Vec<f32> = vec![0.0; stride * rows];
    for x in 0..stride {
        let mut distance = 0.0_f32;
        for y in 0..rows {
            let index = y * stride + x;
            distance = if mask.cells()[index] {
                distance + 1.0
            } else {
                0.0
            };
            squared[index] = distance;
        }
        distance = 0.0;
        for y in (0..rows).rev() {
            let index = y * stride + x;
            distance = if mask.cells()[index] {
                distance + 1.0
            } else {
                0.0
            };
            squared[index] = squared[index].min(distance);
        }
    }
    let mut envelope = Envelope::with_capacity(stride);
    for row in squared.chunks_exact_mut(stride) {
        row.iter_mut().for_each(|distance| *distance *= *distance);
        envelope.transform(row);
        row.iter_mut()
            .for_each(|distance| *distance = distance.sqrt());
    }
    squared
}

/// The lower envelope of parabolas over one row.
struct Envelope {
    apexes: Vec<(f32, f32)>,
    starts: Vec<f32>,
}

impl Envelope {
    fn with_capacity(width: usize) -> Self {
        Self {
            apexes: Vec::with_capacity(width),
            starts: Vec::with_capacity(width),
        }
    }

    fn transform(&mut self, row: &mut [f32]) {
        self.apexes.clear();
        self.starts.clear();
        for (x, value) in row.iter().enumerate() {
            let x = x as f32;
            let mut start = f32::NEG_INFINITY;
            while let Some((apex, height)) = self.apexes.last() {
                start = ((value + x * x) - (height + apex * apex)) / (2.0 * (x - apex));
                if start > self.starts[self.starts.len() - 1] {
                    break;
                }
                self.apexes.pop();
                self.starts.pop();
                start = f32::NEG_INFINITY;
            }
            self.apexes.push((x, *value));
            self.starts.push(start);
        }
        let mut parabola = 0;
        for (x, value) in row.iter_mut().enumerate() {
            let x = x as f32;
            while parabola + 1 < self.starts.len() && self.starts[parabola + 1] < x {
                parabola += 1;
            }
            let (apex, height) = self.apexes[parabola];
            *value = (x - apex) * (x - apex) + height;
        }
    }
}

struct Basins {
    of_cell: Vec<u32>,
    parents: Vec<u32>,
    peaks: Vec<f32>,
    areas: Vec<u64>,
    deepest: f32,
    min_area: u64,
}

impl Basins {
    fn flood(mask: &Mask, depths: &[f32], min_area: u64) -> Self {
        let stride = mask.stride();
        let order = deepest_first(depths);
        let deepest = order.first().map_or(0.0, |index| depths[*index as usize]);
        let mut basins = Self {
            of_cell: vec![NOBODY; depths.len()],
            parents: Vec::new(),
            peaks: Vec::new(),
            areas: Vec::new(),
            deepest,
            min_area,
        };
        for index in order {
            let index = index as usize;
            let neighbours = [index - 1, index + 1, index - stride, index + stride];
            basins.place(index, neighbours, depths);
        }
        basins
    }

    /// Gives a cell to the basin of its deepest neighbour: up the slope, so that the seam runs along the neck.
    fn place(&mut self, index: usize, neighbours: [usize; 4], depths: &[f32]) {
        let depth = depths[index];
        let mut known = neighbours.map(|neighbour| (depths[neighbour], self.of_cell[neighbour]));
        known.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut home = NOBODY;
        for (_, basin) in known.into_iter().filter(|(_, basin)| *basin != NOBODY) {
            let basin = self.root(basin);
            if home == NOBODY {
                home = basin;
            } else if home != basin {
                self.meet(home, basin, depth);
                home = self.root(home);
            }
        }
        if home == NOBODY {
            home = self.parents.len() as u32;
            self.parents.push(home);
            self.peaks.push(depth);
            self.areas.push(0);
        }
        self.areas[home as usize] += 1;
        self.of_cell[index] = home;
    }

    /// Two basins meet at this depth: merges them, or leaves them apart.
    fn meet(&mut self, a: u32, b: u32, depth: f32) {
        let deeper = self.peaks[a as usize] >= self.peaks[b as usize];
        let (large, small) = if deeper { (a, b) } else { (b, a) };
        let radius = self.peaks[small as usize];
        let neck = depth <= NECK_SHARE * radius && depth + NECK_MIN_PX <= radius;
        let bump =
            radius < BUMP_SHARE * self.deepest || self.areas[small as usize] < self.min_area / 2;
        if !neck || bump {
            self.parents[small as usize] = large;
            self.areas[large as usize] += self.areas[small as usize];
        }
    }

    fn root(&mut self, mut basin: u32) -> u32 {
        while self.parents[basin as usize] != basin {
            let grandparent = self.parents[self.parents[basin as usize] as usize];
            self.parents[basin as usize] = grandparent;
            basin = grandparent;
        }
        basin
    }

    fn parts(mut self, mask: &Mask, min_area: u64) -> Vec<Mask> {
        let roots: Vec<u32> = (0..self.parents.len() as u32)
            .filter(|basin| self.parents[*basin as usize] == *basin)
            .collect();
        if roots.len() < 2 {
            return vec![mask.clone()];
        }
        let mut masks: Vec<Mask> = roots
            .iter()
            .map(|_| Mask::new(mask.x, mask.y, mask.width, mask.height))
            .collect();
        for (x, y) in mask.pixels() {
            let basin = self.root(self.of_cell[(y + 1) * mask.stride() + x + 1]);
            if let Ok(part) = roots.binary_search(&basin) {
                masks[part].set(x, y, true);
            }
        }
        // A part may fall apart where a hole was; its largest piece is the part.
        masks
            .iter()
            .flat_map(|part| label::parts_of(part, min_area))
            .collect()
    }
}

/// The indices of all set cells, by falling depth (counting sort).
fn deepest_first(depths: &[f32]) -> Vec<u32> {
    let level = |depth: f32| (depth * LEVELS_PER_PX) as usize;
    let deepest = depths.iter().copied().fold(0.0, f32::max);
    let mut starts = vec![0_usize; level(deepest) + 2];
    for depth in depths.iter().filter(|depth| **depth > 0.0) {
        starts[level(deepest) - level(*depth) + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut order = vec![0; starts[starts.len() - 1]];
    for (index, depth) in depths.iter().enumerate().filter(|(_, depth)| **depth > 0.0) {
        let at = &mut starts[level(deepest) - level(*depth)];
        order[*at] = index as u32;
        *at += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(width: usize, height: usize, disks: &[(f64, f64, f64)]) -> Mask {
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
    fn distances_agree_with_the_definition() {
        let mask = disks(23, 19, &[(8.0, 9.0, 7.0), (16.0, 8.0, 4.0)]);
        let stride = mask.stride();
        let found = depths(&mask);
        for (index, depth) in found.iter().enumerate() {
            let (x, y) = ((index % stride) as f32, (index / stride) as f32);
            let empty = mask.cells().iter().enumerate().filter(|(_, set)| !**set);
            let nearest = empty
                .map(|(other, _)| ((other % stride) as f32 - x).hypot((other / stride) as f32 - y))
                .fold(f32::MAX, f32::min);
            assert!(
                (depth - nearest).abs() < 1e-3,
                "{depth} is not {nearest} at {x} {y}"
            );
        }
    }

    #[test]
    fn two_touching_disks_are_two() {
        let mask = disks(90, 50, &[(24.0, 24.0, 20.0), (60.0, 24.0, 20.0)]);
        let area = mask.area();
        let parts = split(mask, 50);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.iter().map(Mask::area).sum::<u64>(), area);
        assert_eq!((parts[0].x, parts[0].y), (9, 11));
    }

    #[test]
    fn the_seam_runs_along_the_neck_between_unequal_disks() {
        let mask = disks(110, 70, &[(34.0, 34.0, 30.0), (78.0, 34.0, 18.0)]);
        let parts = split(mask, 50);
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
            assert_eq!(split(mask, 50).len(), 1, "{extra:?}");
        }
    }

    #[test]
    fn a_ring_stays_whole() {
        let mut mask = disks(60, 60, &[(29.0, 29.0, 28.0)]);
        let hole = disks(60, 60, &[(29.0, 29.0, 20.0)]);
        hole.pixels().for_each(|(x, y)| mask.set(x, y, false));
        assert_eq!(split(mask.clone(), 50), vec![mask]);
    }
}
