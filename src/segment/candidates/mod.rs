//! Which objects there are: several methods are tried in both polarities, and the most convincing answer is kept.

mod confidence;
mod heights;
mod level;
mod search;
mod seen;
mod union;

use std::ops::ControlFlow;

use super::background::Background;
use super::blocks::Blocks;
use super::frame::Frame;
use super::label;
use super::mask::Mask;
use super::normalise::Flat;
use super::shape;
use super::threshold::Histogram;
use super::{Cancelled, Parameters, Polarity, Progress, Raster, Step};

use heights::Heights;
use level::Level;
use search::Search;
use seen::Seen;

/// What is smaller than so many times the smallest area may be a speck of dirt …
const SPECK_MIN_AREAS: u64 = 3;

/// … and is one where all of them together cover less than one pixel in so many.
const DIRT_PIXELS: u64 = 300;

/// Debris out of focus stands out by less than this share of what a typical object does …
const PALE_SHARE: f32 = 0.75;

/// … and is less than so many times as large as the smallest object in focus.
const PALE_AREA_RATIO: f64 = 3.0;

/// What was found of one object.
#[derive(Debug)]
pub(super) struct Candidate {
    pub whole: Mask,
    pub cores: Vec<Mask>,
    /// Mean height over the background.
    height: f32,
    /// How sure the segmenter is of it, from 0 to 1.
    pub confidence: f64,
    /// How convincing its outlines are: the sum of what each is worth.
    score: f64,
}

/// Step at the edge × solidity × centrality × area: what an outline with this mean step at it is worth.
fn worth(outline: &Mask, step: f32, frame: Frame) -> f64 {
    f64::from(step) * shape::solidity(outline) * frame.centrality(outline) * outline.area() as f64
}

/// What the search looks at.
pub(super) struct Scene<'a> {
    pub image: &'a Raster,
    pub blocks: &'a Blocks,
    pub background: &'a Background,
    pub flat: &'a Flat,
    pub parameters: &'a Parameters,
}

/// The objects of the better polarity, in reading order; where there is none, the reason.
pub(super) type Found = Result<Vec<Candidate>, String>;

/// Looks for objects.
pub(super) fn find(
    scene: &Scene<'_>,
    progress: &mut Progress<'_>,
) -> ControlFlow<Cancelled, Found> {
    let Some(histogram) = Histogram::of(scene.flat) else {
        return ControlFlow::Continue(Err("every pixel has the same value".to_owned()));
    };
    let mut best = Vec::new();
    progress(Step::Levels.percent())?;
    let polarities = [
        (1.0, Polarity::Bright, Step::Bright),
        (-1.0, Polarity::Dark, Step::Dark),
    ];
    for (sign, polarity, step) in polarities {
        if [Polarity::Auto, polarity].contains(&scene.parameters.polarity) {
            let found = scene.of_polarity(&histogram, sign);
            if total(&found) > total(&best) {
                best = found;
            }
        }
        progress(step.percent())?;
    }
    if scene.parameters.polarity == Polarity::Auto {
        best = union::with_texture(scene, best);
    }
    progress(Step::Texture.percent())?;
    best.sort_by_key(|candidate: &Candidate| (candidate.whole.y, candidate.whole.x));
    ControlFlow::Continue(if best.is_empty() {
        Err(scene.nothing())
    } else {
        Ok(best)
    })
}

fn total(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| candidate.score).sum()
}

impl Scene<'_> {
    /// What the methods find of one polarity: the better one's objects, and those that only the other one sees.
    fn of_polarity(&self, histogram: &Histogram, sign: f32) -> Vec<Candidate> {
        let contrast = self.parameters.min_contrast;
        let levels = if sign > 0.0 {
            histogram.levels(contrast)
        } else {
            histogram.reversed().levels(contrast)
        };
        let field = level::sauvola(&self.blocks.halved(), self.background, sign, &levels);
        let local = Level::Local {
            field: &field,
            floor: contrast as f32 * levels.noise,
        };
        let search = Search {
            heights: Heights::new(self.flat, sign, &levels),
            image: self.image,
            parameters: self.parameters,
            frame: self.frame(),
            min_area: self.min_area(),
            levels,
            methods: [Level::Global(levels.low), local, Level::Global(levels.high)],
        };
        // Every object's own outline is found below its own half height, so a higher global level would add nothing.
        let global = search.run(&search.methods[0], |_, _| false);
        let mut seen = Seen::new(global);
        let local = search.run(&search.methods[1], |bounds, area| seen.note(bounds, area));
        self.without_debris(seen.joined(local))
    }

    fn frame(&self) -> Frame {
        Frame {
            width: self.flat.width,
            height: self.flat.height,
        }
    }

    fn min_area(&self) -> u64 {
        self.parameters.min_area(self.image.pixels()).max(1)
    }

    fn nothing(&self) -> String {
        let (min_area, contrast) = (self.min_area(), self.parameters.min_contrast);
        format!(
            "nothing of at least {min_area} pixels stands out from the background by {contrast} \
             standard deviations"
        )
    }

    /// Small things beside large ones are debris, and so are pale things that are not much larger: specks out of focus.
    /// What is large is judged by the object in which the middle pixel of all object pixels lies: neither many specks nor
    /// one clump of many small objects shift it far.
    fn without_debris(&self, mut found: Vec<Candidate>) -> Vec<Candidate> {
        found.sort_by_key(|candidate| candidate.whole.area());
        let mut left = found
            .iter()
            .map(|candidate| candidate.whole.area())
            .sum::<u64>()
            / 2;
        let typical = found.iter().find(|candidate| {
            let here = left <= candidate.whole.area();
            left = left.saturating_sub(candidate.whole.area());
            here
        });
        let Some(typical) = typical else {
            return found;
        };
        let limit = typical.whole.area() as f64 * self.parameters.min_relative_area;
        let pale = typical.height * PALE_SHARE;
        found.retain(|candidate| {
            let area = label::enclosed_area(&candidate.whole) as f64;
            area >= limit && (area >= PALE_AREA_RATIO * limit || candidate.height >= pale)
        });
        if self.is_dirt(&found) {
            found.clear();
        }
        found
    }

    /// A few specks in a field and nothing else. Whoever looks for things so small says so by a smallest area.
    fn is_dirt(&self, found: &[Candidate]) -> bool {
        let areas = || {
            found
                .iter()
                .map(|candidate| label::enclosed_area(&candidate.whole))
        };
        self.parameters.min_area_px.is_none()
            && areas().all(|area| area < SPECK_MIN_AREAS * self.min_area())
            && areas().sum::<u64>() * DIRT_PIXELS < self.image.pixels()
    }
}
