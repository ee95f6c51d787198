//! The watershed: which peak of the relief each cell belongs to.

use std::collections::HashMap;

use super::coarse::Coarse;
use super::depth::depths;

/// A peak that rises above its valley by less than this share of itself is a ripple.
const RIPPLE: f32 = 0.06;

/// Steps in which the relief is flooded.
const LEVELS: usize = 4096;

/// No basin: outside.
pub(super) const NOBODY: u32 = u32::MAX;

/// The basins of a relief.
pub(super) struct Basins {
    /// By the mask's cells; look up with [`Basins::root`].
    pub of_cell: Vec<u32>,
    /// Height of each basin's peak.
    pub peaks: Vec<f32>,
    /// Depth inside the object at each basin's peak, in cells.
    pub radii: Vec<f32>,
    /// The highest pass between each two neighbours.
    pub passes: HashMap<(u32, u32), f32>,
    parents: Vec<u32>,
}

impl Basins {
    pub fn flood(coarse: &Coarse) -> Self {
        let depths = depths(&coarse.mask);
        let relief: Vec<f32> = depths
            .iter()
            .zip(&coarse.heights)
            .map(|(depth, height)| depth.cbrt() * height)
            .collect();
        let stride = coarse.mask.stride();
        let mut basins = Self {
            of_cell: vec![NOBODY; relief.len()],
            peaks: Vec::new(),
            radii: Vec::new(),
            passes: HashMap::new(),
            parents: Vec::new(),
        };
        for index in highest_first(&relief) {
            let index = index as usize;
            basins.place(
                index,
                [index - 1, index + 1, index - stride, index + stride],
                &relief,
                &depths,
            );
        }
        basins
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.parents
            .iter()
            .enumerate()
            .filter(|(index, parent)| *index as u32 == **parent)
            .count()
    }

    /// The basin that this one was merged into.
    pub fn root(&mut self, mut basin: u32) -> u32 {
        while self.parents[basin as usize] != basin {
            let grandparent = self.parents[self.parents[basin as usize] as usize];
            self.parents[basin as usize] = grandparent;
            basin = grandparent;
        }
        basin
    }

    /// Gives a cell to the basin of its highest neighbour: up the slope, so that seams run along the valleys.
    fn place(&mut self, index: usize, mut neighbours: [usize; 4], relief: &[f32], depths: &[f32]) {
        neighbours.sort_unstable_by(|a, b| relief[*b].total_cmp(&relief[*a]));
        let mut home = NOBODY;
        for neighbour in neighbours {
            let basin = self.of_cell[neighbour];
            if basin == NOBODY {
                continue;
            }
            let basin = self.root(basin);
            if home == NOBODY {
                home = basin;
            } else if home != basin {
                self.meet(home, basin, relief[index]);
                home = self.root(home);
            }
        }
        if home == NOBODY {
            home = self.parents.len() as u32;
            self.parents.push(home);
            self.peaks.push(relief[index]);
            self.radii.push(depths[index]);
        }
        self.of_cell[index] = home;
    }

    /// Two basins meet at a pass of this height.
    fn meet(&mut self, a: u32, b: u32, pass: f32) {
        let higher = self.peaks[a as usize] >= self.peaks[b as usize];
        let (large, small) = if higher { (a, b) } else { (b, a) };
        if pass >= (1.0 - RIPPLE) * self.peaks[small as usize] {
            self.parents[small as usize] = large;
            self.radii[large as usize] = self.radii[large as usize].max(self.radii[small as usize]);
        } else {
            self.passes.entry((a.min(b), a.max(b))).or_insert(pass);
        }
    }
}

/// The indices of all cells of the object, by falling height (counting sort).
fn highest_first(relief: &[f32]) -> Vec<u32> {
    let highest = relief.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let level =
        |height: f32| LEVELS - 1 - ((height / highest * LEVELS as f32) as usize).min(LEVELS - 1);
    let mut starts = vec![0_usize; LEVELS + 1];
    for height in relief.iter().filter(|height| **height > 0.0) {
        starts[level(*height) + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut order = vec![0; starts[LEVELS]];
    for (index, height) in relief
        .iter()
        .enumerate()
        .filter(|(_, height)| **height > 0.0)
    {
        let at = &mut starts[level(*height)];
        order[*at] = index as u32;
        *at += 1;
    }
    order
}
