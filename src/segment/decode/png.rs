//! PNG, row by row: beside the plane only a few rows are in memory, interlaced or not.

use std::io::{BufRead, ErrorKind, Seek};

use png::{BitDepth, ColorType, Decoder, DecodingError, Info, Reader};

use super::grey::{Channels, Sample, combine, unpack};
use super::pixel_size;
use crate::segment::inspect::{Format, Inspection, Limits, be32, nonzero, take};
use crate::segment::{Samples, SegmentError};

const FORMAT: Format = Format::Png;

/// The passes of Adam7 (PNG specification, 8.2): first column and row, distance of columns and of rows.
const INTERLACED: &[[usize; 4]] = &[
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// All columns and rows at once.
const PROGRESSIVE: &[[usize; 4]] = &[[0, 0, 1, 1]];

/// The chunk IHDR comes first and has 13 bytes (PNG specification, 11.2.1); pHYs, if any, before IDAT.
pub(in crate::segment) fn inspect(
    reader: &mut (impl BufRead + Seek),
) -> Result<Inspection, SegmentError> {
    let head: [u8; 33] = take(reader, FORMAT)?;
    if &head[8..16] != b"\0\0\0\x0dIHDR" {
        return Err(SegmentError::damaged(FORMAT, "the first chunk is not IHDR"));
    }
    let (width, height) = (be32(&head[16..20]), be32(&head[20..24]));
    nonzero(FORMAT, width, height)?;
    Ok(Inspection {
        format: FORMAT,
        width,
        height,
        pages: 1,
        bits: u16::from(head[24]),
        pixel_size: pixel_size::of_png(reader),
    })
}

/// The pixels, below 8 bits scaled to 8 (as PNG's transparency, gamma and every viewer do), else as they are.
pub(super) fn decode<R: BufRead + Seek>(
    reader: &mut R,
    limits: &Limits,
) -> Result<Samples, SegmentError> {
    let own = png::Limits {
        bytes: usize::try_from(limits.max_buffer_bytes).unwrap_or(usize::MAX),
    };
    let mut decoder = Decoder::new_with_limits(reader, own);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut rows = decoder.read_info().map_err(explain)?;
    check_first_frame(rows.info())?;
    let pixels = Pixels::of(rows.info());
    let samples = match rows.info().bit_depth {
        BitDepth::Sixteen => Samples::U16(fill(&mut rows, |row, greys| {
            pixels.words(row, greys);
            Ok(())
        })?),
        _ if pixels.palette.is_some() => {
            Samples::U8(fill(&mut rows, |row, greys| pixels.colors(row, greys))?)
        }
        _ => Samples::U8(fill(&mut rows, |row, greys| {
            pixels.bytes(row, greys);
            Ok(())
        })?),
    };
    // Up to the end of the file: the checksum of the last pixels comes behind them.
    rows.finish().map_err(explain)?;
    Ok(samples)
}

/// The first frame of an animation is the image itself, so it has the image's size.
fn check_first_frame(info: &Info<'_>) -> Result<(), SegmentError> {
    match info.frame_control {
        Some(frame) if (frame.width, frame.height) != (info.width, info.height) => {
            let reason = format!("a first frame of {} × {}", frame.width, frame.height);
            Err(SegmentError::damaged(FORMAT, reason))
        }
        _ => Ok(()),
    }
}

/// Reads all rows and puts them where they belong.
fn fill<R: BufRead + Seek, T: Sample>(
    rows: &mut Reader<R>,
    greys_of: impl Fn(&[u8], &mut [T]) -> Result<(), SegmentError>,
) -> Result<Vec<T>, SegmentError> {
    let info = rows.info();
    let (width, height) = (info.width as usize, info.height as usize);
    let passes = if info.interlaced {
        INTERLACED
    } else {
        PROGRESSIVE
    };
    let mut raw = vec![0; info.raw_row_length() - 1];
    let mut greys = vec![T::default(); width];
    let mut plane = vec![T::default(); width * height];
    for &[left, top, across, down] in passes {
        let columns = width.saturating_sub(left).div_ceil(across);
        if columns == 0 {
            continue;
        }
        for y in (top..height).step_by(down) {
            if rows.read_row(&mut raw).map_err(explain)?.is_none() {
                return Err(SegmentError::damaged(FORMAT, "fewer rows than its height"));
            }
            let row = &mut plane[y * width..(y + 1) * width];
            if across == 1 {
                greys_of(&raw, row)?;
                continue;
            }
            greys_of(&raw, &mut greys[..columns])?;
            for (to, from) in row[left..].iter_mut().step_by(across).zip(&greys) {
                *to = *from;
            }
        }
    }
    Ok(plane)
}

/// What a pixel is made of.
struct Pixels {
    channels: Channels,
    bits: u32,
    /// The grey of every colour.
    palette: Option<Vec<u8>>,
}

impl Pixels {
    fn of(info: &Info<'_>) -> Self {
        let channels = match info.color_type {
            ColorType::Grayscale | ColorType::Indexed => Channels::First(1),
            ColorType::GrayscaleAlpha => Channels::First(2),
            ColorType::Rgb => Channels::Color(3),
            ColorType::Rgba => Channels::Color(4),
        };
        let indexed = info.color_type == ColorType::Indexed;
        let colors = info.palette.as_deref().unwrap_or_default();
        let grey = |color: &[u8; 3]| u8::luminance(color[0], color[1], color[2]);
        Self {
            channels,
            bits: info.bit_depth as u32,
            palette: indexed.then(|| colors.as_chunks().0.iter().map(grey).collect()),
        }
    }

    fn bytes(&self, row: &[u8], greys: &mut [u8]) {
        if self.bits == 8 {
            return combine(row, self.channels, greys);
        }
        unpack(row, self.bits, greys);
        let scale = 255 / ((1 << self.bits) - 1) as u8;
        greys.iter_mut().for_each(|grey| *grey *= scale);
    }

    fn words(&self, row: &[u8], greys: &mut [u16]) {
        let (row, _) = row.as_chunks::<2>();
        let word = |bytes: &[u8; 2]| u16::from_be_bytes(*bytes);
        match self.channels {
            Channels::First(step) => {
                for (grey, pixel) in greys.iter_mut().zip(row.iter().step_by(step)) {
                    *grey = word(pixel);
                }
            }
            Channels::Color(step) | Channels::Inks(step) => {
                for (grey, pixel) in greys.iter_mut().zip(row.chunks_exact(step)) {
                    *grey = u16::luminance(word(&pixel[0]), word(&pixel[1]), word(&pixel[2]));
                }
            }
        }
    }

    fn colors(&self, row: &[u8], greys: &mut [u8]) -> Result<(), SegmentError> {
        unpack(row, self.bits, greys);
        let palette = self.palette.as_deref().unwrap_or_default();
        for grey in greys {
            *grey = *palette.get(usize::from(*grey)).ok_or_else(|| {
                let reason = format!("colour {grey} of a palette of {}", palette.len());
                SegmentError::damaged(FORMAT, reason)
            })?;
        }
        Ok(())
    }
}

fn explain(error: DecodingError) -> SegmentError {
    let reason = error.to_string();
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            SegmentError::truncated(FORMAT, "the file ends before its pixel data do")
        }
        DecodingError::IoError(error) => SegmentError::Io(error),
        _ => SegmentError::damaged(FORMAT, reason),
    }
}
