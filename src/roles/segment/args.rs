//! What `segment` is told. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::choices::name_and_value;
use super::output_files::Output;
use super::pages::Pages;

/// Arguments of `segment`.
#[derive(Debug, Clone, Args)]
pub struct SegmentArgs {
    /// Images (TIFF, PNG, JPEG, BMP), folders of them, and patterns in quotes ('plates/**/*.tif')
    #[arg(value_name = "FILES", required_unless_present = "samples")]
    pub inputs: Vec<PathBuf>,
    /// Folder for measurements.csv and the files of each image; a run that was interrupted goes on there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Take the images in the folders inside the folders too
    #[arg(long, short)]
    pub recursive: bool,
    /// Only these pages of each file, counted from 0 (3 or 0-3,7 or 5-); every page where it is left out
    #[arg(long, alias = "page", value_name = "PAGES")]
    pub pages: Option<Pages>,
    /// Do every image again, also those that an earlier run into this folder has done
    #[arg(long)]
    pub fresh: bool,
    /// Make N sample images in the folder and segment them too
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub samples: Option<u32>,
    /// Images that are segmented at once (worker.concurrency)
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u16>,
    /// Files to write for each image; geojson, overlay and labels where it is left out
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    pub outputs: Vec<Output>,
    /// Write the table alone
    #[arg(long, conflicts_with = "outputs")]
    pub table_only: bool,
    /// Say nothing of the progress; images that fail are named all the same
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// How objects are found.
    #[command(flatten)]
    pub segmenter: SegmenterArgs,
}

/// Parameters of the segmenter as flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "How objects are found")]
pub struct SegmenterArgs {
    /// Whether objects are brighter or darker than what surrounds them
    #[arg(long, value_enum)]
    pub polarity: Option<PolarityName>,
    /// Drop objects below this area, in pixels
    #[arg(long, value_name = "PIXELS")]
    pub min_area: Option<u64>,
    /// An object differs from its surroundings by this many standard deviations of the background
    #[arg(long, value_name = "FACTOR")]
    pub min_contrast: Option<f64>,
    /// Leave objects that touch in one
    #[arg(long)]
    pub no_split: bool,
    /// Drop objects that touch the image's frame
    #[arg(long)]
    pub exclude_border: bool,
    /// Edge length of a pixel in µm, instead of what the files say
    #[arg(long, value_name = "UM")]
    pub pixel_um: Option<f64>,
    /// Any parameter of the segmenter by its name in the API, as in smoothing_px=3; a flag above wins
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub parameter: Vec<(String, serde_json::Value)>,
}

/// The choices of `--polarity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolarityName {
    /// Try both and keep the better one
    Auto,
    /// Bright objects on a dark ground (fluorescence)
    Bright,
    /// Dark objects on a bright ground (brightfield)
    Dark,
}

impl PolarityName {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bright => "bright",
            Self::Dark => "dark",
        }
    }
}
