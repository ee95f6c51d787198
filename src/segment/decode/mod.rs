//! One page of an image file as a [`Raster`].
//!
//! The header is read first and checked against the limits; only then is memory taken. The decoders are other
//! people's and see files from anywhere: a panic inside one is reported as a damaged file.

pub(super) mod bmp;
mod grey;
pub(super) mod jpeg;
mod pixel_size;
pub(super) mod png;
pub(super) mod tiff;

use std::io::{BufRead, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::inspect::{Format, Limits, inspect, sniff};
use super::{Raster, SegmentError};

/// Decodes a page, counted from 0, as grey values; colours become luminance, transparency is ignored, and so is what
/// EXIF or TIFF say about turning the image: coordinates are those of the pixels as they are stored.
///
/// Beside the plane it needs little memory: a few rows of PNG, BMP and TIFF; of JPEG the file, and as many bytes again as
/// a colour image that is not YCbCr or a progressive one asks for, within [`Limits::max_buffer_bytes`].
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
        return guarded(format, || tiff::decode(reader, page, bytes, limits));
    }
    let header = inspect(reader, limits)?;
    if page > 0 {
        return Err(SegmentError::NoSuchPage { page, pages: 1 });
    }
    limits.check_buffer(u64::from(header.width) * u64::from(header.height))?;
    reader.seek(SeekFrom::Start(0))?;
    let samples = guarded(format, || match format {
        Format::Png => png::decode(reader, limits),
        Format::Jpeg => jpeg::decode(reader, bytes, limits),
        Format::Bmp | Format::Tiff => bmp::decode(reader, bytes),
    })?;
    let mut raster = Raster::new(header.width, header.height, samples)?;
    raster.pixel_size = header.pixel_size;
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

#[cfg(test)]
mod broken_files;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
