//! The objects in what stands out from the background, for one polarity and one way to set the lowest level.

use super::super::frame::Frame;
use super::super::label::{self, Run};
use super::super::mask::Mask;
use super::super::parameters::Parameters;
use super::super::shape;
use super::super::split;
use super::super::threshold::Levels;
use super::super::{BoundingBox, Raster};
use super::confidence::{agreement, confidence, contrast};
use super::heights::{Heights, PROBE_PX, outline};
use super::level::Level;
use super::{Candidate, worth};

/// A whole outline at least this much larger than the core's is another outline, as a ratio of areas.
const CORE_AREA_RATIO: f64 = 1.25;

/// The rim between the two must also be this many times as thick as the smoothing, or it is blur.
const RIM_PER_SMOOTHING: f64 = 3.0;

/// A rim is thicker than this in any case, in pixels.
const RIM_MIN_PX: f64 = 4.0;

/// A rim stands out from the background by at least this share of its object's plateau.
const RIM_SHARE: f32 = 0.12;

/// A rim's step at its own outline is at least this many times what the slope from its core would make of it.
const STEP_PER_SLOPE: f32 = 2.0;

/// An object's plateau must reach this share of the level that parts objects from background in the whole image.
const PLATEAU_SHARE: f32 = 0.3;

/// An object's step at its outline is at least this share of its mean height over the background: less is a gradient
/// of light …
const EDGE_SHARE: f32 = 0.08;

/// … and at least so many standard deviations of the background.
const EDGE_DEVIATIONS: f32 = 2.0;

/// Cores together make up at least this share of what reaches half height, …
const CORE_SHARE: f64 = 0.6;

/// … each of them at least this share, …
const CORE_SHARE_EACH: f64 = 0.1;

/// … and fill this share of their convex hulls.
const CORE_SOLIDITY: f64 = 0.7;

/// A hole smaller than this share of its object is texture.
const HOLE_SHARE: f64 = 0.005;

/// Pieces of a cluster are more solid than the cluster by at least this much.
const CLUSTER_GAIN: f64 = 0.02;

/// A thin ring is one where its own pixels make up at least one in so many of what it encloses.
const RING_MIN_SHARE: u64 = 4;

/// How often the pieces of a cluster are looked at each by itself.
const ROUNDS: u32 = 3;

/// The search for objects of one polarity.
pub(super) struct Search<'a> {
    pub heights: Heights<'a>,
    pub image: &'a Raster,
    pub parameters: &'a Parameters,
    pub frame: Frame,
    pub min_area: u64,
    pub levels: Levels,
    /// All methods, to ask whether they agree.
    pub methods: [Level<'a>; 3],
}

impl Search<'_> {
    /// All objects in what reaches the level of a method, but for components that another method has found already.
    /// `known` hears of each of them: its box and its area in pixels, and says whether it is.
    pub fn run(
        &self,
        level: &Level<'_>,
        mut known: impl FnMut(BoundingBox, u64) -> bool,
    ) -> Vec<Candidate> {
        let (width, height) = (self.heights.width(), self.heights.height());
        let components = label::components(width, height, self.min_pixels(), |y, cells| {
            level.reach(&self.heights, y, cells);
        });
        components
            .iter()
            .filter(|runs| !known(label::bounds(runs), label::area(runs)))
            .flat_map(|runs| self.of_component(runs))
            .collect()
    }

    /// The objects in a component above the low level. What is less than a small share of the component's own plateau
    /// is dirt or stray light round an object, not its rim.
    fn of_component(&self, runs: &[Run]) -> Vec<Candidate> {
        let low = label::mask_of(runs);
        if self.is_small(&low) {
            return Vec::new();
        }
        let level = RIM_SHARE * self.heights.typical(&low).plateau;
        let parts = if level <= self.levels.low {
            vec![low]
        } else {
            label::parts_of(&self.heights.above(&low, level), self.min_pixels())
        };
        parts
            .into_iter()
            .flat_map(|part| {
                // A valley in a corona lies between two cores of one object.
                if self.has_corona(&part) {
                    vec![part]
                } else {
                    self.split(part)
                }
            })
            .flat_map(|part| self.of_object(part, ROUNDS))
            .collect()
    }

    /// The objects in a piece above the low level; pieces of pieces are looked at `rounds` times more.
    ///
    /// Half the height of its own plateau is where a blurred edge really lies, so bright and dim objects of one image
    /// each get the outline that fits them. Where the low outline lies much further out and ends abruptly, the object
    /// has a loose rim, and both outlines are reported.
    fn of_object(&self, low: Mask, rounds: u32) -> Vec<Candidate> {
        let plateau = self.heights.typical(&low).plateau;
        if self.is_small(&low)
            || plateau < PLATEAU_SHARE * self.levels.high
            || self.frame.is_rim(&low)
            || self.is_mark(&low)
        {
            return Vec::new();
        }
        let half = self.heights.above(&low, plateau / 2.0);
        let low = self.filled(low);
        let parts: Vec<Mask> = label::parts_of(&half, self.min_pixels())
            .into_iter()
            .map(|part| self.filled(part))
            .flat_map(|part| self.split(part))
            .collect();
        let inner: u64 = parts.iter().map(Mask::area).sum();
        if self.has_rim_of_its_own(low.area(), inner) && self.ends_abruptly(&low, inner, plateau) {
            if rounds > 0 && parts.len() > 1 {
                let pieces = split::partition(&low, &parts, CLUSTER_GAIN);
                if pieces.len() > 1 {
                    return pieces
                        .into_iter()
                        .flat_map(|piece| self.of_object(piece, rounds - 1))
                        .collect();
                }
            }
            let cores = self.cores_of(&low, &half);
            if let Some(found) = self.judge(low, cores) {
                return vec![found];
            }
        }
        parts
            .into_iter()
            .filter_map(|whole| self.judge(whole, Vec::new()))
            .collect()
    }

    /// Fewest pixels of what may turn out to be an object: a ring counts with what it encloses.
    fn min_pixels(&self) -> u64 {
        (self.min_area / RING_MIN_SHARE).max(1)
    }

    /// Whether a mask, with its holes, is smaller than the smallest object.
    fn is_small(&self, mask: &Mask) -> bool {
        mask.area() < self.min_area && label::enclosed_area(mask) < self.min_area
    }

    fn filled(&self, mut mask: Mask) -> Mask {
        let share = (mask.area() as f64 * HOLE_SHARE) as u64;
        label::fill_holes(&mut mask, self.parameters.min_hole_px.max(share));
        mask
    }

    fn split(&self, mask: Mask) -> Vec<Mask> {
        if !self.parameters.split_touching {
            return vec![mask];
        }
        split::split(mask, self.min_area, |x, y, heights| {
            self.heights.copy(x, y, heights);
        })
    }

    fn has_corona(&self, low: &Mask) -> bool {
        let plateau = self.heights.typical(low).plateau;
        let inner = self.heights.above(low, plateau / 2.0).area();
        self.has_rim_of_its_own(low.area(), inner) && self.ends_abruptly(low, inner, plateau)
    }

    fn has_rim_of_its_own(&self, whole: u64, inner: u64) -> bool {
        let (whole, inner) = (whole as f64, inner as f64);
        let radius = |area: f64| (area / std::f64::consts::PI).sqrt();
        let rim = radius(whole) - radius(inner);
        inner > 0.0
            && whole >= CORE_AREA_RATIO * inner
            && rim >= (RIM_PER_SMOOTHING * self.parameters.smoothing_px).max(RIM_MIN_PX)
    }

    /// A rim ends in a step. The blur round a bright object falls at the same rate all the way.
    fn ends_abruptly(&self, whole: &Mask, inner: u64, plateau: f32) -> bool {
        let radius = |area: u64| (area as f32 / std::f32::consts::PI).sqrt();
        let thickness = (radius(whole.area()) - radius(inner)).max(1.0);
        let slope = plateau / 2.0 / thickness;
        self.heights.step(&outline(whole)) >= STEP_PER_SLOPE * slope * 2.0 * PROBE_PX as f32
    }

    /// Cores are the few compact pieces that make up most of what reaches half height. Many small pieces, or a ring,
    /// are the texture of the whole.
    fn cores_of(&self, whole: &Mask, half: &Mask) -> Vec<Mask> {
        if !self.parameters.report_core {
            return Vec::new();
        }
        let mut inside = whole.clone();
        for (x, y) in whole.pixels() {
            let (column, row) = (whole.x + x as u32 - half.x, whole.y + y as u32 - half.y);
            inside.set(x, y, half.row(row as usize)[column as usize]);
        }
        let all = inside.area() as f64;
        let least = self.min_area.max((CORE_SHARE_EACH * all) as u64);
        let pieces = label::parts_of(&inside, least)
            .into_iter()
            .map(|piece| self.filled(piece));
        let cores: Vec<Mask> = pieces
            .filter(|piece| shape::solidity(piece) >= CORE_SOLIDITY)
            .collect();
        let area: u64 = cores.iter().map(Mask::area).sum();
        let most = area as f64 >= CORE_SHARE * all;
        if most && self.has_rim_of_its_own(whole.area(), area) {
            cores
        } else {
            Vec::new()
        }
    }

    fn judge(&self, whole: Mask, cores: Vec<Mask>) -> Option<Candidate> {
        let excluded = self.parameters.exclude_border && self.frame.sides_touched(&whole) > 0;
        if self.is_small(&whole) || excluded {
            return None;
        }
        let sides = outline(&whole);
        let step = self.heights.step(&sides);
        let mean = self.heights.typical(&whole).mean;
        let noise = self.levels.noise;
        let blurred = step < EDGE_SHARE * mean || step < EDGE_DEVIATIONS * noise;
        if blurred || mean < self.parameters.min_contrast as f32 * noise {
            return None;
        }
        let of_cores = cores
            .iter()
            .map(|core| worth(core, self.heights.step(&outline(core)), self.frame));
        let agreement = agreement(&whole, &sides, &self.heights, &self.methods);
        Some(Candidate {
            score: worth(&whole, step, self.frame) + of_cores.sum::<f64>(),
            height: mean,
            confidence: confidence(contrast(step, noise), &whole, agreement, self.frame),
            whole,
            cores,
        })
    }

    /// A scale bar: a box of one single value.
    fn is_mark(&self, mask: &Mask) -> bool {
        let (long, short) = (mask.width.max(mask.height), mask.width.min(mask.height));
        if long < 4 * short {
            return false;
        }
        let (x, y) = (
            mask.x + mask.width as u32 / 2,
            mask.y + mask.height as u32 / 2,
        );
        let reach = long as u32 / 4;
        let across = mask.width > mask.height;
        let values = (0..2 * reach).map(|step| {
            if across {
                self.image.at(x + step - reach, y)
            } else {
                self.image.at(x, y + step - reach)
            }
        });
        let (min, max) = values.fold((f32::MAX, f32::MIN), |(min, max), v| {
            (min.min(v), max.max(v))
        });
        // Compression leaves a ripple; tissue varies by more than the background's noise.
        max - min <= self.levels.noise
    }
}
