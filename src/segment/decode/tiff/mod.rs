//! TIFF and BigTIFF, decoded a few rows at a time: beside the finished plane there is less than a megabyte in memory,
//! whatever the size of strips and tiles. JPEG strips and tiles alone are decoded whole.
//!
//! | file | what it does |
//! |---|---|
//! | `directory` | the chain of directories, tags and their values |
//! | `page`, `kind`, `coding` | what the directory of a page means, or which feature of it is not read |
//! | `palette` | the greys of a palette |
//! | `stack` | ImageJ's stacks with one directory for all slices |
//! | `chunks` | where strips and tiles lie, in the image and in the file |
//! | `source`, `stream`, `packbits` | the bytes of a strip or tile, unpacked piece by piece |
//! | `predictor` | differences back into values |
//! | `element` | bytes as values of the plane's type |
//! | `rows`, `jpeg_parts` | strips and tiles put together |
//!
//! The `tiff` crate reads whole strips and tiles, refuses palettes, CMYK, subsampled YCbCr and odd depths, and knows no
//! ImageJ stacks, so only its encoder is used.

mod chunks;
mod coding;
mod directory;
mod element;
mod jpeg_parts;
mod kind;
mod packbits;
mod page;
mod palette;
mod predictor;
mod rows;
mod source;
mod stack;
mod stream;

use std::io::{BufRead, Seek};

use crate::segment::inspect::{Format, Inspection, Limits};
use crate::segment::{Raster, Samples, SegmentError};
use chunks::Chunks;
use coding::Compression;
use directory::Directories;
use kind::Values;
use page::Page;
use source::Source;

const FORMAT: Format = Format::Tiff;

/// Most bytes that strips and tiles unpack to, per pixel of the largest page allowed: four channels of 32 bits. Extra
/// channels are read past, which takes time but no memory.
const UNPACKED_BYTES_PER_PIXEL: u64 = 16;

/// Reads the directory of the first page.
pub(in crate::segment) fn inspect<R: BufRead + Seek>(
    reader: &mut R,
    bytes: u64,
    limits: &Limits,
) -> Result<Inspection, SegmentError> {
    let mut directories = Directories::read(reader, bytes, limits)?;
    let pages = directories.pages();
    let first = directories.page(0)?;
    Ok(Inspection {
        format: FORMAT,
        width: first.width,
        height: first.height,
        pages,
        bits: first.bits,
        pixel_size: first.pixel_size,
    })
}

/// Decodes a page, counted from 0; pages that are small copies or masks of others do not count.
pub(super) fn decode<R: BufRead + Seek>(
    reader: &mut R,
    page: u32,
    bytes: u64,
    limits: &Limits,
) -> Result<Raster, SegmentError> {
    let mut directories = Directories::read(reader, bytes, limits)?;
    let page = directories.page(page)?;
    limits.check(page.width, page.height, bytes)?;
    let chunks = directories.chunks(&page)?;
    let unpacked = chunks.grid.rows() * page.row_bytes(chunks.grid.chunk_width) as u64;
    let unpacked = unpacked.saturating_mul(page.planes() as u64);
    let limit = limits.max_pixels.saturating_mul(UNPACKED_BYTES_PER_PIXEL);
    if unpacked > limit {
        return Err(SegmentError::TooMuchData {
            bytes: unpacked,
            limit,
        });
    }
    limits.check_buffer(page.pixels() as u64 * page.values.bytes())?;
    let mut source = Source::new(reader, bytes)?;
    let samples = samples(&mut source, &page, &chunks, limits)?;
    let mut raster = Raster::new(page.width, page.height, samples)?;
    raster.pixel_size = page.pixel_size;
    Ok(raster)
}

fn samples<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    page: &Page,
    chunks: &Chunks,
    limits: &Limits,
) -> Result<Samples, SegmentError> {
    if page.compression == Compression::Jpeg {
        return jpeg_parts::read(source, page, chunks, limits).map(Samples::U8);
    }
    Ok(match page.values {
        Values::U8 => Samples::U8(rows::read(source, page, chunks)?),
        Values::U16 => Samples::U16(rows::read(source, page, chunks)?),
        Values::F32 => Samples::F32(rows::read(source, page, chunks)?),
    })
}

#[cfg(test)]
mod tests;
