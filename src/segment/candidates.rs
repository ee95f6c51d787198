//! Which objects there are: both polarities are tried, each with its own levels, and the more convincing one is kept.
//!
//! A component above the low level is looked at by itself: half the height of its own plateau is where a blurred edge
//! really lies, so bright and dim objects of one image each get the outline that fits them. Where the low outline
//! lies much further out than the half-height one, the object has a loose rim, and both outlines are reported.

use std::ops::ControlFlow;

use super::frame::Frame;
use super::label::{self, Run};
use super::mask::Mask;
use super::normalise::Flat;
use super::shape;
use super::split;
use super::threshold::{Histogram, Levels};
use super::{Cancelled, Parameters, Polarity, Progress, Raster};

/// A whole outline at least this much larger than the core's is another outline, as a ratio of areas.
const CORE_AREA_RATIO: f64 = 1.25;

/// The rim between the two must also be this many times as thick as the smoothing, or it is blur.
const RIM_PER_SMOOTHING: f64 = 3.0;

/// A rim is thicker than this in any case, in pixels.
const RIM_MIN_PX: f64 = 4.0;

/// A rim stands out from the background by at least this share of its object's plateau.
const RIM_SHARE: f32 = 0.12;

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

/// How far an edge's two sides are probed from the outline, in pixels.
const PROBE_PX: usize = 3;

/// A hole smaller than this share of its object is texture.
const HOLE_SHARE: f64 = 0.005;

/// Pieces of a cluster are more solid than the cluster by at least this much.
const CLUSTER_GAIN: f64 = 0.02;

/// A rim's step at its own outline is at least this many times what the slope from its core would make of it.
const STEP_PER_SLOPE: f32 = 2.0;

/// How often the pieces of a cluster are looked at each by itself.
const ROUNDS: u32 = 3;

/// What was found of one object.
#[derive(Debug)]
pub(super) struct Candidate {
    pub whole: Mask,
    pub cores: Vec<Mask>,
    /// How convincing it is: step at the edge × solidity × centrality × √area.
    score: f64,
}

/// The objects of the better polarity, in reading order; where there is none, the reason.
pub(super) type Found = Result<Vec<Candidate>, String>;

/// Looks for objects; progress runs from 40 to 80.
pub(super) fn find(
    flat: &Flat,
    image: &Raster,
    parameters: &Parameters,
    progress: &mut Progress<'_>,
) -> ControlFlow<Cancelled, Found> {
    let Some(histogram) = Histogram::of(flat) else {
        return ControlFlow::Continue(Err("every pixel has the same value".to_owned()));
    };
    let mut best = Vec::new();
    for (sign, done) in [(1.0, 60), (-1.0, 80)] {
        let wanted = if sign > 0.0 {
            Polarity::Bright
        } else {
            Polarity::Dark
        };
        if parameters.polarity == Polarity::Auto || parameters.polarity == wanted {
            let found = Search::new(flat, image, parameters, &histogram, sign).run();
            if total(&found) > total(&best) {
                best = found;
            }
        }
        progress(done)?;
    }
    let min_area = parameters.min_area(image.pixels());
    let nothing = || {
        let contrast = parameters.min_contrast;
        format!(
            "nothing of at least {min_area} pixels stands out from the background by {contrast} \
             standard deviations"
        )
    };
    best.sort_by_key(|candidate: &Candidate| (candidate.whole.y, candidate.whole.x));
    ControlFlow::Continue(if best.is_empty() {
        Err(nothing())
    } else {
        Ok(best)
    })
}

fn total(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| candidate.score).sum()
}

/// The search for objects of one polarity.
struct Search<'a> {
    flat: &'a Flat,
    image: &'a Raster,
    parameters: &'a Parameters,
    frame: Frame,
    min_area: u64,
    sign: f32,
    levels: Levels,
}

impl<'a> Search<'a> {
    fn new(
        flat: &'a Flat,
        image: &'a Raster,
        parameters: &'a Parameters,
        histogram: &Histogram,
        sign: f32,
    ) -> Self {
        let levels = if sign > 0.0 {
            histogram.levels(parameters.min_contrast)
        } else {
            histogram.reversed().levels(parameters.min_contrast)
        };
        let min_area = parameters.min_area(image.pixels()).max(1);
        Self {
            flat,
            image,
            parameters,
            frame: Frame {
                width: flat.width,
                height: flat.height,
            },
            min_area,
            sign,
            levels,
        }
    }

    fn run(&self) -> Vec<Candidate> {
        let (width, low) = (self.flat.width, self.levels.low);
        let components = label::components(width, self.flat.height, self.min_area, |x, y| {
            self.height_at(y * width + x) >= low
        });
        let mut found: Vec<Candidate> = components
            .iter()
            .flat_map(|runs| self.of_component(runs))
            .collect();
        self.drop_debris(&mut found);
        found
    }

    /// Small things beside large ones are debris. What is large is judged by the object in which the middle pixel of
    /// all object pixels lies: neither many specks nor one clump of many small objects shift it far.
    fn drop_debris(&self, found: &mut Vec<Candidate>) {
        let mut areas: Vec<u64> = found
            .iter()
            .map(|candidate| candidate.whole.area())
            .collect();
        areas.sort_unstable();
        let mut left = areas.iter().sum::<u64>() / 2;
        let typical = areas.into_iter().find(|area| {
            let here = left <= *area;
            left = left.saturating_sub(*area);
            here
        });
        let limit = typical.unwrap_or(0) as f64 * self.parameters.min_relative_area;
        found.retain(|candidate| candidate.whole.area() as f64 >= limit);
    }

    /// How far a pixel stands out from the background, in the direction of this polarity.
    fn height_at(&self, index: usize) -> f32 {
        self.sign * self.flat.values[index] - self.levels.background
    }

    /// The objects in a component above the low level. What is less than a small share of the component's own plateau
    /// is dirt or stray light round an object, not its rim.
    fn of_component(&self, runs: &[Run]) -> Vec<Candidate> {
        let low = label::mask_of(runs);
        let level = RIM_SHARE * self.plateau(&low);
        let parts = if level <= self.levels.low {
            vec![low]
        } else {
            label::parts_of(&self.above(&low, level), self.min_area)
        };
        parts
            .into_iter()
            .flat_map(|part| {
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
    fn of_object(&self, low: Mask, rounds: u32) -> Vec<Candidate> {
        let plateau = self.plateau(&low);
        if plateau < PLATEAU_SHARE * self.levels.high
            || self.frame.is_rim(&low)
            || self.is_mark(&low)
        {
            return Vec::new();
        }
        let half = self.above(&low, plateau / 2.0);
        let low = self.filled(low);
        let parts: Vec<Mask> = label::parts_of(&half, self.min_area)
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

    /// The height that a tenth of the mask exceeds.
    fn plateau(&self, mask: &Mask) -> f32 {
        let mut heights: Vec<f32> = self.heights(mask).collect();
        let at = heights.len() * 9 / 10;
        *heights.select_nth_unstable_by(at, f32::total_cmp).1
    }

    fn heights(&self, mask: &Mask) -> impl Iterator<Item = f32> {
        let start = mask.y as usize * self.flat.width + mask.x as usize;
        mask.pixels()
            .map(move |(x, y)| self.height_at(start + y * self.flat.width + x))
    }

    fn above(&self, mask: &Mask, level: f32) -> Mask {
        let mut above = mask.clone();
        for y in 0..mask.height {
            let start = (mask.y as usize + y) * self.flat.width + mask.x as usize;
            for (x, cell) in above.row_mut(y).iter_mut().enumerate() {
                *cell = *cell && self.height_at(start + x) >= level;
            }
        }
        above
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
        split::split(mask, self.min_area, |x, y| {
            self.height_at(y * self.flat.width + x)
        })
    }

    fn has_corona(&self, low: &Mask) -> bool {
        let plateau = self.plateau(low);
        let inner = self.above(low, plateau / 2.0).area();
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
        self.edge(whole) >= STEP_PER_SLOPE * slope * (2 * PROBE_PX) as f32
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
        let area = whole.area();
        let edge = self.edge(&whole);
        let mean = self.mean_height(&whole);
        let standing_out = self.parameters.min_contrast as f32 * self.levels.noise;
        let blurred = edge < EDGE_SHARE * mean || edge < EDGE_DEVIATIONS * self.levels.noise;
        let weak = blurred || mean < standing_out;
        let excluded = self.parameters.exclude_border && self.frame.sides_touched(&whole) > 0;
        if area < self.min_area || weak || excluded {
            return None;
        }
        let score = f64::from(edge)
            * shape::solidity(&whole)
            * self.centrality(&whole)
            * (area as f64).sqrt();
        Some(Candidate {
            whole,
            cores,
            score,
        })
    }

    fn mean_height(&self, mask: &Mask) -> f32 {
        let heights = self.heights(mask).map(f64::from);
        let (sum, count) = heights.fold((0.0, 0_u64), |(sum, count), height| {
            (sum + height, count + 1)
        });
        (sum / count.max(1) as f64) as f32
    }

    /// The mean step from a little outside to a little inside, along the outline.
    fn edge(&self, mask: &Mask) -> f32 {
        let (mut sum, mut count) = (0.0_f64, 0_u64);
        for (x, y) in mask.pixels() {
            for (dx, dy) in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
                if !mask.at(x as isize + dx, y as isize + dy) {
                    let probe = |way: isize, distance: usize| {
                        let along = |at: u32, here: usize, d: isize, end: usize| {
                            let at = at as isize + here as isize + way * d * distance as isize;
                            at.clamp(0, end as isize - 1) as usize
                        };
                        let column = along(mask.x, x, dx, self.flat.width);
                        let row = along(mask.y, y, dy, self.flat.height);
                        f64::from(self.height_at(row * self.flat.width + column))
                    };
                    sum += probe(-1, PROBE_PX - 1) - probe(1, PROBE_PX);
                    count += 1;
                }
            }
        }
        (sum / count.max(1) as f64) as f32
    }

    /// 1 in the middle of the image, a half in its corners.
    fn centrality(&self, mask: &Mask) -> f64 {
        let off = |start: u32, length: usize, side: usize| {
            2.0 * (f64::from(start) + length as f64 / 2.0) / side as f64 - 1.0
        };
        let x = off(mask.x, mask.width, self.flat.width);
        let y = off(mask.y, mask.height, self.flat.height);
        1.0 - 0.25 * (x * x + y * y)
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
