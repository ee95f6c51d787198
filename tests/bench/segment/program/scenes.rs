//! Drawn scenes whose truth is known exactly: each kind many times, with other seeds.

use crate::segment::scene::{Scene, SceneOptions, draw};
use crate::segment::{Parameters, Part, Raster, Samples, SegmentError};

use super::truth::{Labels, Overlap, labels};

/// Scenes of each kind.
const SEEDS: u64 = 12;

/// How a kind of scene came out.
pub struct Outcome {
    /// What the scenes are.
    pub kind: &'static str,
    /// How many there were.
    pub scenes: usize,
    /// In how many the number of objects was wrong.
    pub miscounted: usize,
    /// Mean over the scenes of the mean over the true objects.
    pub mean_iou: f64,
    /// The same of the worst scene.
    pub worst_iou: f64,
}

struct Truth {
    image: Raster,
    labels: Labels,
    objects: usize,
}

type Draw = fn(u64) -> Truth;

const KINDS: &[(&str, Draw)] = &[
    ("dark, even light", |seed| scene(seed, base())),
    ("bright on dark", |seed| {
        scene(
            seed,
            SceneOptions {
                dark: false,
                ..base()
            },
        )
    }),
    ("strong shading", |seed| {
        scene(
            seed,
            SceneOptions {
                shading: 0.6,
                ..base()
            },
        )
    }),
    ("noise 6 %", |seed| {
        scene(
            seed,
            SceneOptions {
                noise: 0.06,
                ..base()
            },
        )
    }),
    ("noise 6 %, shading, bright", |seed| {
        scene(
            seed,
            SceneOptions {
                noise: 0.06,
                shading: 0.6,
                dark: false,
                ..base()
            },
        )
    }),
    ("much debris", |seed| {
        scene(
            seed,
            SceneOptions {
                debris: 150,
                ..base()
            },
        )
    }),
    ("wall of a well", |seed| {
        scene(
            seed,
            SceneOptions {
                well_rim: true,
                objects: 1,
                ..base()
            },
        )
    }),
    ("out of focus", |seed| blurred(scene(seed, base()), 3)),
    ("touching pairs", |seed| touching(seed, true)),
    ("touching pairs, bright", |seed| touching(seed, false)),
    ("empty, dark ground clean", |seed| {
        scene(
            seed,
            SceneOptions {
                objects: 0,
                debris: 0,
                ..base()
            },
        )
    }),
    ("empty with debris", |seed| {
        scene(
            seed,
            SceneOptions {
                objects: 0,
                ..base()
            },
        )
    }),
];

fn base() -> SceneOptions {
    SceneOptions {
        width: 640,
        height: 560,
        objects: 5,
        radius_px: (25.0, 60.0),
        ..SceneOptions::default()
    }
}

/// Tries the kinds whose name holds `only`.
pub fn run(only: &str) -> Result<Vec<Outcome>, SegmentError> {
    let kinds = KINDS.iter().filter(|(kind, _)| kind.contains(only));
    kinds.map(|(kind, draw)| outcome(kind, *draw)).collect()
}

fn outcome(kind: &'static str, draw: Draw) -> Result<Outcome, SegmentError> {
    let mut shares = Vec::new();
    let mut miscounted = 0;
    for seed in 0..SEEDS {
        let truth = draw(seed);
        let found = super::accuracy::found(&truth.image, &Parameters::default())?;
        let whole = found
            .objects
            .iter()
            .filter(|object| object.part == Part::Whole);
        miscounted += usize::from(whole.count() != truth.objects);
        shares.push(Overlap::of(&labels(&found), &truth.labels).mean_iou());
    }
    Ok(Outcome {
        kind,
        scenes: shares.len(),
        miscounted,
        mean_iou: shares.iter().sum::<f64>() / shares.len() as f64,
        worst_iou: shares.iter().copied().fold(1.0, f64::min),
    })
}

fn scene(seed: u64, options: SceneOptions) -> Truth {
    let Scene {
        image,
        truth,
        objects,
    } = draw(seed, &options);
    Truth {
        image,
        labels: truth.into_iter().map(u32::from).collect(),
        objects: objects.into(),
    }
}

/// Three box filters of this half width one after the other, which is nearly a Gaussian of standard deviation
/// √(w² − 1)/2 with w = 2·half + 1 (3.5 pixels for 3).
fn blurred(truth: Truth, half: usize) -> Truth {
    let (width, height) = (truth.image.width() as usize, truth.image.height() as usize);
    let mut values: Vec<f32> = (0..width * height)
        .map(|at| truth.image.samples().at(at))
        .collect();
    for _ in 0..3 {
        values = box_filter(&values, width, height, half, 1, width);
        values = box_filter(&values, height, width, half, width, 1);
    }
    Truth {
        image: raster(&truth.image, &values),
        ..truth
    }
}

/// Along lines of `length` values that lie `step` apart; the lines begin `next` apart.
fn box_filter(
    from: &[f32],
    length: usize,
    lines: usize,
    half: usize,
    step: usize,
    next: usize,
) -> Vec<f32> {
    let mut to = vec![0.0; from.len()];
    for line in 0..lines {
        for at in 0..length {
            let window = at.saturating_sub(half)..=(at + half).min(length - 1);
            let count = window.clone().count() as f32;
            let sum: f32 = window.map(|at| from[line * next + at * step]).sum();
            to[line * next + at * step] = sum / count;
        }
    }
    to
}

/// Two pairs of disks that overlap by a tenth of the smaller radius and one disk alone, drawn over the ground, the
/// shading and the noise of an empty scene. Between two disks the truth is the nearer one's.
fn touching(seed: u64, dark: bool) -> Truth {
    let ground = draw(
        seed,
        &SceneOptions {
            objects: 0,
            debris: 0,
            dark,
            ..base()
        },
    );
    let turn = seed as f64 * 0.7;
    let grown = |base: f64| base + (seed % 5) as f64 * 2.0;
    let mut disks = vec![(500.0, 420.0, grown(40.0))];
    for (x, y, first, second) in [
        (170.0, 160.0, grown(48.0), 44.0),
        (430.0, 180.0, 50.0, grown(30.0)),
    ] {
        let apart: f64 = first + second - 0.1 * f64::min(first, second);
        let (dx, dy) = (turn.cos() * apart / 2.0, turn.sin() * apart / 2.0);
        disks.push((x - dx, y - dy, first));
        disks.push((x + dx, y + dy, second));
    }
    paint(&ground, &disks, dark)
}

fn paint(ground: &Scene, disks: &[(f64, f64, f64)], dark: bool) -> Truth {
    let width = ground.image.width() as usize;
    let mut labels = vec![0; ground.truth.len()];
    let mut values = Vec::with_capacity(labels.len());
    for (at, label) in labels.iter_mut().enumerate() {
        let (x, y) = ((at % width) as f64 + 0.5, (at / width) as f64 + 0.5);
        let depths = disks
            .iter()
            .map(|(cx, cy, radius)| radius - (x - cx).hypot(y - cy));
        let deepest = depths.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let (number, depth) = deepest.unwrap_or((0, f64::NEG_INFINITY));
        if depth > 0.0 {
            *label = number as u32 + 1;
        }
        let cover = 0.45 / (1.0 + (-depth / 1.2).exp());
        let light = f64::from(ground.image.samples().at(at));
        let full = f64::from(u16::MAX);
        let light = if dark {
            light * (1.0 - cover)
        } else {
            light + 0.8 * cover * full
        };
        values.push(light.clamp(0.0, full) as f32);
    }
    Truth {
        image: raster(&ground.image, &values),
        labels,
        objects: disks.len(),
    }
}

fn raster(like: &Raster, values: &[f32]) -> Raster {
    let values = values.iter().map(|value| value.round() as u16).collect();
    match Raster::new(like.width(), like.height(), Samples::U16(values)) {
        Ok(raster) => raster,
        Err(error) => unreachable!("as many values as before: {error}"),
    }
}
