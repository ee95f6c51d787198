//! What a user may choose about a segmentation.

use serde::{Deserialize, Serialize};

use super::{PixelSize, PixelSizeSource, SegmentError};

/// Where no smallest area is given, it is one pixel in so many: a disk whose diameter is 1.6 % of the image's side. What
/// is smaller is dirt in an image of spheroids …
const PIXELS_PER_MIN_AREA: u64 = 5_000;

/// … but never less than this, since a smaller disk has no shape of its own, …
const MIN_AREA_PX: u64 = 30;

/// … nor more than this, since a large image may also be a mosaic of many fields.
const MAX_MIN_AREA_PX: u64 = 500;

/// The choices of one segmentation; every field has a default, unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Whether objects are brighter or darker than what surrounds them.
    pub polarity: Polarity,
    /// Objects below this area are dropped, in pixels. Unset: 0.02 % of the image, from 30 to 500.
    pub min_area_px: Option<u64>,
    /// Objects below this share of the typical object's area are taken for debris (0 keeps all), 0–1.
    pub min_relative_area: f64,
    /// Holes below this area are filled, in pixels.
    pub min_hole_px: u64,
    /// Standard deviation of the Gaussian that removes pixel noise, in pixels (0 leaves the image as it is), 0–20.
    pub smoothing_px: f64,
    /// An object's mean must differ from its surroundings by this many standard deviations of the background, 0–100.
    pub min_contrast: f64,
    /// Whether objects that touch are parted.
    pub split_touching: bool,
    /// Whether a dense core is reported beside the whole outline where the two differ by more than a quarter in area.
    pub report_core: bool,
    /// Objects that touch the image's frame are dropped.
    pub exclude_border: bool,
    /// Edge length of a pixel in µm, 0.001–1000. Unset: what the file says.
    pub pixel_size_um: Option<f64>,
}

/// Whether objects are brighter or darker than what surrounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Polarity {
    /// Both are tried and the better one is kept.
    #[default]
    Auto,
    /// Bright objects on a dark ground (fluorescence).
    Bright,
    /// Dark objects on a bright ground (brightfield).
    Dark,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            polarity: Polarity::Auto,
            min_area_px: None,
            min_relative_area: 0.05,
            min_hole_px: 30,
            smoothing_px: 2.0,
            min_contrast: 4.0,
            split_touching: true,
            report_core: true,
            exclude_border: false,
            pixel_size_um: None,
        }
    }
}

impl Parameters {
    /// Checks the ranges; an error names the parameter.
    ///
    /// # Errors
    /// [`SegmentError::Parameter`] for the first value outside its range.
    pub fn validate(&self) -> Result<(), SegmentError> {
        in_range(
            "min_relative_area",
            self.min_relative_area,
            0.0..=1.0,
            "between 0 and 1",
        )?;
        in_range(
            "smoothing_px",
            self.smoothing_px,
            0.0..=20.0,
            "between 0 and 20",
        )?;
        in_range(
            "min_contrast",
            self.min_contrast,
            0.0..=100.0,
            "between 0 and 100",
        )?;
        in_range(
            "pixel_size_um",
            self.pixel_size_um.unwrap_or(1.0),
            0.001..=1000.0,
            "between 0.001 and 1000",
        )
    }

    /// The pixel size that a person gave.
    pub fn pixel_size(&self) -> Option<PixelSize> {
        self.pixel_size_um.map(|edge_um| PixelSize {
            x_um: edge_um,
            y_um: edge_um,
            source: PixelSizeSource::User,
        })
    }

    /// The smallest area that counts as an object in an image of this many pixels, in pixels.
    pub fn min_area(&self, image_pixels: u64) -> u64 {
        self.min_area_px.unwrap_or_else(|| {
            (image_pixels / PIXELS_PER_MIN_AREA).clamp(MIN_AREA_PX, MAX_MIN_AREA_PX)
        })
    }
}

fn in_range(
    name: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<(), SegmentError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(SegmentError::Parameter {
        name,
        value: value.to_string(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_means_the_defaults() {
        let parsed: Parameters = serde_json::from_str("{}").unwrap();
        assert_eq!(parsed, Parameters::default());
        assert!(parsed.validate().is_ok());
    }

    #[test]
    fn a_misspelt_parameter_is_refused_by_name() {
        let error = serde_json::from_str::<Parameters>(r#"{"min_area": 3}"#).unwrap_err();
        assert!(error.to_string().contains("min_area"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        for wrong in [f64::NAN, -1.0, 20.5] {
            let parameters = Parameters {
                smoothing_px: wrong,
                ..Parameters::default()
            };
            let error = parameters.validate().unwrap_err().to_string();
            assert!(error.contains("smoothing_px"), "{error}");
        }
    }
}
