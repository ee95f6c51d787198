//! What a file's header says, and the limits that are checked before anything is allocated.

use std::io::{BufRead, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use super::decode::{pixel_size, tiff_directory::Directories};
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
        Format::Png => inspect_png(reader)?,
        Format::Jpeg => inspect_jpeg(reader)?,
        Format::Bmp => inspect_bmp(reader)?,
        Format::Tiff => inspect_tiff(reader, limits)?,
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
fn take<const N: usize>(reader: &mut impl Read, format: Format) -> Result<[u8; N], SegmentError> {
    let mut bytes = [0; N];
    reader
        .read_exact(&mut bytes)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => SegmentError::Truncated {
                format: format.name(),
                reason: "the file ends within its header".to_owned(),
            },
            _ => SegmentError::Io(error),
        })?;
    Ok(bytes)
}

fn damaged(format: Format, reason: impl Into<String>) -> SegmentError {
    SegmentError::Damaged {
        format: format.name(),
        reason: reason.into(),
    }
}

fn nonzero(format: Format, width: u32, height: u32) -> Result<(), SegmentError> {
    if width == 0 || height == 0 {
        return Err(damaged(
            format,
            format!("the header says {width} × {height} pixels"),
        ));
    }
    Ok(())
}

/// PNG: the chunk IHDR comes first and has 13 bytes (PNG specification, 11.2.1); pHYs, if any, before IDAT.
fn inspect_png(reader: &mut (impl BufRead + Seek)) -> Result<Inspection, SegmentError> {
    let head: [u8; 33] = take(reader, Format::Png)?;
    if &head[8..16] != b"\0\0\0\x0dIHDR" {
        return Err(damaged(Format::Png, "the first chunk is not IHDR"));
    }
    let (width, height) = (be32(&head[16..20]), be32(&head[20..24]));
    nonzero(Format::Png, width, height)?;
    let pixel_size = pixel_size::of_png(reader);
    let bits = u16::from(head[24]);
    Ok(Inspection {
        format: Format::Png,
        width,
        height,
        pages: 1,
        bits,
        pixel_size,
    })
}

/// JPEG: the size stands in the first frame header (ITU-T T.81, B.2.2), behind any number of other segments.
fn inspect_jpeg(reader: &mut (impl BufRead + Seek)) -> Result<Inspection, SegmentError> {
    const FORMAT: Format = Format::Jpeg;
    take::<2>(reader, FORMAT)?;
    loop {
        let [mark, mut marker] = take(reader, FORMAT)?;
        if mark != 0xFF {
            return Err(damaged(FORMAT, "no marker where one must stand"));
        }
        while marker == 0xFF {
            [marker] = take(reader, FORMAT)?;
        }
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let length = u16::from_be_bytes(take(reader, FORMAT)?);
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let frame: [u8; 5] = take(reader, FORMAT)?;
                let width = u32::from(u16::from_be_bytes([frame[3], frame[4]]));
                let height = u32::from(u16::from_be_bytes([frame[1], frame[2]]));
                nonzero(FORMAT, width, height)?;
                let bits = u16::from(frame[0]);
                // A JPEG's density is that of a screen or printer, so it is not even looked at.
                return Ok(Inspection {
                    format: FORMAT,
                    width,
                    height,
                    pages: 1,
                    bits,
                    pixel_size: None,
                });
            }
            0xD9 | 0xDA => return Err(damaged(FORMAT, "no frame header")),
            _ if length < 2 => return Err(damaged(FORMAT, "a segment of impossible length")),
            _ => reader.seek_relative(i64::from(length) - 2)?,
        };
    }
}

/// BMP: file header of 14 bytes, then a header whose first number is its own length. Samples have 8 bits or fewer.
fn inspect_bmp(reader: &mut impl Read) -> Result<Inspection, SegmentError> {
    const FORMAT: Format = Format::Bmp;
    let head: [u8; 26] = take(reader, FORMAT)?;
    let (width, height) = if le32(&head[14..18]) == 12 {
        (le32(&head[18..20]), le32(&head[20..22]))
    } else {
        // A negative height says that the rows run from top to bottom.
        (
            le32(&head[18..22]),
            le32(&head[22..26]).cast_signed().unsigned_abs(),
        )
    };
    nonzero(FORMAT, width, height)?;
    Ok(Inspection {
        format: FORMAT,
        width,
        height,
        pages: 1,
        bits: 8,
        pixel_size: None,
    })
}

fn inspect_tiff<R: BufRead + Seek>(
    reader: &mut R,
    limits: &Limits,
) -> Result<Inspection, SegmentError> {
    let mut directories = Directories::read(reader, limits)?;
    let pages = directories.pages();
    let first = directories.page(0)?;
    Ok(Inspection {
        format: Format::Tiff,
        width: first.width,
        height: first.height,
        pages,
        bits: first.bits,
        pixel_size: first.pixel_size,
    })
}

fn be32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn le32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}
