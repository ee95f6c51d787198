//! Found objects against true ones, pixel by pixel.

use std::collections::HashMap;

use crate::segment::{Part, Raster, Segmentation};

/// For every pixel the number of the object that covers it, or 0.
pub type Labels = Vec<u32>;

/// How two sets of objects lie on each other.
pub struct Overlap {
    found: HashMap<u32, usize>,
    truth: HashMap<u32, usize>,
    both: HashMap<(u32, u32), usize>,
}

/// Instances right at an intersection over union above one half.
pub struct Matches {
    /// Objects that have their true one.
    pub right: usize,
    /// Objects found.
    pub found: usize,
    /// True objects.
    pub truth: usize,
}

impl Matches {
    /// Right ÷ (right + wrong + missed): the average precision at 0.5 as StarDist's paper has it (Schmidt et al.,
    /// MICCAI 2018).
    pub fn average_precision(&self) -> f64 {
        self.right as f64 / (self.found + self.truth - self.right).max(1) as f64
    }
}

impl Overlap {
    /// Counts the pixels.
    pub fn of(found: &[u32], truth: &[u32]) -> Self {
        let mut overlap = Self {
            found: HashMap::new(),
            truth: HashMap::new(),
            both: HashMap::new(),
        };
        for (found, truth) in found.iter().zip(truth) {
            if *found > 0 {
                *overlap.found.entry(*found).or_default() += 1;
            }
            if *truth > 0 {
                *overlap.truth.entry(*truth).or_default() += 1;
            }
            if *found > 0 && *truth > 0 {
                *overlap.both.entry((*found, *truth)).or_default() += 1;
            }
        }
        overlap
    }

    fn pairs(&self) -> impl Iterator<Item = (u32, f64)> {
        self.both.iter().map(|((found, truth), both)| {
            let either = self.found[found] + self.truth[truth] - both;
            (*truth, *both as f64 / either as f64)
        })
    }

    /// At most one found object has more than half in common with a true one, so that nothing need be assigned.
    pub fn matches(&self) -> Matches {
        Matches {
            right: self.pairs().filter(|(_, share)| *share > 0.5).count(),
            found: self.found.len(),
            truth: self.truth.len(),
        }
    }

    /// Mean over the true objects of the best intersection over union, 0 for one that was missed; 1 where there is
    /// none to find.
    pub fn mean_iou(&self) -> f64 {
        let mut best: HashMap<u32, f64> = HashMap::new();
        for (truth, share) in self.pairs() {
            let best = best.entry(truth).or_default();
            *best = best.max(share);
        }
        if self.truth.is_empty() {
            return 1.0;
        }
        best.values().sum::<f64>() / self.truth.len() as f64
    }
}

/// Intersection over union of what is covered by anything.
pub fn covered_iou(found: &[u32], truth: &[u32]) -> f64 {
    let pairs = || found.iter().zip(truth);
    let both = pairs()
        .filter(|(found, truth)| **found > 0 && **truth > 0)
        .count();
    let either = pairs()
        .filter(|(found, truth)| **found > 0 || **truth > 0)
        .count();
    both as f64 / either.max(1) as f64
}

/// The whole objects of a result.
pub fn labels(found: &Segmentation) -> Labels {
    let width = found.width as usize;
    let mut plane = vec![0; width * found.height as usize];
    for object in found
        .objects
        .iter()
        .filter(|object| object.part == Part::Whole)
    {
        object
            .polygon
            .spans(found.width, found.height, |y, from, to| {
                let row = y as usize * width;
                plane[row + from as usize..row + to as usize].fill(object.number);
            });
    }
    plane
}

/// The values of a label mask.
pub fn mask(image: &Raster) -> Labels {
    let pixels = image.samples().len();
    (0..pixels)
        .map(|at| image.samples().at(at) as u32)
        .collect()
}
