//! TIFFs whose colours are indices into a palette.
//!
//! The `tiff` crate refuses them, though it could read the indices: it only has to be told that the page is grey. So it
//! reads through [`Disguised`], which shows it BlackIsZero where the file says RGBPalette, and the indices are turned
//! into colours here. Every compression and both layouts then work as for grey pages.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::luminance;
use super::tiff_directory::Palette;
use crate::segment::SegmentError;

/// A file in which two bytes read as others.
pub(super) struct Disguised<'a, R> {
    inner: &'a mut R,
    position: u64,
    at: u64,
    bytes: [u8; 2],
}

impl<'a, R: BufRead + Seek> Disguised<'a, R> {
    /// The file with the photometric interpretation BlackIsZero (1) where the palette's page says otherwise.
    pub fn new(inner: &'a mut R, palette: Option<&Palette>) -> io::Result<Self> {
        let position = inner.seek(SeekFrom::Start(0))?;
        // Without a palette nothing is changed: no file reaches the last offset.
        let at = palette.map_or(u64::MAX - 2, |palette| palette.photometric_offset);
        let big_endian = palette.is_some_and(|palette| palette.big_endian);
        let bytes = if big_endian { [0, 1] } else { [1, 0] };
        Ok(Self {
            inner,
            position,
            at,
            bytes,
        })
    }
}

impl<R: BufRead + Seek> Read for Disguised<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        for (byte, offset) in self.bytes.iter().zip(self.at..) {
            if let Some(index) = offset.checked_sub(self.position)
                && index < read as u64
            {
                buffer[index as usize] = *byte;
            }
        }
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: BufRead + Seek> Seek for Disguised<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.inner.seek(to)?;
        Ok(self.position)
    }
}

/// The grey value, 0–255, of every index.
pub(super) fn greys(palette: &Palette, bits: u16) -> Result<Vec<u8>, SegmentError> {
    let length = 1_usize << bits.min(8);
    if bits > 8 || palette.colors.len() != 3 * length {
        let reason = format!(
            "a palette of {} numbers for {bits} bits",
            palette.colors.len()
        );
        return Err(SegmentError::Damaged {
            format: "TIFF",
            reason,
        });
    }
    // Some writers fill only the low byte of the 16-bit entries; libtiff takes them as they are meant, and so do we.
    let low_bytes = palette.colors.iter().all(|color| *color < 256);
    let scale = if low_bytes { 1 } else { 257 };
    let channel = |plane: usize, index: usize| u32::from(palette.colors[plane * length + index]);
    let grey = |index| luminance(channel(0, index), channel(1, index), channel(2, index));
    Ok((0..length)
        .map(|index| ((grey(index) + scale / 2) / scale).min(255) as u8)
        .collect())
}
