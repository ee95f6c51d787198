//! The synthetic images of the timing table: forty spheroids, as a camera of 8 bits and one of 16 bits would give them.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use crate::segment::SegmentError;
use crate::segment::scene::{SceneOptions, draw};

/// Writes `synthetic-2048.png` (8 bits) and `synthetic-4096.tif` (16 bits) where they are not there yet.
pub fn write(dir: &Path) -> Result<(), SegmentError> {
    std::fs::create_dir_all(dir)?;
    for (side, name) in [(2048, "synthetic-2048.png"), (4096, "synthetic-4096.tif")] {
        let path = dir.join(name);
        if path.exists() {
            continue;
        }
        let scene = draw(40, &options(side));
        let writer = BufWriter::new(File::create(&path)?);
        if name.ends_with("png") {
            scene.write_png(writer)?;
        } else {
            scene.write_tiff16(writer)?;
        }
    }
    Ok(())
}

/// Forty spheroids, a fortieth to a sixteenth of the side across in radius, so that both sizes hold the same picture.
fn options(side: u32) -> SceneOptions {
    let side_px = f64::from(side);
    SceneOptions {
        width: side,
        height: side,
        objects: 40,
        radius_px: (side_px / 40.0, side_px / 18.0),
        debris: 60,
        ..SceneOptions::default()
    }
}
