//! The files that are written for each image. A further kind is a variant here with its suffix and its writer.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::segment::export::{coco, geojson, labels, overlay, rois};
use crate::segment::{self, Limits, Raster, SegmentError, Segmentation};

/// The table of all images.
pub(super) const TABLE: &str = "measurements.csv";

/// A file that is written for each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Outlines with measurements, as QuPath opens them
    Geojson,
    /// The picture with numbered outlines
    Overlay,
    /// The label mask
    Labels,
    /// Outlines as regions of ImageJ
    Rois,
    /// Outlines in COCO's format
    Coco,
}

/// A page of which results are written.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its number, from 0.
    pub(super) number: u32,
    /// What the decoders accept.
    pub(super) limits: Limits,
}

impl Page {
    fn decode(&self) -> Result<Raster, SegmentError> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        segment::decode(&mut reader, self.number, &self.limits)
    }
}

impl Output {
    /// What is written where nothing is said.
    pub(super) const USUAL: &[Self] = &[Self::Geojson, Self::Overlay, Self::Labels];

    /// What the file's name ends with.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Geojson => ".geojson",
            Self::Overlay => ".overlay.png",
            Self::Labels => ".labels.tif",
            Self::Rois => ".RoiSet.zip",
            Self::Coco => ".coco.json",
        }
    }

    /// Whether the image must be decoded for it once more.
    const fn shows_the_image(self) -> bool {
        matches!(self, Self::Overlay)
    }

    fn write(
        self,
        page: &Page,
        image: Option<&Raster>,
        result: &Segmentation,
        writer: impl Write,
    ) -> Result<(), SegmentError> {
        match (self, image) {
            (Self::Geojson, _) => geojson::write(result, writer),
            (Self::Overlay, Some(image)) => overlay::write(image, result, writer),
            (Self::Overlay, None) => Ok(()),
            (Self::Labels, _) => labels::write(result, writer),
            (Self::Rois, _) => rois::write(result, writer),
            (Self::Coco, _) => {
                let name = page.path.file_name().unwrap_or_default();
                coco::write(&name.to_string_lossy(), result, writer)
            }
        }
    }
}

/// Whether a file with this name, in small letters, is a result.
pub(super) fn is_result(name: &str) -> bool {
    let mut suffixes = Output::value_variants()
        .iter()
        .map(|output| output.suffix().to_lowercase());
    name == TABLE || suffixes.any(|suffix| name.ends_with(&suffix))
}

/// Writes these files of a page; `path` says where to.
pub(super) fn write(
    outputs: &[Output],
    page: &Page,
    result: &Segmentation,
    path: impl Fn(Output) -> PathBuf,
) -> Result<(), SegmentError> {
    let shown = outputs.iter().any(|output| output.shows_the_image());
    let image = shown.then(|| page.decode()).transpose()?;
    for output in outputs {
        let mut writer = BufWriter::new(File::create(path(*output))?);
        output.write(page, image.as_ref(), result, &mut writer)?;
        // A full disk shows here, not when the writer is dropped.
        writer.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_known_by_their_names() {
        for name in ["a.overlay.png", "a.page-3.labels.tif", "measurements.csv"] {
            assert!(is_result(name), "{name}");
        }
        assert!(!is_result("overlay.png"));
    }
}
