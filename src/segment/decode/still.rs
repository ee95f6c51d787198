//! PNG, JPEG and BMP: one page each, decoded by the `image` crate.

use std::io::{BufRead, Cursor, ErrorKind, Read, Seek};

use image::codecs::{bmp::BmpDecoder, jpeg::JpegDecoder, png::PngDecoder};
use image::{DynamicImage, ImageDecoder, ImageError};

use super::{luminance, luminance_f32};
use crate::segment::inspect::{Format, Inspection, Limits};
use crate::segment::{Raster, Samples, SegmentError};

pub(super) fn decode<R: BufRead + Seek>(
    reader: &mut R,
    header: &Inspection,
    bytes: u64,
    limits: &Limits,
) -> Result<Raster, SegmentError> {
    match header.format {
        Format::Png => with(header, PngDecoder::with_limits(reader, own(limits)), limits),
        Format::Jpeg => {
            let file = whole_jpeg(reader, bytes, limits)?;
            with(header, JpegDecoder::new(Cursor::new(file)), limits)
        }
        Format::Bmp | Format::Tiff => with(header, BmpDecoder::new(reader), limits),
    }
}

/// The limits as the `image` crate counts them: all allocations of a decoder together.
fn own(limits: &Limits) -> image::Limits {
    let mut own = image::Limits::default();
    own.max_alloc = Some(limits.max_buffer_bytes);
    own
}

fn with<D: ImageDecoder>(
    header: &Inspection,
    decoder: Result<D, ImageError>,
    limits: &Limits,
) -> Result<Raster, SegmentError> {
    let mut decoder = decoder.map_err(|error| explain(header.format, error))?;
    limits.check_buffer(decoder.total_bytes())?;
    let (width, height) = decoder.dimensions();
    if (width, height) != (header.width, header.height) {
        let reason = format!(
            "two sizes, {} × {} and {width} × {height}",
            header.width, header.height
        );
        return Err(SegmentError::Damaged {
            format: header.format.name(),
            reason,
        });
    }
    decoder
        .set_limits(own(limits))
        .map_err(|error| explain(header.format, error))?;
    let image =
        DynamicImage::from_decoder(decoder).map_err(|error| explain(header.format, error))?;
    Raster::new(width, height, samples(image))
}

fn samples(image: DynamicImage) -> Samples {
    match image {
        DynamicImage::ImageLuma8(image) => Samples::U8(image.into_raw()),
        DynamicImage::ImageLuma16(image) => Samples::U16(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => Samples::U8(first_of(&image.into_raw(), 2)),
        DynamicImage::ImageLumaA16(image) => Samples::U16(first_of(&image.into_raw(), 2)),
        DynamicImage::ImageRgb8(image) => Samples::U8(grey8(&image.into_raw(), 3)),
        DynamicImage::ImageRgba8(image) => Samples::U8(grey8(&image.into_raw(), 4)),
        DynamicImage::ImageRgb16(image) => Samples::U16(grey16(&image.into_raw(), 3)),
        DynamicImage::ImageRgba16(image) => Samples::U16(grey16(&image.into_raw(), 4)),
        other => {
            let image = other.into_rgb32f();
            let grey = |pixel: &[f32]| luminance_f32(pixel[0], pixel[1], pixel[2]);
            Samples::F32(image.as_raw().chunks_exact(3).map(grey).collect())
        }
    }
}

fn first_of<T: Copy>(values: &[T], samples_per_pixel: usize) -> Vec<T> {
    values.iter().step_by(samples_per_pixel).copied().collect()
}

fn grey8(values: &[u8], samples_per_pixel: usize) -> Vec<u8> {
    let grey = |p: &[u8]| luminance(p[0].into(), p[1].into(), p[2].into()) as u8;
    values.chunks_exact(samples_per_pixel).map(grey).collect()
}

fn grey16(values: &[u16], samples_per_pixel: usize) -> Vec<u16> {
    let grey = |p: &[u16]| luminance(p[0].into(), p[1].into(), p[2].into()) as u16;
    values.chunks_exact(samples_per_pixel).map(grey).collect()
}

/// Reads a JPEG and looks for its end: the decoder fills what is missing with grey, which must not be measured.
fn whole_jpeg(
    reader: &mut impl Read,
    bytes: u64,
    limits: &Limits,
) -> Result<Vec<u8>, SegmentError> {
    limits.check_buffer(bytes)?;
    let mut file = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    reader
        .take(limits.max_buffer_bytes)
        .read_to_end(&mut file)?;
    let marker = |code: u8, from: usize| {
        let rest = &file[from..];
        rest.windows(2)
            .position(|pair| pair == [0xFF, code])
            .map(|at| from + at)
    };
    // Inside the scan 0xFF is always followed by 0 or a restart marker (ITU-T T.81, B.1.1.5), so the first end of
    // image behind the start of scan is the image's own, not a thumbnail's.
    let complete = marker(0xDA, 0)
        .and_then(|scan| marker(0xD9, scan))
        .is_some();
    if !complete {
        let reason = "the file ends before the end of its image data".to_owned();
        return Err(SegmentError::Truncated {
            format: "JPEG",
            reason,
        });
    }
    Ok(file)
}

fn explain(format: Format, error: ImageError) -> SegmentError {
    let format = format.name();
    let reason = error.to_string();
    match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let reason = "the file ends before its pixel data do".to_owned();
            SegmentError::Truncated { format, reason }
        }
        ImageError::Unsupported(_) => SegmentError::Unsupported { format, reason },
        _ => SegmentError::Damaged { format, reason },
    }
}
