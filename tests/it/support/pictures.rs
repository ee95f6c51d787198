//! Images for tests.

use spheroctl::segment::scene::{self, SceneOptions};

/// Three spheroids on a bright ground, as a PNG of 256 × 256 pixels; another picture for another seed.
pub fn png(seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    small_scene(seed).write_png(&mut file).expect("a PNG");
    file
}

/// The same as a 16-bit TIFF with a pixel size of 0.65 µm.
pub fn tiff(seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    small_scene(seed).write_tiff16(&mut file).expect("a TIFF");
    file
}

/// A PNG whose header is good and whose pixels are cut off.
pub fn damaged_png() -> Vec<u8> {
    let mut bytes = png(1);
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Two pages of 8 bits in one TIFF: the pictures of both seeds.
pub fn stack(first: u64, second: u64) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).expect("a TIFF");
    for seed in [first, second] {
        let image = small_scene(seed).image;
        let values: Vec<u8> = (0..image.samples().len())
            .map(|index| (image.samples().at(index) / 256.0) as u8)
            .collect();
        encoder
            .write_image::<tiff::encoder::colortype::Gray8>(image.width(), image.height(), &values)
            .expect("a page");
    }
    file.into_inner()
}

/// Nothing at all, as a PNG.
pub fn blank() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(256, 256, image::Luma([200]));
    image
        .write_to(&mut file, image::ImageFormat::Png)
        .expect("a PNG");
    file.into_inner()
}

/// Sixty spheroids as a PNG: their outlines are too large for a row.
pub fn many() -> Vec<u8> {
    let options = SceneOptions {
        width: 768,
        height: 768,
        objects: 60,
        radius_px: (20.0, 32.0),
        debris: 0,
        ..SceneOptions::default()
    };
    let mut file = Vec::new();
    let scene = scene::draw(3, &options);
    scene.write_png(&mut file).expect("a PNG");
    file
}

fn small_scene(seed: u64) -> scene::Scene {
    let options = SceneOptions {
        width: 256,
        height: 256,
        objects: 3,
        radius_px: (20.0, 32.0),
        debris: 0,
        ..SceneOptions::default()
    };
    scene::draw(seed, &options)
}
