//! The headers of a BMP: the file's, of 14 bytes, then the bitmap's, whose first number is its own length.
//!
//! Of OS/2 1 (12 bytes), OS/2 2 (16 or 64) and Windows 3 to 5 (40, 52, 56, 108, 124), after the documentation of
//! `BITMAPCOREHEADER`, `BITMAPINFOHEADER` and `BITMAPV5HEADER`.

use std::io::Read;

use super::FORMAT;
use crate::segment::SegmentError;
use crate::segment::inspect::{le32, nonzero, take};

/// What the headers say of the pixel data.
#[derive(Debug)]
pub(super) struct Header {
    /// Width in pixels, above 0.
    pub width: u32,
    /// Height in pixels, above 0.
    pub height: u32,
    /// Whether the first row is the top one.
    pub top_down: bool,
    /// What a pixel is made of.
    pub packing: Packing,
    /// Where the pixel data begin in the file.
    pub data_at: u64,
    bits: u32,
    colors: usize,
    color_bytes: usize,
}

/// How pixels are stored.
#[derive(Debug)]
pub(super) enum Packing {
    /// Numbers of colours with so many bits, high bits first.
    Indices { bits: u32 },
    /// The same in run lengths.
    Runs { bits: u32 },
    /// Blue, green, red, and with a step of 4 a byte that is ignored.
    Bytes { step: usize },
    /// Numbers of so many bytes, of which masks tell red, green and blue.
    Masks { bytes: usize, masks: [Mask; 3] },
}

/// The bits of a number that hold a colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask {
    shift: u32,
    largest: u32,
}

impl Header {
    /// Reads the headers, up to the palette.
    pub fn read(reader: &mut impl Read) -> Result<Self, SegmentError> {
        let file: [u8; 14] = take(reader, FORMAT)?;
        let length = le32(&take::<4>(reader, FORMAT)?);
        if !matches!(length, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124) {
            let reason = format!("a header of {length} bytes");
            return Err(SegmentError::unsupported(FORMAT, reason));
        }
        // What a short header lacks is 0.
        let mut fields = [0; 124];
        reader
            .read_exact(&mut fields[4..length as usize])
            .map_err(|error| SegmentError::reading(FORMAT, "header", error))?;
        let core = length == 12;
        let mut this = if core {
            Self::core(&fields)
        } else {
            Self::windows(&fields)
        };
        this.data_at = u64::from(le32(&file[10..14]));
        nonzero(FORMAT, this.width, this.height)?;
        let compression = if core { 0 } else { le32(&fields[16..20]) };
        let mut header_bytes = 14 + u64::from(length);
        this.packing = match (compression, this.bits) {
            (0, 1 | 2 | 4 | 8) => Packing::Indices { bits: this.bits },
            (0, 16) => Packing::Masks {
                bytes: 2,
                masks: [0x7C00, 0x03E0, 0x001F].map(Mask::new),
            },
            (0, 24) => Packing::Bytes { step: 3 },
            (0, 32) => Packing::Bytes { step: 4 },
            (1, 8) | (2, 4) => Packing::Runs { bits: this.bits },
            (3 | 6, 16 | 32) if length != 64 => {
                // A short header has the masks behind it, of four colours where the compression says so.
                if length == 40 {
                    let count = if compression == 6 { 16 } else { 12 };
                    let masks = &mut fields[40..40 + count];
                    reader
                        .read_exact(masks)
                        .map_err(|error| SegmentError::reading(FORMAT, "header", error))?;
                    header_bytes += count as u64;
                }
                let masks = [40, 44, 48].map(|at| Mask::new(le32(&fields[at..at + 4])));
                Packing::Masks {
                    bytes: this.bits as usize / 8,
                    masks,
                }
            }
            (compression, bits) => return Err(unsupported(compression, bits)),
        };
        this.limit_colors(header_bytes);
        Ok(this)
    }

    fn core(fields: &[u8; 124]) -> Self {
        Self {
            width: le32(&fields[4..6]),
            height: le32(&fields[6..8]),
            top_down: false,
            packing: Packing::Bytes { step: 3 },
            data_at: 0,
            bits: le32(&fields[10..12]),
            colors: 0,
            color_bytes: 3,
        }
    }

    fn windows(fields: &[u8; 124]) -> Self {
        // A negative height says that the rows run from top to bottom.
        let height = le32(&fields[8..12]).cast_signed();
        Self {
            width: le32(&fields[4..8]),
            height: height.unsigned_abs(),
            top_down: height < 0,
            packing: Packing::Bytes { step: 3 },
            data_at: 0,
            bits: le32(&fields[14..16]),
            colors: le32(&fields[32..36]) as usize,
            color_bytes: 4,
        }
    }

    /// The palette has as many colours as it says, or as there are numbers for; and it ends where the pixels begin.
    fn limit_colors(&mut self, header_bytes: u64) {
        let bits = match self.packing {
            Packing::Indices { bits } | Packing::Runs { bits } => bits,
            Packing::Bytes { .. } | Packing::Masks { .. } => {
                self.colors = 0;
                return;
            }
        };
        let all = 1 << bits;
        if self.colors == 0 || self.colors > all {
            self.colors = all;
        }
        let room = self.data_at.saturating_sub(header_bytes) as usize / self.color_bytes;
        self.colors = self.colors.min(room);
    }

    /// Reads the palette, which follows the headers: blue, green and red of every colour.
    pub fn colors(&self, reader: &mut impl Read) -> Result<Vec<[u8; 3]>, SegmentError> {
        let mut bytes = vec![0; self.colors * self.color_bytes];
        reader
            .read_exact(&mut bytes)
            .map_err(|error| SegmentError::reading(FORMAT, "palette", error))?;
        let colors = bytes.chunks_exact(self.color_bytes);
        Ok(colors.map(|color| [color[0], color[1], color[2]]).collect())
    }

    /// Bytes of a row that is not packed; rows begin at every fourth byte.
    pub fn row_bytes(&self) -> usize {
        (self.width as usize * self.bits as usize).div_ceil(32) * 4
    }
}

impl Mask {
    fn new(mask: u32) -> Self {
        let shift = mask.trailing_zeros().min(31);
        Self {
            shift,
            largest: mask >> shift,
        }
    }

    /// The colour in this number, scaled to 8 bits and rounded.
    pub fn of(self, pixel: u32) -> u8 {
        let largest = u64::from(self.largest.max(1));
        let value = u64::from(pixel >> self.shift & self.largest);
        ((value * 255 + largest / 2) / largest).min(255) as u8
    }
}

fn unsupported(compression: u32, bits: u32) -> SegmentError {
    let name = match compression {
        0 => "no",
        1 => "run length 8",
        2 => "run length 4",
        3 => "bit mask or Huffman",
        4 => "JPEG",
        5 => "PNG",
        _ => "unknown",
    };
    let reason = format!("{bits} bits per pixel with {name} compression ({compression})");
    SegmentError::unsupported(FORMAT, reason)
}
