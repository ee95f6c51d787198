//! Totals over one image, and how far its spheroid has come apart.

use serde::{Deserialize, Serialize};

use super::measure::distances::Distances;
use super::measure::equivalent_diameter;
use super::{Object, Part, PixelSize, Polygon};

/// Totals over the objects of an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of whole objects.
    pub objects: u32,
    /// Number of cores.
    pub cores: u32,
    /// Area of all whole objects, in square pixels.
    pub area_px: u64,
    /// Diameter of the disk with that area, in pixels.
    pub equivalent_diameter_px: f64,
    /// The same of the cores; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreTotals>,
    /// How far the spheroid has come apart; absent where that cannot be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disintegration: Option<Disintegration>,
    /// The same in µm, where a trusted pixel size is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micrometres: Option<SummaryMicrometres>,
}

/// Totals over the cores of an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoreTotals {
    /// Area of all cores, in square pixels.
    pub area_px: u64,
    /// Area of the objects that have a core less that of their cores (the corona, or invaded area), in square pixels.
    pub corona_area_px: u64,
    /// Diameter of the disk with the cores' area, in pixels.
    pub equivalent_diameter_px: f64,
}

/// Totals in physical units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SummaryMicrometres {
    /// Area of all whole objects in µm².
    pub area_um2: f64,
    /// Diameter of the disk with that area, in µm.
    pub equivalent_diameter_um: f64,
    /// Area of all cores in µm²; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_area_um2: Option<f64>,
    /// Area of the corona in µm²; absent where there is no core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corona_area_um2: Option<f64>,
    /// Diameter of the disk with the cores' area, in µm; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_equivalent_diameter_um: Option<f64>,
}

/// How far a spheroid has come apart, from the distances d̃ of its pixels from the core's centre, in radii of the disk
/// with the core's area. Detached pieces, which are objects of their own, count as parts of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Disintegration {
    /// The Disintegration Index, from 0 for a compact disk towards 1.
    pub index: f64,
    /// The 95th percentile of d̃.
    pub radial_reach_q95: f64,
    /// Share of the pixels that lie outside the core.
    pub dispersed_mass: f64,
}

impl Summary {
    /// Of these objects; `None` where there is none.
    pub fn of(objects: &[Object], pixel_size: Option<PixelSize>) -> Option<Self> {
        let wholes = || objects.iter().filter(|object| object.part == Part::Whole);
        let cores = || objects.iter().filter(|object| object.part == Part::Core);
        let area = |object: &Object| object.measurements.area_px;
        let area_px: u64 = wholes().map(area).sum();
        if area_px == 0 {
            return None;
        }
        let with_core = wholes().filter(|whole| has_core(whole, objects));
        let with_core: u64 = with_core.map(area).sum();
        let core = (cores().count() > 0).then(|| {
            let area_px: u64 = cores().map(area).sum();
            CoreTotals {
                area_px,
                corona_area_px: with_core.saturating_sub(area_px),
                equivalent_diameter_px: equivalent_diameter(area_px as f64),
            }
        });
        let trusted = pixel_size.filter(PixelSize::trusted);
        Some(Self {
            objects: wholes().count() as u32,
            cores: cores().count() as u32,
            area_px,
            equivalent_diameter_px: equivalent_diameter(area_px as f64),
            core,
            disintegration: Disintegration::of(objects),
            micrometres: trusted.map(|size| SummaryMicrometres::of(area_px, core, size)),
        })
    }
}

impl SummaryMicrometres {
    fn of(area_px: u64, core: Option<CoreTotals>, size: PixelSize) -> Self {
        let um2 = |area: u64| area as f64 * size.x_um * size.y_um;
        Self {
            area_um2: um2(area_px),
            equivalent_diameter_um: equivalent_diameter(um2(area_px)),
            core_area_um2: core.map(|core| um2(core.area_px)),
            corona_area_um2: core.map(|core| um2(core.corona_area_px)),
            core_equivalent_diameter_um: core.map(|core| equivalent_diameter(um2(core.area_px))),
        }
    }
}

impl Disintegration {
    /// `index` is tanh W₁, W₁ the mean over all pixels, in the order of their d̃, of |d̃ᵢ − √((i + ½)/N)|.
    ///
    /// Source: SpheroSeg, `disintegration-index` (github.com/michalprusek/cell-segmentation-hub).
    ///
    /// Of an image that shows one spheroid: one whole object with a core, and all others smaller than that core, so
    /// that they may be pieces of it. `None` where there is no core, or several spheroids, for which the formula says
    /// nothing.
    fn of(objects: &[Object]) -> Option<Self> {
        let wholes = || objects.iter().filter(|object| object.part == Part::Whole);
        let mut with_core = wholes().filter(|whole| has_core(whole, objects));
        let spheroid = with_core.next().filter(|_| with_core.next().is_none())?;
        let cores: Vec<&Object> = objects
            .iter()
            .filter(|object| object.core_of == Some(spheroid.number))
            .collect();
        let core_area: u64 = cores.iter().map(|core| core.measurements.area_px).sum();
        let others = wholes().filter(|whole| whole.number != spheroid.number);
        if core_area == 0
            || others
                .into_iter()
                .any(|other| other.measurements.area_px >= core_area)
        {
            return None;
        }
        let weighted = |of: fn(&Object) -> f64| {
            let sum: f64 = cores
                .iter()
                .map(|core| of(core) * core.measurements.area_px as f64)
                .sum();
            sum / core_area as f64
        };
        let centre = [
            weighted(|core| core.measurements.centroid_x_px),
            weighted(|core| core.measurements.centroid_y_px),
        ];
        let radius = (core_area as f64 / std::f64::consts::PI).sqrt();
        let outlines: Vec<&Polygon> = wholes().map(|whole| &whole.polygon).collect();
        let distances = Distances::of(&outlines, centre);
        Some(Self {
            index: distances.wasserstein(radius).tanh(),
            radial_reach_q95: distances.quantile(0.95) / radius,
            dispersed_mass: distances.count.saturating_sub(core_area) as f64
                / distances.count as f64,
        })
    }
}

fn has_core(whole: &Object, objects: &[Object]) -> bool {
    objects
        .iter()
        .any(|object| object.core_of == Some(whole.number))
}
