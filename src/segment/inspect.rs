//! What a file's header says, and the limits that are checked before anything is allocated.

use std::io::{BufRead, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use super::decode::{bmp, jpeg, png, tiff};
use super::{PixelSize, SegmentError};

/// What a header may claim before the file is refused. A limit is a product decision with a number, no safety margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels of a page.
    pub max_pixels: u64,
    /// Longest side in pixels.
    pub max_side_px: u32,
    /// Most pixels per byte of file: honest compression stays below, bombs and lies do not.
    pub max_pixels_per_byte: u64,
    /// Most pages of a file.
    pub max_pages: u32,
    /// Largest single buffer of a decoder, in bytes.
    pub max_buffer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 400_000_000,
            max_side_px: 100_000,
            max_pixels_per_byte: 10_000,
            max_pages: 100_000,
            max_buffer_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// A file format, known by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline or progressive.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// TIFF or BigTIFF, either byte order.
    Tiff,
}

impl Format {
    /// The format's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
        }
    }

    /// The format of a file that begins with these bytes (8 suffice).
    pub fn sniff(beginning: &[u8]) -> Option<Self> {
        match beginning {
            [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(Self::Png),
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            _ => None,
        }
    }
}

/// What the header says, of the first page where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The format.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of pages.
    pub pages: u32,
    /// Bits per sample.
    pub bits: u16,
    /// The edge lengths of a pixel, where the header says so.
    pub pixel_size: Option<PixelSize>,
}

/// Reads the header alone and checks it against the limits.
///
/// # Errors
/// Says what is wrong with the header, or which limit it breaks.
pub fn inspect<R: BufRead + Seek>(
    reader: &mut R,
    limits: &Limits,
) -> Result<Inspection, SegmentError> {
    let (format, bytes) = sniff(reader)?;
    let inspection = match format {
        Format::Png => png::inspect(reader)?,
        Format::Jpeg => jpeg::inspect(reader)?,
        Format::Bmp => bmp::inspect(reader)?,
        Format::Tiff => tiff::inspect(reader, bytes, limits)?,
    };
    limits.check(inspection.width, inspection.height, bytes)?;
    Ok(inspection)
}

impl Limits {
    /// Refuses a page of this size in a file of so many bytes.
    pub(super) fn check(&self, width: u32, height: u32, bytes: u64) -> Result<(), SegmentError> {
        if width.max(height) > self.max_side_px {
            return Err(SegmentError::SideTooLong {
                width,
                height,
                limit: self.max_side_px,
            });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            let limit = self.max_pixels;
            return Err(SegmentError::TooManyPixels {
                width,
                height,
                pixels,
                limit,
            });
        }
        if pixels > bytes.saturating_mul(self.max_pixels_per_byte) {
            return Err(SegmentError::TooDense {
                pixels,
                bytes,
                limit: self.max_pixels_per_byte,
            });
        }
        Ok(())
    }

    /// Refuses a buffer of so many bytes.
    pub(super) fn check_buffer(&self, bytes: u64) -> Result<(), SegmentError> {
        if bytes > self.max_buffer_bytes {
            return Err(SegmentError::BufferTooLarge {
                bytes,
                limit: self.max_buffer_bytes,
            });
        }
        Ok(())
    }
}

/// The format by the first bytes, and the file's length; leaves the reader at the beginning.
pub(super) fn sniff<R: BufRead + Seek>(reader: &mut R) -> Result<(Format, u64), SegmentError> {
    let bytes = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut beginning = Vec::with_capacity(16);
    reader.by_ref().take(16).read_to_end(&mut beginning)?;
    reader.seek(SeekFrom::Start(0))?;
    if beginning.is_empty() {
        return Err(SegmentError::Empty);
    }
    let format = Format::sniff(&beginning).ok_or_else(|| SegmentError::UnknownFormat {
        beginning: printable(&beginning),
    })?;
    Ok((format, bytes))
}

fn printable(beginning: &[u8]) -> String {
    match std::str::from_utf8(beginning) {
        Ok(text) if !text.contains('\0') => format!("{text:?}"),
        _ => beginning
            .iter()
            .map(|byte| format!("{byte:02x} "))
            .collect::<String>()
            .trim_end()
            .to_owned(),
    }
}

/// Reads exactly `N` bytes of a header.
pub(super) fn take<const N: usize>(
    reader: &mut impl Read,
    format: Format,
) -> Result<[u8; N], SegmentError> {
    let mut bytes = [0; N];
    reader
        .read_exact(&mut bytes)
        .map_err(|error| SegmentError::reading(format, "header", error))?;
    Ok(bytes)
}

/// Refuses an image without pixels.
pub(super) fn nonzero(format: Format, width: u32, height: u32) -> Result<(), SegmentError> {
    if width == 0 || height == 0 {
        let reason = format!("the header says {width} × {height} pixels");
        return Err(SegmentError::damaged(format, reason));
    }
    Ok(())
}

/// The number in these bytes, high byte first.
pub(super) fn be32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// The number in these bytes, low byte first.
pub(super) fn le32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}
