//! What the directory of a page means.

use std::io::{BufRead, Seek};

use super::coding::{Compression, Predictor};
use super::directory::Directory;
use super::kind::{self, Kind, Values};
use super::source::Source;
use super::{FORMAT, palette};
use crate::segment::decode::grey::Channels;
use crate::segment::decode::pixel_size as physical;
use crate::segment::{PixelSize, SegmentError};

pub(super) const IMAGE_DESCRIPTION: u16 = 270;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const SAMPLES_PER_PIXEL: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const X_RESOLUTION: u16 = 282;
const Y_RESOLUTION: u16 = 283;
const PLANAR_CONFIGURATION: u16 = 284;
const RESOLUTION_UNIT: u16 = 296;
const PREDICTOR: u16 = 317;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;
const JPEG_TABLES: u16 = 347;
const SUBSAMPLING: u16 = 530;

/// Most samples per pixel; more is a hyperspectral cube, which no part of this program could show.
const SAMPLES_MAX: u64 = 64;

/// Longest side of a tile in pixels; the usual ones have 256 or 512.
const TILE_SIDE_MAX: u64 = 1 << 16;

/// One page.
pub(super) struct Page {
    /// Width in pixels, above 0.
    pub width: u32,
    /// Height in pixels, above 0.
    pub height: u32,
    /// Bits per sample.
    pub bits: u16,
    /// What a sample is.
    pub kind: Kind,
    /// High byte first.
    pub big_endian: bool,
    /// The type of the grey values.
    pub values: Values,
    /// Samples per pixel.
    pub samples: usize,
    /// How the samples of a pixel become one value; in planes, the step is 1.
    pub channels: Channels,
    /// Whether the samples of a pixel lie in a plane each.
    pub planar: bool,
    /// Whether 0 is white.
    pub white_is_zero: bool,
    /// The grey of every colour, where pixels are numbers of colours.
    pub palette: Option<Vec<u8>>,
    /// Of luma and chroma in blocks: pixels per chroma sample across and down.
    pub blocks: Option<(usize, usize)>,
    /// How strips and tiles are compressed.
    pub compression: Compression,
    /// How values were changed to compress better.
    pub predictor: Predictor,
    /// Whether the lowest bit of a byte comes first.
    pub low_bit_first: bool,
    /// Width and height of tiles, or the image's width and the rows of a strip.
    pub chunk: (u32, u32),
    /// Whether there are tiles.
    pub tiled: bool,
    /// What strips and tiles compressed with JPEG have in common.
    pub jpeg_tables: Vec<u8>,
    /// The edge lengths of a pixel.
    pub pixel_size: Option<PixelSize>,
    /// How far behind the places in the directory the pixel data lie: a slice of a stack.
    pub shift: u64,
    /// Where the rest is read from.
    pub directory: Directory,
}

impl Page {
    /// Reads a page's directory.
    pub fn read<R: BufRead + Seek>(
        source: &mut Source<'_, R>,
        directory: Directory,
        shift: u64,
    ) -> Result<Self, SegmentError> {
        let mut tag = |tag| directory.number(source, tag);
        let width = side(tag(WIDTH)?, "width")?;
        let height = side(tag(HEIGHT)?, "height")?;
        let samples = match tag(SAMPLES_PER_PIXEL)?.unwrap_or(1) {
            samples @ 1..=SAMPLES_MAX => samples as usize,
            samples => return Err(damaged(format!("{samples} samples per pixel"))),
        };
        let compression = Compression::of(tag(COMPRESSION)?.unwrap_or(1))?;
        let predictor = Predictor::of(tag(PREDICTOR)?.unwrap_or(1), compression)?;
        let planar = tag(PLANAR_CONFIGURATION)? == Some(2) && samples > 1;
        let low_bit_first = tag(FILL_ORDER)? == Some(2);
        let photometric = tag(PHOTOMETRIC)?.unwrap_or(if samples < 3 { 1 } else { 2 });
        let tile = (tag(TILE_WIDTH)?, tag(TILE_LENGTH)?);
        let (tiled, chunk) = chunk((width, height), tile, tag(ROWS_PER_STRIP)?)?;
        let kind = kind::read(source, &directory)?;
        let blocks = match photometric {
            6 if compression != Compression::Jpeg && !planar => subsampling(source, &directory)?,
            _ => None,
        };
        let jpeg_tables = directory.bytes(source, JPEG_TABLES)?.unwrap_or_default();
        let palette = match photometric {
            3 => Some(palette::read(source, &directory, kind)?),
            _ => None,
        };
        let page = Self {
            width,
            height,
            bits: kind.bits(),
            kind,
            big_endian: directory.layout().big_endian,
            values: Values::of(kind),
            samples,
            channels: channels(photometric, samples, planar)?,
            planar,
            white_is_zero: photometric == 0,
            palette,
            blocks,
            compression,
            predictor,
            low_bit_first,
            chunk,
            tiled,
            jpeg_tables,
            pixel_size: pixel_size(source, &directory)?,
            shift,
            directory,
        };
        page.check()?;
        Ok(page)
    }

    /// Refuses what is read apart but not together.
    fn check(&self) -> Result<(), SegmentError> {
        let jpeg = self.compression == Compression::Jpeg;
        let reason = match (self.kind, self.channels) {
            (kind, _) if jpeg && kind != Kind::Unsigned(8) => {
                format!("JPEG compression of {kind}")
            }
            (kind, Channels::Inks(_)) if !matches!(kind, Kind::Unsigned(8 | 16)) => {
                format!("CMYK of {kind}")
            }
            (_, Channels::Inks(_)) if self.planar => "CMYK in planes".to_owned(),
            (kind, _) if self.blocks.is_some() && kind != Kind::Unsigned(8) => {
                format!("subsampled YCbCr of {kind}")
            }
            (_, _) if self.blocks.is_some() && self.predictor != Predictor::None => {
                "subsampled YCbCr with a predictor".to_owned()
            }
            (kind, _) => match (self.predictor, kind) {
                (Predictor::None, _) | (Predictor::Float, Kind::Float(_)) => return Ok(()),
                (Predictor::Horizontal, _) if matches!(self.bits, 8 | 16 | 32 | 64) => {
                    return Ok(());
                }
                (predictor, kind) => format!("the {predictor:?} predictor on {kind}"),
            },
        };
        Err(SegmentError::unsupported(FORMAT, reason))
    }

    /// Width × height.
    pub fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }

    /// How many planes are read.
    pub fn planes(&self) -> usize {
        match self.channels {
            Channels::Color(_) if self.planar => 3,
            _ => 1,
        }
    }

    /// Samples of a pixel that lie side by side.
    pub fn step(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of a row of so many pixels, unpacked; of blocks, those of a row of blocks.
    pub fn row_bytes(&self, width: usize) -> usize {
        match self.blocks {
            Some((across, down)) => width.div_ceil(across) * (across * down + 2),
            None => (width * self.step() * usize::from(self.bits)).div_ceil(8),
        }
    }

    /// Rows of pixels that [`Page::row_bytes`] hold.
    pub fn rows_at_once(&self) -> usize {
        self.blocks.map_or(1, |(_, down)| down)
    }
}

/// The edge lengths of a pixel.
pub(super) fn pixel_size<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    directory: &Directory,
) -> Result<Option<PixelSize>, SegmentError> {
    let description = directory.bytes(source, IMAGE_DESCRIPTION)?;
    let description = description.unwrap_or_default();
    let x = directory.rational(source, X_RESOLUTION)?;
    let y = directory.rational(source, Y_RESOLUTION)?;
    // Not every writer gives the unit a whole number's type; it is not worth refusing the image.
    let unit = directory.number(source, RESOLUTION_UNIT).unwrap_or(None);
    let description = String::from_utf8_lossy(&description);
    Ok(physical::of_tiff(&description, x, y, unit))
}

fn side(value: Option<u64>, name: &str) -> Result<u32, SegmentError> {
    let side = value.ok_or_else(|| damaged(format!("no {name}")))?;
    u32::try_from(side)
        .ok()
        .filter(|side| *side > 0)
        .ok_or_else(|| damaged(format!("the {name} is {side}")))
}

/// Whether there are tiles, and the width and height of a tile or strip.
fn chunk(
    (width, height): (u32, u32),
    tile: (Option<u64>, Option<u64>),
    rows: Option<u64>,
) -> Result<(bool, (u32, u32)), SegmentError> {
    match tile {
        (Some(wide @ 1..=TILE_SIDE_MAX), Some(high @ 1..=TILE_SIDE_MAX)) => {
            Ok((true, (wide as u32, high as u32)))
        }
        (Some(wide), Some(high)) => Err(damaged(format!("tiles of {wide} × {high} pixels"))),
        _ => match rows.unwrap_or(u64::from(height)) {
            0 => Err(damaged("strips of 0 rows")),
            rows => Ok((false, (width, rows.min(u64::from(height)) as u32))),
        },
    }
}

/// Pixels per chroma sample, 2 × 2 where nothing is said; nothing where every pixel has its own.
fn subsampling<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    directory: &Directory,
) -> Result<Option<(usize, usize)>, SegmentError> {
    let values = directory.numbers(source, SUBSAMPLING)?;
    match values.as_deref().unwrap_or(&[2, 2]) {
        [1, 1] => Ok(None),
        [across @ (1 | 2 | 4), down @ (1 | 2 | 4)] => Ok(Some((*across as usize, *down as usize))),
        other => Err(damaged(format!("a chroma subsampling of {other:?}"))),
    }
}

/// The meaning of PhotometricInterpretation.
fn channels(photometric: u64, samples: usize, planar: bool) -> Result<Channels, SegmentError> {
    let step = if planar { 1 } else { samples };
    let name = match photometric {
        // Grey, palette and mask; luma or lightness comes first in YCbCr and the three Lab.
        0 | 1 | 3 | 4 | 6 | 8..=10 => return Ok(Channels::First(step)),
        2 if samples >= 3 => return Ok(Channels::Color(step)),
        5 if samples >= 4 => return Ok(Channels::Inks(step)),
        2 => return Err(damaged(format!("RGB of {samples} samples"))),
        5 => return Err(damaged(format!("CMYK of {samples} samples"))),
        32_803 => "a colour filter array",
        32_844 | 32_845 => "LogLuv",
        34_892 => "raw camera data",
        _ => "unknown",
    };
    let reason = format!("{name} as photometric interpretation ({photometric})");
    Err(SegmentError::unsupported(FORMAT, reason))
}

fn damaged(reason: impl Into<String>) -> SegmentError {
    SegmentError::damaged(FORMAT, reason)
}
