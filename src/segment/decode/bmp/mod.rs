//! BMP, row by row: 1 to 32 bits, with palettes, bit masks or run lengths, bottom up or top down.

mod header;
mod runs;

use std::io::{BufRead, Read, Seek, SeekFrom};

use super::grey::{Sample, unpack};
use crate::segment::inspect::{Format, Inspection};
use crate::segment::{Samples, SegmentError};
use header::{Header, Packing};

const FORMAT: Format = Format::Bmp;

/// The size; every BMP becomes 8 bits of grey.
pub(in crate::segment) fn inspect(reader: &mut impl Read) -> Result<Inspection, SegmentError> {
    let header = Header::read(reader)?;
    Ok(Inspection {
        format: FORMAT,
        width: header.width,
        height: header.height,
        pages: 1,
        bits: 8,
        pixel_size: None,
    })
}

/// The luminance of the pixels; a fourth channel is ignored.
pub(super) fn decode(
    reader: &mut (impl BufRead + Seek),
    bytes: u64,
) -> Result<Samples, SegmentError> {
    let header = Header::read(reader)?;
    let greys: Vec<u8> = header
        .colors(reader)?
        .iter()
        .map(|[blue, green, red]| u8::luminance(*red, *green, *blue))
        .collect();
    check_length(&header, bytes)?;
    reader.seek(SeekFrom::Start(header.data_at))?;
    let (width, height) = (header.width as usize, header.height as usize);
    let mut plane = vec![0; width * height];
    // Top down, as in the plane, or else the other way round.
    let row_of = |y: usize| if header.top_down { y } else { height - 1 - y };
    match header.packing {
        Packing::Runs { bits } => {
            let mut numbers = runs::Cursor::new(width, height, bits);
            numbers.read(reader, |x, y, number| {
                plane[row_of(y) * width + x] = number;
            })?;
            look_up(&greys, &mut plane)?;
        }
        ref packing => {
            let mut raw = vec![0; header.row_bytes()];
            for y in 0..height {
                reader
                    .read_exact(&mut raw)
                    .map_err(|error| SegmentError::reading(FORMAT, "pixel data", error))?;
                let row = &mut plane[row_of(y) * width..][..width];
                greys_of(packing, &raw, &greys, row)?;
            }
        }
    }
    Ok(Samples::U8(plane))
}

/// Rows that are not packed cannot be longer than the file: found out before memory is taken.
fn check_length(header: &Header, bytes: u64) -> Result<(), SegmentError> {
    let wanted = header.row_bytes() as u64 * u64::from(header.height);
    if !matches!(header.packing, Packing::Runs { .. }) && header.data_at + wanted > bytes {
        let at = header.data_at;
        let reason = format!("the pixel data have {wanted} bytes from {at} on, the file {bytes}");
        return Err(SegmentError::truncated(FORMAT, reason));
    }
    Ok(())
}

fn greys_of(
    packing: &Packing,
    raw: &[u8],
    greys: &[u8],
    row: &mut [u8],
) -> Result<(), SegmentError> {
    match packing {
        Packing::Indices { bits } | Packing::Runs { bits } => {
            unpack(raw, *bits, row);
            return look_up(greys, row);
        }
        Packing::Bytes { step: 3 } => colors::<3>(raw, row),
        Packing::Bytes { .. } => colors::<4>(raw, row),
        Packing::Masks { bytes, masks } => {
            for (grey, pixel) in row.iter_mut().zip(raw.chunks_exact(*bytes)) {
                let pixel = pixel
                    .iter()
                    .rev()
                    .fold(0, |value, byte| value << 8 | u32::from(*byte));
                let [red, green, blue] = masks.map(|mask| mask.of(pixel));
                *grey = u8::luminance(red, green, blue);
            }
        }
    }
    Ok(())
}

fn colors<const STEP: usize>(raw: &[u8], row: &mut [u8]) {
    for (grey, pixel) in row.iter_mut().zip(raw.as_chunks::<STEP>().0) {
        *grey = u8::luminance(pixel[2], pixel[1], pixel[0]);
    }
}

/// Turns numbers of colours into their greys.
fn look_up(greys: &[u8], row: &mut [u8]) -> Result<(), SegmentError> {
    // A table that every byte lies in: the check is done once a row.
    let mut table = [0; 256];
    table[..greys.len()].copy_from_slice(greys);
    let mut largest = 0;
    for value in row.iter_mut() {
        largest = largest.max(*value);
        *value = table[usize::from(*value)];
    }
    if usize::from(largest) >= greys.len() {
        let reason = format!("colour {largest} of a palette of {}", greys.len());
        return Err(SegmentError::damaged(FORMAT, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
