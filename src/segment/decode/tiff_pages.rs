//! TIFF, decoded strip by strip or tile by tile, so that beside the finished plane only one strip is in memory.

use std::io::{BufRead, ErrorKind, Seek};

use ::tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};

use super::palette::{self, Disguised};
use super::tiff_directory::{Directories, Page};
use super::{luminance, luminance_f32};
use crate::segment::inspect::Limits;
use crate::segment::{Raster, Samples, SegmentError};

pub(super) fn decode<R: BufRead + Seek>(
    reader: &mut R,
    page: u32,
    bytes: u64,
    limits: &Limits,
) -> Result<Raster, SegmentError> {
    let directory = Directories::read(reader, limits)?.page(page)?;
    limits.check(directory.width, directory.height, bytes)?;
    check_length(&directory, bytes)?;
    let disguised = Disguised::new(reader, directory.palette.as_ref())?;
    let mut decoder = Decoder::new(disguised)
        .map_err(explain)?
        .with_limits(own(limits));
    if page > 0 {
        decoder.seek_to_image(page as usize).map_err(explain)?;
    }
    check_offsets(&mut decoder, bytes)?;
    let samples = read_plane(&mut decoder, &directory, limits)?;
    let mut raster = Raster::new(directory.width, directory.height, samples)?;
    raster.pixel_size = directory.pixel_size;
    Ok(raster)
}

fn own(limits: &Limits) -> TiffLimits {
    let bytes = usize::try_from(limits.max_buffer_bytes).unwrap_or(usize::MAX);
    let mut own = TiffLimits::default();
    own.decoding_buffer_size = bytes;
    own.intermediate_buffer_size = bytes;
    own.ifd_value_size = 16 * 1024 * 1024;
    own
}

/// Uncompressed pixel data cannot be longer than the file: found out before memory is taken.
fn check_length(page: &Page, bytes: u64) -> Result<(), SegmentError> {
    let bits = u64::from(page.width) * u64::from(page.bits) * u64::from(page.samples);
    let wanted = bits.div_ceil(8) * u64::from(page.height);
    if page.uncompressed && wanted > bytes {
        let reason = format!("the pixel data have {wanted} bytes, the file {bytes}");
        return Err(SegmentError::Truncated {
            format: "TIFF",
            reason,
        });
    }
    Ok(())
}

/// Every strip and tile begins inside the file.
fn check_offsets<R: BufRead + Seek>(
    decoder: &mut Decoder<Disguised<'_, R>>,
    bytes: u64,
) -> Result<(), SegmentError> {
    for tag in [Tag::StripOffsets, Tag::TileOffsets] {
        let offsets = decoder.find_tag_unsigned_vec::<u64>(tag).map_err(explain)?;
        let outside = offsets
            .into_iter()
            .flatten()
            .enumerate()
            .find(|(_, at)| *at >= bytes);
        if let Some((index, at)) = outside {
            let reason = format!(
                "part {index} of the pixel data begins at {at}, behind the file's end at {bytes}"
            );
            return Err(SegmentError::Truncated {
                format: "TIFF",
                reason,
            });
        }
    }
    Ok(())
}

/// Where a strip or tile lies in the plane.
struct Place {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// How the samples of a pixel become one value.
#[derive(Clone, Copy)]
enum Channels {
    /// The first of so many samples: grey with extra channels, or the luma of YCbCr.
    First(usize),
    /// The luminance of the first three of so many samples.
    Color(usize),
}

fn read_plane<R: BufRead + Seek>(
    decoder: &mut Decoder<Disguised<'_, R>>,
    page: &Page,
    limits: &Limits,
) -> Result<Samples, SegmentError> {
    let color = decoder.colortype().map_err(explain)?;
    let planar = decoder
        .find_tag_unsigned::<u16>(Tag::PlanarConfiguration)
        .map_err(explain)?;
    let planar = planar == Some(2) && page.samples > 1;
    let channels = channels(color, page, planar)?;
    let planes = match channels {
        Channels::Color(_) if planar => 3,
        _ => 1,
    };
    let pixels = page.width as usize * page.height as usize;
    limits.check_buffer(pixels as u64 * 4)?;
    let greys = page
        .palette
        .as_ref()
        .map(|p| palette::greys(p, page.bits))
        .transpose()?;
    let mut plane = Plane::new(pixels, page.width as usize);
    let (across, down) = grid(decoder, page);
    for index in 0..across * down {
        let place = place(decoder, page, index, across);
        let mut parts = Vec::with_capacity(planes);
        for part in 0..planes {
            let chunk = decoder
                .read_chunk((part * across * down + index) as u32)
                .map_err(explain)?;
            parts.push(unpacked(chunk, page.bits, &place));
        }
        plane.put(&place, &parts, channels, greys.as_deref())?;
    }
    Ok(plane.samples)
}

fn channels(color: ColorType, page: &Page, planar: bool) -> Result<Channels, SegmentError> {
    let samples = if planar { 1 } else { usize::from(page.samples) };
    if !matches!(page.bits, 1 | 2 | 4 | 8 | 16 | 32 | 64) || (page.bits < 8 && samples > 1) {
        let reason = format!("{samples} samples of {} bits", page.bits);
        return Err(SegmentError::Unsupported {
            format: "TIFF",
            reason,
        });
    }
    match color {
        ColorType::Gray(_) | ColorType::Multiband { .. } => Ok(Channels::First(samples)),
        // Stored as luma first.
        ColorType::YCbCr(_) => Ok(Channels::First(samples)),
        ColorType::RGB(_) | ColorType::RGBA(_) => Ok(Channels::Color(match color {
            // The decoder drops extra samples that are no alpha.
            ColorType::RGB(_) if !planar => 3,
            ColorType::RGBA(_) if !planar => 4,
            _ => samples,
        })),
        other => Err(SegmentError::Unsupported {
            format: "TIFF",
            reason: format!("colours as {other:?}"),
        }),
    }
}

fn grid<R: BufRead + Seek>(decoder: &Decoder<Disguised<'_, R>>, page: &Page) -> (usize, usize) {
    let (width, height) = decoder.chunk_dimensions();
    let parts = |side: u32, chunk: u32| side.div_ceil(chunk.max(1)) as usize;
    (parts(page.width, width), parts(page.height, height))
}

fn place<R: BufRead + Seek>(
    decoder: &Decoder<Disguised<'_, R>>,
    page: &Page,
    index: usize,
    across: usize,
) -> Place {
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let x = (index % across) * chunk_width as usize;
    let y = (index / across) * chunk_height as usize;
    let width = (page.width as usize - x).min(chunk_width as usize);
    let height = (page.height as usize - y).min(chunk_height as usize);
    Place {
        x,
        y,
        width,
        height,
    }
}

/// Spreads samples of fewer than 8 bits, which arrive packed, high bits first, rows on whole bytes.
fn unpacked(chunk: DecodingResult, bits: u16, place: &Place) -> DecodingResult {
    let DecodingResult::U8(packed) = chunk else {
        return chunk;
    };
    if bits >= 8 {
        return DecodingResult::U8(packed);
    }
    let (per_byte, mask) = (usize::from(8 / bits), (1_u8 << bits) - 1);
    let row_bytes = place.width.div_ceil(per_byte);
    let mut values = Vec::with_capacity(place.width * place.height);
    for row in packed.chunks_exact(row_bytes).take(place.height) {
        let value = |x: usize| {
            let shift = (per_byte - 1 - x % per_byte) * usize::from(bits);
            row[x / per_byte] >> shift & mask
        };
        values.extend((0..place.width).map(value));
    }
    DecodingResult::U8(values)
}

/// The plane as it fills; its type follows the first part.
struct Plane {
    samples: Samples,
    pixels: usize,
    width: usize,
}

impl Plane {
    fn new(pixels: usize, width: usize) -> Self {
        Self {
            samples: Samples::U8(Vec::new()),
            pixels,
            width,
        }
    }

    fn put(
        &mut self,
        place: &Place,
        parts: &[DecodingResult],
        channels: Channels,
        greys: Option<&[u8]>,
    ) -> Result<(), SegmentError> {
        let width = self.width;
        match &parts[0] {
            DecodingResult::U8(_) => {
                let parts = slices(parts, |part| match part {
                    DecodingResult::U8(values) => Some(values.as_slice()),
                    _ => None,
                })?;
                let color = |r: u8, g: u8, b: u8| luminance(r.into(), g.into(), b.into()) as u8;
                let look_up = |value: u8| {
                    greys.map_or(value, |greys| greys[usize::from(value) % greys.len()])
                };
                fill(self.bytes(), width, place, &parts, channels, look_up, color)
            }
            DecodingResult::U16(_) => {
                let parts = slices(parts, |part| match part {
                    DecodingResult::U16(values) => Some(values.as_slice()),
                    _ => None,
                })?;
                let color = |r: u16, g: u16, b: u16| luminance(r.into(), g.into(), b.into()) as u16;
                fill(
                    self.words(),
                    width,
                    place,
                    &parts,
                    channels,
                    |value| value,
                    color,
                )
            }
            _ => {
                let parts: Vec<Vec<f32>> = parts.iter().map(reals).collect();
                let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
                fill(
                    self.reals(),
                    width,
                    place,
                    &parts,
                    channels,
                    finite,
                    luminance_f32,
                )
            }
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        if !matches!(&self.samples, Samples::U8(values) if values.len() == self.pixels) {
            self.samples = Samples::U8(vec![0; self.pixels]);
        }
        let Samples::U8(values) = &mut self.samples else {
            return &mut [];
        };
        values
    }

    fn words(&mut self) -> &mut [u16] {
        if !matches!(&self.samples, Samples::U16(_)) {
            self.samples = Samples::U16(vec![0; self.pixels]);
        }
        let Samples::U16(values) = &mut self.samples else {
            return &mut [];
        };
        values
    }

    fn reals(&mut self) -> &mut [f32] {
        if !matches!(&self.samples, Samples::F32(_)) {
            self.samples = Samples::F32(vec![0.0; self.pixels]);
        }
        let Samples::F32(values) = &mut self.samples else {
            return &mut [];
        };
        values
    }
}

fn slices<'a, T>(
    parts: &'a [DecodingResult],
    of: impl Fn(&'a DecodingResult) -> Option<&'a [T]>,
) -> Result<Vec<&'a [T]>, SegmentError> {
    let slices: Option<Vec<&[T]>> = parts.iter().map(of).collect();
    slices.ok_or_else(|| damaged("colour planes of different types"))
}

/// Copies a part into its place in the plane.
fn fill<T: Copy>(
    plane: &mut [T],
    plane_width: usize,
    place: &Place,
    parts: &[&[T]],
    channels: Channels,
    single: impl Fn(T) -> T,
    color: impl Fn(T, T, T) -> T,
) -> Result<(), SegmentError> {
    let step = match channels {
        Channels::First(step) | Channels::Color(step) => step,
    };
    let wanted = place.width * place.height * step;
    if parts.iter().any(|part| part.len() < wanted) {
        return Err(damaged(
            "a strip or tile with fewer values than its size asks for",
        ));
    }
    for row in 0..place.height {
        let to = (place.y + row) * plane_width + place.x;
        let to = &mut plane[to..to + place.width];
        let from = row * place.width * step;
        for (x, value) in to.iter_mut().enumerate() {
            let at = from + x * step;
            *value = match (channels, parts) {
                (Channels::First(_), _) => single(parts[0][at]),
                (Channels::Color(_), [reds, greens, blues]) => {
                    color(reds[at], greens[at], blues[at])
                }
                (Channels::Color(_), _) => color(parts[0][at], parts[0][at + 1], parts[0][at + 2]),
            };
        }
    }
    Ok(())
}

/// Whole numbers above 16 bits and all signed or real ones as f32.
fn reals(part: &DecodingResult) -> Vec<f32> {
    fn all<T: Copy>(values: &[T], real: impl Fn(T) -> f32) -> Vec<f32> {
        values.iter().map(|value| finite(real(*value))).collect()
    }
    match part {
        DecodingResult::U8(values) => all(values, f32::from),
        DecodingResult::U16(values) => all(values, f32::from),
        DecodingResult::U32(values) => all(values, |value| value as f32),
        DecodingResult::U64(values) => all(values, |value| value as f32),
        DecodingResult::F16(values) => all(values, |value| value.to_f32()),
        DecodingResult::F32(values) => all(values, |value| value),
        DecodingResult::F64(values) => all(values, |value| value as f32),
        DecodingResult::I8(values) => all(values, f32::from),
        DecodingResult::I16(values) => all(values, f32::from),
        DecodingResult::I32(values) => all(values, |value| value as f32),
        DecodingResult::I64(values) => all(values, |value| value as f32),
    }
}

/// Some programs write NaN where nothing was recorded.
fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

fn damaged(reason: &str) -> SegmentError {
    SegmentError::Damaged {
        format: "TIFF",
        reason: reason.to_owned(),
    }
}

fn explain(error: TiffError) -> SegmentError {
    let reason = error.to_string();
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let reason = "the file ends before its pixel data do".to_owned();
            SegmentError::Truncated {
                format: "TIFF",
                reason,
            }
        }
        TiffError::UnsupportedError(_) => SegmentError::Unsupported {
            format: "TIFF",
            reason,
        },
        _ => SegmentError::Damaged {
            format: "TIFF",
            reason,
        },
    }
}
