//! The directories of a TIFF, read by hand before the decoder sees the file: sizes are checked, pages counted, cycles
//! found, and what the decoder does not offer (where a tag's value stands, undecodable text) is read here.
//!
//! TIFF 6.0, section 2; BigTIFF has the same fields with eight-byte counts and offsets.

use std::collections::HashSet;
use std::io::{BufRead, Read, Seek, SeekFrom};

use super::pixel_size;
use crate::segment::inspect::Limits;
use crate::segment::{PixelSize, SegmentError};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const IMAGE_DESCRIPTION: u16 = 270;
const SAMPLES_PER_PIXEL: u16 = 277;
const X_RESOLUTION: u16 = 282;
const Y_RESOLUTION: u16 = 283;
const RESOLUTION_UNIT: u16 = 296;
const COLOR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;

/// The value of PhotometricInterpretation for colours by index.
pub const PALETTE: u64 = 3;

/// Most entries of a directory: the standard knows some hundred tags.
const ENTRIES_MAX: u64 = 4_096;

/// Most samples per pixel; more is a hyperspectral cube, which no part of this program could show.
const SAMPLES_MAX: u64 = 64;

/// Longest text or list read from a tag, in bytes (OME-XML of thousands of planes has some megabytes).
const VALUE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// All directories of the chain, by their offsets.
pub struct Directories<'a, R> {
    reader: &'a mut R,
    layout: Layout,
    offsets: Vec<u64>,
}

/// What the directory of one page says.
#[derive(Debug, Clone)]
pub struct Page {
    /// Width in pixels, above 0.
    pub width: u32,
    /// Height in pixels, above 0.
    pub height: u32,
    /// Bits per sample.
    pub bits: u16,
    /// Samples per pixel.
    pub samples: u16,
    /// Whether the pixel data are stored as they are.
    pub uncompressed: bool,
    /// The edge lengths of a pixel.
    pub pixel_size: Option<PixelSize>,
    /// Of a page whose colours are indices: how to read it.
    pub palette: Option<Palette>,
}

/// Where a palette page says that it is one, and its colours.
#[derive(Debug, Clone)]
pub struct Palette {
    /// Offset of the value of PhotometricInterpretation in the file.
    pub photometric_offset: u64,
    /// Whether numbers are stored high byte first.
    pub big_endian: bool,
    /// All reds, all greens, all blues, 16 bits each.
    pub colors: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    big_endian: bool,
    big_tiff: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the value itself stands, inside the entry or elsewhere.
    value_at: u64,
}

impl<'a, R: BufRead + Seek> Directories<'a, R> {
    /// Follows the chain of directories from the header to its end.
    pub fn read(reader: &'a mut R, limits: &Limits) -> Result<Self, SegmentError> {
        reader.seek(SeekFrom::Start(0))?;
        let mut head = [0; 4];
        read_exact(reader, &mut head)?;
        let big_endian = head[0] == b'M';
        let big_tiff = head[2].max(head[3]) == 43;
        let layout = Layout {
            big_endian,
            big_tiff,
        };
        let mut this = Self {
            reader,
            layout,
            offsets: Vec::new(),
        };
        if big_tiff && this.number(4)? != u64::from(if big_endian { 0x0008_0000_u32 } else { 8 }) {
            return Err(damaged(
                "the BigTIFF header does not say eight-byte offsets",
            ));
        }
        this.follow_chain(limits.max_pages)?;
        Ok(this)
    }

    /// How many pages there are.
    pub fn pages(&self) -> u32 {
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    /// Reads the directory of a page, counted from 0.
    pub fn page(&mut self, page: u32) -> Result<Page, SegmentError> {
        let Some(&offset) = self.offsets.get(page as usize) else {
            return Err(SegmentError::NoSuchPage {
                page,
                pages: self.pages(),
            });
        };
        let entries = self.entries(offset)?;
        let width = self.side(&entries, WIDTH, "width")?;
        let height = self.side(&entries, HEIGHT, "height")?;
        let samples = self.unsigned(&entries, SAMPLES_PER_PIXEL)?.unwrap_or(1);
        if samples == 0 || samples > SAMPLES_MAX {
            return Err(damaged(&format!("{samples} samples per pixel")));
        }
        for tag in [TILE_WIDTH, TILE_LENGTH] {
            if self
                .unsigned(&entries, tag)?
                .is_some_and(|side| side > 1 << 20)
            {
                return Err(damaged("a tile with a side above 2^20 pixels"));
            }
        }
        let bits = self.unsigned(&entries, BITS_PER_SAMPLE)?.unwrap_or(1);
        Ok(Page {
            width,
            height,
            bits: u16::try_from(bits).unwrap_or(u16::MAX),
            samples: u16::try_from(samples).unwrap_or(u16::MAX),
            uncompressed: self.unsigned(&entries, COMPRESSION)?.unwrap_or(1) == 1,
            pixel_size: self.pixel_size(&entries)?,
            palette: self.palette(&entries)?,
        })
    }

    fn follow_chain(&mut self, max_pages: u32) -> Result<(), SegmentError> {
        let mut seen = HashSet::new();
        let mut next = self.number(self.layout.offset_bytes())?;
        while next != 0 {
            if !seen.insert(next) {
                return Err(damaged("the list of pages runs in a circle"));
            }
            if seen.len() > max_pages as usize {
                return Err(SegmentError::TooManyPages { limit: max_pages });
            }
            let count = self.entry_count(next)?;
            self.offsets.push(next);
            let skip = count * self.layout.entry_bytes();
            self.reader
                .seek_relative(i64::try_from(skip).unwrap_or(i64::MAX))?;
            next = self.number(self.layout.offset_bytes())?;
        }
        if self.offsets.is_empty() {
            return Err(damaged("there is no page"));
        }
        Ok(())
    }

    /// Goes to a directory and reads how many entries it has.
    fn entry_count(&mut self, offset: u64) -> Result<u64, SegmentError> {
        self.reader.seek(SeekFrom::Start(offset))?;
        let count = self.number(if self.layout.big_tiff { 8 } else { 2 })?;
        if count == 0 || count > ENTRIES_MAX {
            return Err(damaged(&format!("a directory of {count} entries")));
        }
        Ok(count)
    }

    fn entries(&mut self, offset: u64) -> Result<Vec<Entry>, SegmentError> {
        let count = self.entry_count(offset)?;
        let mut at = offset + if self.layout.big_tiff { 8 } else { 2 };
        let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            entries.push(self.entry(at)?);
            at += self.layout.entry_bytes();
        }
        Ok(entries)
    }

    fn entry(&mut self, at: u64) -> Result<Entry, SegmentError> {
        let offset_bytes = self.layout.offset_bytes();
        let tag = self.number(2)? as u16;
        let kind = self.number(2)? as u16;
        let count = self.number(offset_bytes)?;
        let field = self.number(offset_bytes)?;
        let inside = count.saturating_mul(kind_bytes(kind)) <= offset_bytes as u64;
        let value_at = if inside {
            at + 4 + offset_bytes as u64
        } else {
            field
        };
        Ok(Entry {
            tag,
            kind,
            count,
            value_at,
        })
    }

    fn side(&mut self, entries: &[Entry], tag: u16, name: &str) -> Result<u32, SegmentError> {
        let side = self
            .unsigned(entries, tag)?
            .ok_or_else(|| damaged(&format!("no {name}")))?;
        u32::try_from(side)
            .ok()
            .filter(|side| *side > 0)
            .ok_or_else(|| damaged(&format!("the {name} is {side}")))
    }

    /// The first value of a tag of whole numbers.
    fn unsigned(&mut self, entries: &[Entry], tag: u16) -> Result<Option<u64>, SegmentError> {
        let Some(entry) = entries.iter().find(|entry| entry.tag == tag) else {
            return Ok(None);
        };
        let bytes = match entry.kind {
            1 => 1,
            3 => 2,
            4 => 4,
            16 => 8,
            kind => {
                return Err(damaged(&format!(
                    "tag {tag} has type {kind}, not a whole number"
                )));
            }
        };
        if entry.count == 0 {
            return Ok(None);
        }
        self.reader.seek(SeekFrom::Start(entry.value_at))?;
        self.number(bytes).map(Some)
    }

    /// A tag's bytes; nothing where there is none, it is too long, or it lies outside the file.
    fn bytes(&mut self, entries: &[Entry], tag: u16) -> Result<Option<Vec<u8>>, SegmentError> {
        let Some(entry) = entries.iter().find(|entry| entry.tag == tag) else {
            return Ok(None);
        };
        let length = entry.count.saturating_mul(kind_bytes(entry.kind));
        if length > VALUE_MAX_BYTES {
            return Ok(None);
        }
        self.reader.seek(SeekFrom::Start(entry.value_at))?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 == length).then_some(bytes))
    }

    fn pixel_size(&mut self, entries: &[Entry]) -> Result<Option<PixelSize>, SegmentError> {
        let description = self.bytes(entries, IMAGE_DESCRIPTION)?.unwrap_or_default();
        let x = self.rational(entries, X_RESOLUTION)?;
        let y = self.rational(entries, Y_RESOLUTION)?;
        // Not every writer gives the unit a whole number's type; it is not worth refusing the image.
        let unit = self.unsigned(entries, RESOLUTION_UNIT).unwrap_or(None);
        Ok(pixel_size::of_tiff(
            &String::from_utf8_lossy(&description),
            x,
            y,
            unit,
        ))
    }

    fn rational(&mut self, entries: &[Entry], tag: u16) -> Result<Option<f64>, SegmentError> {
        let Some(bytes) = self.bytes(entries, tag)?.filter(|bytes| bytes.len() == 8) else {
            return Ok(None);
        };
        let (over, under) = bytes.split_at(4);
        let (over, under) = (
            self.layout.value(over) as f64,
            self.layout.value(under) as f64,
        );
        Ok((under > 0.0 && over > 0.0).then(|| over / under))
    }

    fn palette(&mut self, entries: &[Entry]) -> Result<Option<Palette>, SegmentError> {
        if self.unsigned(entries, PHOTOMETRIC)? != Some(PALETTE) {
            return Ok(None);
        }
        let bytes = self.bytes(entries, COLOR_MAP)?;
        let bytes = bytes.ok_or_else(|| damaged("a palette image without its palette"))?;
        let colors = bytes
            .chunks_exact(2)
            .map(|pair| self.layout.value(pair) as u16)
            .collect();
        let entry = entries.iter().find(|entry| entry.tag == PHOTOMETRIC);
        Ok(entry.map(|entry| Palette {
            photometric_offset: entry.value_at,
            big_endian: self.layout.big_endian,
            colors,
        }))
    }

    /// Reads a number of 1 to 8 bytes in the file's byte order.
    fn number(&mut self, bytes: usize) -> Result<u64, SegmentError> {
        let mut buffer = [0; 8];
        read_exact(self.reader, &mut buffer[..bytes])?;
        Ok(self.layout.value(&buffer[..bytes]))
    }
}

impl Layout {
    fn offset_bytes(self) -> usize {
        if self.big_tiff { 8 } else { 4 }
    }

    fn entry_bytes(self) -> u64 {
        if self.big_tiff { 20 } else { 12 }
    }

    fn value(self, bytes: &[u8]) -> u64 {
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    }
}

/// Bytes per value of a field type (TIFF 6.0, page 15, and BigTIFF's three more).
fn kind_bytes(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

fn damaged(reason: &str) -> SegmentError {
    SegmentError::Damaged {
        format: "TIFF",
        reason: reason.to_owned(),
    }
}

fn read_exact(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), SegmentError> {
    reader
        .read_exact(buffer)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => SegmentError::Truncated {
                format: "TIFF",
                reason: "a directory lies outside the file".to_owned(),
            },
            _ => SegmentError::Io(error),
        })
}
