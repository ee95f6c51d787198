//! Synthetic spheroid images with their exact truth: to try the program out without a microscope, and to test the
//! segmenter against outlines that are known.
//!
//! The same seed and options draw the same image on every machine.

use std::f64::consts::TAU;
use std::io::{Cursor, Write};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiff::encoder::{Rational, TiffEncoder, colortype};
use tiff::tags::Tag;

use super::{PixelSize, PixelSizeSource, Raster, Samples, SegmentError};

/// Most tries to find room for one object; a crowded scene then has fewer.
const PLACEMENT_TRIES: u32 = 200;

/// Spheroids that touch share this much of the distance between their centres.
const TOUCHING_OVERLAP: f64 = 0.05;

/// Number of waves that make an outline irregular.
const OUTLINE_WAVES: usize = 4;

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SceneOptions {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How many spheroids are wanted; fewer where there is no room.
    pub objects: u32,
    /// Smallest and largest mean radius in pixels.
    pub radius_px: (f64, f64),
    /// Dark on a bright ground (brightfield), else bright on a dark one (fluorescence).
    pub dark: bool,
    /// How much darker the image's corners are than its middle, 0–1.
    pub shading: f64,
    /// Standard deviation of the noise, as a share of the background's full range, 0–1.
    pub noise: f64,
    /// Number of specks of dirt with a radius of 1 to 4 pixels.
    pub debris: u32,
    /// Whether the wall of a well is in the picture.
    pub well_rim: bool,
    /// Whether every second spheroid touches the one before it.
    pub touching: bool,
    /// How wide an outline is smeared: the distance in pixels over which it falls from 73 % to 27 %, halved.
    pub blur_px: f64,
    /// Pixel size written into TIFF files, in µm.
    pub pixel_size_um: f64,
}

impl Default for SceneOptions {
    fn default() -> Self {
        Self {
            width: 1024,
            height: 1024,
            objects: 6,
            radius_px: (40.0, 110.0),
            dark: true,
            shading: 0.3,
            noise: 0.02,
            debris: 30,
            well_rim: false,
            touching: false,
            // As sharp as a lens makes it.
            blur_px: 1.2,
            pixel_size_um: 0.65,
        }
    }
}

/// A drawn image and what is in it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The image, 16 bits.
    pub image: Raster,
    /// For every pixel, row by row, the number of the spheroid that covers it, from 1, or 0.
    pub truth: Vec<u16>,
    /// How many spheroids there are.
    pub objects: u16,
}

/// Draws a scene.
pub fn draw(seed: u64, options: &SceneOptions) -> Scene {
    let mut random = Random(seed);
    let blobs = place(&mut random, options);
    let dirt: Vec<Blob> = (0..options.debris)
        .map(|_| Blob::new(&mut random, options, (1.0, 4.0), 0.5))
        .collect();
    let (width, height) = (options.width.max(1), options.height.max(1));
    let mut truth = vec![0; width as usize * height as usize];
    let mut values = Vec::with_capacity(truth.len());
    for (index, truth) in truth.iter_mut().enumerate() {
        let x = (index % width as usize) as f64 + 0.5;
        let y = (index / width as usize) as f64 + 0.5;
        let mut light = ground(options, x, y);
        let mut deepest = 0.0;
        for (number, blob) in blobs
            .iter()
            .enumerate()
            .filter(|(_, blob)| blob.near(options, x, y))
        {
            light = blob.paint(options, light, x, y);
            let depth = blob.depth(x, y);
            if depth > deepest {
                (deepest, *truth) = (depth, number as u16 + 1);
            }
        }
        for speck in dirt.iter().filter(|speck| speck.near(options, x, y)) {
            light = speck.paint(options, light, x, y);
        }
        light += options.noise * random.normal();
        values.push((light * f64::from(u16::MAX)).clamp(0.0, f64::from(u16::MAX)) as u16);
    }
    let mut image = plane(width, height, values);
    let (x_um, y_um) = (options.pixel_size_um, options.pixel_size_um);
    image.pixel_size = Some(PixelSize {
        x_um,
        y_um,
        source: PixelSizeSource::Imagej,
    });
    Scene {
        image,
        truth,
        objects: blobs.len() as u16,
    }
}

impl Scene {
    /// Writes the image as an 8-bit grey PNG.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn write_png(&self, writer: impl Write) -> Result<(), SegmentError> {
        let bytes: Vec<u8> = self
            .words()
            .iter()
            .map(|value| (value >> 8) as u8)
            .collect();
        let (width, height) = (self.image.width(), self.image.height());
        PngEncoder::new(writer)
            .write_image(&bytes, width, height, ExtendedColorType::L8)
            .map_err(|error| SegmentError::Io(std::io::Error::other(error)))
    }

    /// Writes the image as a 16-bit grey TIFF with the pixel size as ImageJ writes it.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn write_tiff16(&self, mut writer: impl Write) -> Result<(), SegmentError> {
        let file = self.tiff16().map_err(std::io::Error::other)?;
        writer.write_all(&file)?;
        Ok(())
    }

    fn tiff16(&self) -> Result<Vec<u8>, tiff::TiffError> {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file)?;
        let (width, height) = (self.image.width(), self.image.height());
        let mut page = encoder.new_image::<colortype::Gray16>(width, height)?;
        if let Some(size) = self.image.pixel_size {
            let resolution = Rational {
                n: 1_000_000,
                d: (size.x_um * 1e6).round() as u32,
            };
            page.x_resolution(resolution.clone());
            page.y_resolution(resolution);
            page.encoder()
                .write_tag(Tag::ImageDescription, "ImageJ=1.54f\nunit=um\n")?;
        }
        page.write_data(self.words())?;
        Ok(file.into_inner())
    }

    fn words(&self) -> &[u16] {
        match self.image.samples() {
            Samples::U16(values) => values,
            _ => &[],
        }
    }
}

/// An irregular disk with a soft edge.
struct Blob {
    x: f64,
    y: f64,
    radius: f64,
    /// Of each wave of the outline: its share of the radius and its phase.
    waves: [(f64, f64); OUTLINE_WAVES],
    /// How far it stands out from the ground, 0–1.
    strength: f64,
    texture: (f64, f64),
}

impl Blob {
    fn new(random: &mut Random, options: &SceneOptions, radii: (f64, f64), strength: f64) -> Self {
        let radius = random.between(radii.0, radii.1);
        let margin = if options.well_rim { 0.3 } else { 0.0 };
        let inside = |random: &mut Random, side: u32| {
            let edge = (radius * 1.25 + 4.0)
                .max(margin * f64::from(side))
                .min(f64::from(side) / 2.0);
            random.between(edge, f64::from(side) - edge)
        };
        Self {
            x: inside(random, options.width),
            y: inside(random, options.height),
            radius,
            waves: std::array::from_fn(|wave| {
                (
                    random.between(0.0, 0.08 / (wave as f64 + 1.0)),
                    random.between(0.0, TAU),
                )
            }),
            strength: strength * random.between(0.8, 1.2),
            texture: (random.between(0.0, TAU), random.between(0.0, TAU)),
        }
    }

    /// How deep a place lies inside the outline, in pixels; negative outside.
    fn depth(&self, x: f64, y: f64) -> f64 {
        let (dx, dy) = (x - self.x, y - self.y);
        self.radius_at(dy.atan2(dx)) - dx.hypot(dy)
    }

    fn radius_at(&self, angle: f64) -> f64 {
        let wave = |(index, (share, phase)): (usize, &(f64, f64))| {
            share * ((index as f64 + 2.0) * angle + phase).cos()
        };
        let waves: f64 = self.waves.iter().enumerate().map(wave).sum();
        self.radius * (1.0 + waves)
    }

    /// The same next to another one: their outlines overlap by a twentieth.
    fn beside(self, other: &Self, angle: f64) -> Self {
        let radii = other.radius_at(angle) + self.radius_at(angle + TAU / 2.0);
        let distance = (1.0 - TOUCHING_OVERLAP) * radii;
        Self {
            x: other.x + distance * angle.cos(),
            y: other.y + distance * angle.sin(),
            ..self
        }
    }

    fn lies_within(&self, options: &SceneOptions) -> bool {
        let reach = self.radius * 1.25 + 4.0;
        let within = |at: f64, side: u32| (reach..f64::from(side) - reach).contains(&at);
        within(self.x, options.width) && within(self.y, options.height)
    }

    /// Whether the blob can be seen at a place: further out its blur is below a thousandth.
    fn near(&self, options: &SceneOptions, x: f64, y: f64) -> bool {
        let reach = self.radius * 1.3 + 8.0 * options.blur_px;
        (x - self.x).abs() < reach && (y - self.y).abs() < reach
    }

    fn paint(&self, options: &SceneOptions, light: f64, x: f64, y: f64) -> f64 {
        let cover = 1.0 / (1.0 + (-self.depth(x, y) / options.blur_px.max(0.1)).exp());
        let grain = (x / 5.0 + self.texture.0).sin() * (y / 6.0 + self.texture.1).sin();
        let cover = cover * self.strength * (1.0 + 0.12 * grain);
        if options.dark {
            light * (1.0 - cover)
        } else {
            light + 0.8 * cover
        }
    }

    fn apart(&self, other: &Self) -> bool {
        let gap = (self.x - other.x).hypot(self.y - other.y);
        gap > 1.2 * (self.radius + other.radius) + 12.0
    }
}

fn place(random: &mut Random, options: &SceneOptions) -> Vec<Blob> {
    let mut blobs: Vec<Blob> = Vec::new();
    for _ in 0..options.objects.min(u16::MAX.into()) {
        let partner = options.touching && blobs.len() % 2 == 1;
        let room = (0..PLACEMENT_TRIES).find_map(|_| {
            let mut blob = Blob::new(random, options, options.radius_px, 0.45);
            let mut others = blobs.as_slice();
            if let (true, [rest @ .., last]) = (partner, others) {
                blob = blob.beside(last, random.between(0.0, TAU));
                others = rest;
            }
            let free = others.iter().all(|other| blob.apart(other));
            (free && blob.lies_within(options)).then_some(blob)
        });
        blobs.extend(room);
    }
    blobs
}

/// The light where nothing lies.
fn ground(options: &SceneOptions, x: f64, y: f64) -> f64 {
    let (width, height) = (f64::from(options.width), f64::from(options.height));
    let (u, v) = (2.0 * x / width - 1.0, 2.0 * y / height - 1.0);
    let level = if options.dark { 0.7 } else { 0.08 };
    // A vignette whose middle is a little off the image's.
    let vignette = 1.0 - options.shading * ((u - 0.2).powi(2) + (v + 0.1).powi(2)) / 2.0;
    let light = level * vignette;
    if !options.well_rim {
        return light;
    }
    let from_wall = ((u * width).hypot(v * height) / 2.0 - 0.49 * width.min(height)) / 3.0;
    let wall = (-from_wall * from_wall / 4.0).exp();
    let outside = 1.0 / (1.0 + (-from_wall).exp());
    light * (1.0 - 0.6 * outside) + 0.25 * wall
}

/// The raster of values that fit its size.
fn plane(width: u32, height: u32, values: Vec<u16>) -> Raster {
    match Raster::new(width, height, Samples::U16(values)) {
        Ok(raster) => raster,
        Err(error) => unreachable!("one value was drawn per pixel: {error}"),
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, and the same for ever, unlike a library's default generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// Uniform in 0–1, 1 excluded.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Standard normal, after Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, decode};
    use super::*;

    fn small() -> SceneOptions {
        let radius_px = (10.0, 20.0);
        SceneOptions {
            width: 160,
            height: 120,
            objects: 2,
            radius_px,
            ..SceneOptions::default()
        }
    }

    #[test]
    fn a_seed_draws_the_same_scene_again_and_another_seed_another() {
        let (first, again, other) = (draw(7, &small()), draw(7, &small()), draw(8, &small()));
        assert_eq!(first.image, again.image);
        assert_ne!(first.image, other.image);
        assert_eq!(first.objects, 2);
    }

    #[test]
    fn both_files_read_back() {
        let scene = draw(3, &small());
        let (mut png, mut tiff) = (Vec::new(), Vec::new());
        scene.write_png(&mut png).unwrap();
        scene.write_tiff16(&mut tiff).unwrap();
        let limits = Limits::default();
        let tiff = decode(&mut Cursor::new(tiff), 0, &limits).unwrap();
        assert_eq!(tiff.samples(), scene.image.samples());
        let size = tiff.pixel_size.unwrap();
        assert!((size.x_um - 0.65).abs() < 1e-6 && size.trusted());
        let png = decode(&mut Cursor::new(png), 0, &limits).unwrap();
        assert_eq!(png.at(80, 60), (scene.image.at(80, 60) / 256.0).floor());
    }
}
