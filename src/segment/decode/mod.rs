//! One page of an image file as a [`Raster`].
//!
//! The header is read first and checked against the limits; only then is memory taken. The decoders are other
//! people's and see files from anywhere: a panic inside one is reported as a damaged file.

mod palette;
pub(super) mod pixel_size;
mod plane;
mod still;
pub(super) mod tiff_directory;
mod tiff_pages;

use std::io::{BufRead, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::inspect::{Format, Limits, inspect, sniff};
use super::{Raster, SegmentError};

/// Decodes a page, counted from 0, as grey values; colours become luminance, transparency is ignored.
///
/// # Errors
/// Says what is wrong with the file, which limit it breaks, or that it has no such page.
pub fn decode<R: BufRead + Seek>(
    reader: &mut R,
    page: u32,
    limits: &Limits,
) -> Result<Raster, SegmentError> {
    let (format, bytes) = sniff(reader)?;
    if format == Format::Tiff {
        return guarded(format, || tiff_pages::decode(reader, page, bytes, limits));
    }
    let inspection = inspect(reader, limits)?;
    if page > 0 {
        return Err(SegmentError::NoSuchPage { page, pages: 1 });
    }
    reader.seek(SeekFrom::Start(0))?;
    let mut raster = guarded(format, || still::decode(reader, &inspection, bytes, limits))?;
    raster.pixel_size = inspection.pixel_size;
    Ok(raster)
}

fn guarded<T>(
    format: Format,
    work: impl FnOnce() -> Result<T, SegmentError>,
) -> Result<T, SegmentError> {
    // The decoder and its buffers are dropped with the panic; nothing half-done is seen again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(SegmentError::Damaged {
            format: format.name(),
            reason: "the decoder gave up on it".to_owned(),
        })
    })
}

/// Luminance after ITU-R BT.601. The weights add up to 1, so a grey colour keeps its value exactly.
fn luminance(red: u32, green: u32, blue: u32) -> u32 {
    (299 * red + 587 * green + 114 * blue + 500) / 1000
}

/// The same for real values.
fn luminance_f32(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[cfg(test)]
mod broken_files;
#[cfg(test)]
mod tests;
