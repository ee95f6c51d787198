//! The images of a run, each with the stem of its results, and samples drawn on request.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::segment::scene::{self, SceneOptions};

use super::inputs::Input;

/// Folder of the samples, inside the folder of results.
const SAMPLES: &str = "samples";

/// An image file to segment.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name in the table.
    pub(super) name: String,
    /// What the names of its results begin with: its name without extension, numbered where two files share one.
    pub(super) stem: PathBuf,
}

impl Item {
    /// What the names of the results of a page begin with.
    pub(super) fn page_stem(&self, page: u64, pages: u64) -> PathBuf {
        if pages > 1 {
            with_suffix(&self.stem, &format!(".page-{page}"))
        } else {
            self.stem.clone()
        }
    }
}

/// The path with more at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// The items of these inputs.
pub(super) fn of(inputs: Vec<Input>) -> Vec<Item> {
    let mut taken = HashSet::new();
    let mut free_stem = |stem: PathBuf| {
        let numbered = (2_u64..).map(|number| with_suffix(&stem, &format!("-{number}")));
        let mut stems = std::iter::once(stem.clone()).chain(numbered);
        // What a stack's pages are called is not free for an image.
        let free = stems.find(|stem| taken.insert(without_page(stem)));
        free.unwrap_or(stem)
    };
    let mut items = Vec::with_capacity(inputs.len());
    for Input { path, name } in inputs {
        items.push(Item {
            stem: free_stem(name.with_extension("")),
            name: name.to_string_lossy().into_owned(),
            path,
        });
    }
    items
}

/// `a.page-3` as `a`; small letters, because some file systems know no others.
fn without_page(stem: &Path) -> String {
    let text = stem.to_string_lossy().to_lowercase();
    match text.rsplit_once(".page-") {
        Some((base, page)) if page.bytes().all(|byte| byte.is_ascii_digit()) => base.to_owned(),
        _ => text,
    }
}

/// Draws `count` sample images into the folder of results: brightfield and fluorescence, one to four spheroids, with
/// shading, noise and debris; 8-bit PNG and 16-bit TIFF by turns. One that is there already stays as it is.
pub(super) fn draw(out: &Path, count: u32) -> anyhow::Result<Vec<Input>> {
    let folder = out.join(SAMPLES);
    std::fs::create_dir_all(&folder)?;
    (0..count).map(|number| draw_one(&folder, number)).collect()
}

fn draw_one(folder: &Path, number: u32) -> anyhow::Result<Input> {
    let (even, extension) = match number.is_multiple_of(2) {
        true => (true, "png"),
        false => (false, "tif"),
    };
    let name = PathBuf::from(format!("spheroids-{:03}.{extension}", number + 1));
    let path = folder.join(&name);
    if path.exists() {
        return Ok(Input { path, name });
    }
    let options = SceneOptions {
        objects: 1 + number % 4,
        dark: number % 3 != 2,
        ..SceneOptions::default()
    };
    let scene = scene::draw(u64::from(number), &options);
    // Under its name only when it is whole: a run that is interrupted here would else keep half an image.
    let unfinished = with_suffix(&path, ".part");
    let writer = BufWriter::new(File::create(&unfinished)?);
    if even {
        scene.write_png(writer)?
    } else {
        scene.write_tiff16(writer)?
    }
    std::fs::rename(&unfinished, &path)?;
    Ok(Input { path, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_get_one_stem() {
        let names = [
            "well.tif",
            "well.png",
            "well-2.tif",
            "plate/well.tif",
            "stack.tif",
            "stack.page-0.tif",
        ];
        let inputs = names.map(|name| Input {
            path: name.into(),
            name: name.into(),
        });
        let stems: Vec<_> = of(inputs.into())
            .into_iter()
            .map(|item| item.stem)
            .collect();
        let expected = [
            "well",
            "well-2",
            "well-2-2",
            "plate/well",
            "stack",
            "stack.page-0-2",
        ];
        assert_eq!(stems, expected.map(PathBuf::from));
    }
}
