//! TIFF, decoded strip by strip or tile by tile, so that beside the finished plane only one strip is in memory.

use std::io::{BufRead, ErrorKind, Seek};

use ::tiff::decoder::{Decoder, Limits as TiffLimits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};

use super::palette::{self, Disguised};
use super::plane::{Channels, Place, Plane, unpacked};
use super::tiff_directory::{Directories, Page};
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
