//! What is to be segmented: the files that were named, each with the stem of its results, and samples drawn on request.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::segment::scene::{self, SceneOptions};

/// Folder of the samples, inside the folder of results.
const SAMPLES: &str = "samples";

/// A file to segment.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name in the table.
    pub(super) name: String,
    /// What the names of its results begin with: its stem, numbered where two files share one.
    pub(super) stem: String,
}

/// The items of these paths.
pub(super) fn of<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Vec<Item> {
    let mut taken: HashMap<String, u32> = HashMap::new();
    paths
        .map(|path| {
            let text = |part: Option<&std::ffi::OsStr>| {
                part.unwrap_or_default().to_string_lossy().into_owned()
            };
            let stem = text(path.file_stem());
            let count = taken.entry(stem.clone()).or_default();
            *count += 1;
            let stem = if *count == 1 {
                stem
            } else {
                format!("{stem}-{count}")
            };
            Item {
                path: path.clone(),
                name: text(path.file_name()),
                stem,
            }
        })
        .collect()
}

/// Draws `count` sample images into the folder of results: brightfield and fluorescence, one to four spheroids, with
/// shading, noise and debris; 8-bit PNG and 16-bit TIFF by turns.
pub(super) fn draw(out: &Path, count: u32) -> anyhow::Result<Vec<PathBuf>> {
    let folder = out.join(SAMPLES);
    std::fs::create_dir_all(&folder)?;
    (0..count).map(|number| draw_one(&folder, number)).collect()
}

fn draw_one(folder: &Path, number: u32) -> anyhow::Result<PathBuf> {
    let options = SceneOptions {
        objects: 1 + number % 4,
        dark: number % 3 != 2,
        ..SceneOptions::default()
    };
    let scene = scene::draw(u64::from(number), &options);
    let extension = if number.is_multiple_of(2) {
        "png"
    } else {
        "tif"
    };
    let path = folder.join(format!("spheroids-{:03}.{extension}", number + 1));
    let writer = BufWriter::new(File::create(&path)?);
    if number.is_multiple_of(2) {
        scene.write_png(writer)?
    } else {
        scene.write_tiff16(writer)?
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_with_one_stem_get_two() {
        let paths = ["a/well.tif", "b/well.tif", "b/other.png"].map(PathBuf::from);
        let stems: Vec<_> = of(paths.iter()).into_iter().map(|item| item.stem).collect();
        assert_eq!(stems, ["well", "well-2", "other"]);
    }
}
