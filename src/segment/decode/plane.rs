//! Strips and tiles of any sample type, put together to one plane of grey values.

use ::tiff::decoder::DecodingResult;

use super::{luminance, luminance_f32};
use crate::segment::{Samples, SegmentError};

/// Where a strip or tile lies in the plane.
pub(super) struct Place {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// How the samples of a pixel become one value.
#[derive(Clone, Copy)]
pub(super) enum Channels {
    /// The first of so many samples: grey with extra channels, or the luma of YCbCr.
    First(usize),
    /// The luminance of the first three of so many samples.
    Color(usize),
}

/// The plane as it fills; its type follows the first part.
pub(super) struct Plane {
    /// What was put in so far.
    pub samples: Samples,
    pixels: usize,
    width: usize,
}

impl Plane {
    /// An empty plane.
    pub fn new(pixels: usize, width: usize) -> Self {
        Self {
            samples: Samples::U8(Vec::new()),
            pixels,
            width,
        }
    }

    /// Puts a part, given as one buffer or one per colour, into its place; `greys` turns indices into values.
    pub fn put(
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

/// Spreads samples of fewer than 8 bits, which arrive packed, high bits first, rows on whole bytes.
pub(super) fn unpacked(chunk: DecodingResult, bits: u16, place: &Place) -> DecodingResult {
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

fn damaged(reason: &str) -> SegmentError {
    SegmentError::Damaged {
        format: "TIFF",
        reason: reason.to_owned(),
    }
}
