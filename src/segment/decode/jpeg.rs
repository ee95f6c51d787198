//! JPEG, baseline and progressive, of 8 bits; also as the compression of a TIFF's strips and tiles.
//!
//! The decoder takes the whole file and writes the whole plane, colours as luma at once; progressive files need their
//! coefficients besides, which is bounded before memory is taken. EXIF orientation is ignored: outlines lie in the grid
//! of the pixels as they are stored.

use std::io::{BufRead, Cursor, Read, Seek};

use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{JpegDecoder, SampleRatios};

use super::grey::{Channels, combine};
use crate::segment::inspect::{Format, Inspection, Limits, nonzero, take};
use crate::segment::{Samples, SegmentError};

const FORMAT: Format = Format::Jpeg;

/// Most scans of a progressive file; encoders make about ten.
const SCANS_MAX: usize = 100;

/// Bytes put behind the image data where the decoder may look ahead: it holds 64 bits and counts the last byte of a file
/// as missing. With the end marker in their place it would make up what is missing.
const LOOK_AHEAD_BYTES: usize = 12;

/// What a frame header says (ITU-T T.81, B.2.2).
#[derive(Debug, Clone, Copy)]
struct Frame {
    width: u32,
    height: u32,
    bits: u16,
    components: u8,
    progressive: bool,
}

/// The size stands in the first frame header, behind any number of other segments.
pub(in crate::segment) fn inspect(
    reader: &mut (impl BufRead + Seek),
) -> Result<Inspection, SegmentError> {
    take::<2>(reader, FORMAT)?;
    let (marker, _length) = segment(reader, Marker::is_frame)?;
    let frame = Frame::of(marker, take(reader, FORMAT)?)?;
    Ok(Inspection {
        format: FORMAT,
        width: frame.width,
        height: frame.height,
        pages: 1,
        bits: frame.bits,
        // A JPEG's density is that of a screen or printer, so it is not even looked at.
        pixel_size: None,
    })
}

/// The second byte of a marker.
struct Marker;

impl Marker {
    const END: u8 = 0xD9;
    const SCAN: u8 = 0xDA;

    fn is_frame(marker: u8) -> bool {
        matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF)
    }

    fn is_scan(marker: u8) -> bool {
        marker == Self::SCAN
    }
}

/// Goes behind the marker and the length of the next segment that is wanted, past all others.
fn segment(
    reader: &mut (impl BufRead + Seek),
    wanted: impl Fn(u8) -> bool,
) -> Result<(u8, u16), SegmentError> {
    loop {
        let [mark, mut marker] = take(reader, FORMAT)?;
        if mark != 0xFF {
            let reason = "no marker where one must stand";
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        while marker == 0xFF {
            [marker] = take(reader, FORMAT)?;
        }
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let length = u16::from_be_bytes(take(reader, FORMAT)?);
        // A frame header has at least 8 bytes.
        if length < if Marker::is_frame(marker) { 8 } else { 2 } {
            let reason = "a segment of impossible length";
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        match marker {
            marker if wanted(marker) => return Ok((marker, length)),
            Marker::END | Marker::SCAN => {
                return Err(SegmentError::damaged(FORMAT, "no frame header"));
            }
            _ => reader.seek_relative(i64::from(length) - 2)?,
        }
    }
}

impl Frame {
    fn of(marker: u8, head: [u8; 6]) -> Result<Self, SegmentError> {
        let kind = match marker {
            0xC0..=0xC2 => None,
            0xC3 | 0xC7 | 0xCB | 0xCF => Some("lossless coding"),
            0xC5 | 0xC6 | 0xCD | 0xCE => Some("hierarchical coding"),
            _ => Some("arithmetic coding"),
        };
        if let Some(kind) = kind {
            return Err(SegmentError::unsupported(FORMAT, kind));
        }
        let width = u32::from(u16::from_be_bytes([head[3], head[4]]));
        let height = u32::from(u16::from_be_bytes([head[1], head[2]]));
        nonzero(FORMAT, width, height)?;
        if head[0] != 8 {
            let reason = format!("{} bits per sample", head[0]);
            return Err(SegmentError::unsupported(FORMAT, reason));
        }
        Ok(Self {
            width,
            height,
            bits: u16::from(head[0]),
            components: head[5],
            progressive: marker == 0xC2,
        })
    }

    /// The buffers that decoding needs beside the file, in bytes: the result and, of progressive files, two bytes for
    /// every coefficient of every component.
    fn buffer_bytes(self, result_bytes_per_pixel: u64) -> u64 {
        let padded = |side: u32| u64::from(side).next_multiple_of(32);
        let pixels = padded(self.width) * padded(self.height);
        let coefficients = if self.progressive {
            2 * u64::from(self.components)
        } else {
            0
        };
        pixels * (result_bytes_per_pixel + coefficients)
    }

    /// Fewest bytes in which the image can be coded: every block of 8 × 8 pixels has at least a bit for its mean, and
    /// where the rest is not coded apart, another that says that nothing follows.
    fn coded_bytes_min(self) -> u64 {
        let blocks = u64::from(self.width.div_ceil(8)) * u64::from(self.height.div_ceil(8));
        blocks * if self.progressive { 1 } else { 2 } / 8
    }
}

/// Reads the headers of a complete file, and sees to it that its image data end where they should: the decoder would fill
/// what is missing with grey, which must not be measured.
fn prepare(file: &mut Vec<u8>, within: Format) -> Result<Frame, SegmentError> {
    let mut reader = Cursor::new(file.as_slice());
    take::<2>(&mut reader, FORMAT)?;
    let (marker, length) = segment(&mut reader, Marker::is_frame)?;
    let frame = Frame::of(marker, take(&mut reader, FORMAT)?)?;
    reader.seek_relative(i64::from(length) - 8)?;
    let (_, length) = segment(&mut reader, Marker::is_scan)?;
    let [components] = take(&mut reader, FORMAT)?;
    let begin = reader.position() as usize + usize::from(length) - 3;
    // Inside a scan 0xFF is always followed by 0 or a restart marker (ITU-T T.81, B.1.1.5).
    let coded = file.get(begin..).unwrap_or_default();
    let end = coded
        .windows(2)
        .position(|pair| pair == [0xFF, Marker::END]);
    let end = match end {
        Some(end) => end,
        // A strip or tile ends where its TIFF says.
        None if within == Format::Tiff => coded.len(),
        None => {
            let reason = "the file ends before the end of its image data";
            return Err(SegmentError::truncated(within, reason));
        }
    };
    if (end as u64) < frame.coded_bytes_min() {
        let Frame { width, height, .. } = frame;
        let reason = format!("{end} bytes of image data for {width} × {height} pixels");
        return Err(SegmentError::damaged(within, reason));
    }
    if !frame.progressive && components == frame.components {
        // One scan, so this is the end of it.
        file.truncate(begin + end);
        file.resize(begin + end + LOOK_AHEAD_BYTES, 0);
    }
    Ok(frame)
}

/// The luminance of a file.
pub(super) fn decode(
    reader: &mut impl Read,
    bytes: u64,
    limits: &Limits,
) -> Result<Samples, SegmentError> {
    limits.check_buffer(bytes)?;
    let bytes_and_more = bytes + LOOK_AHEAD_BYTES as u64;
    let mut file = Vec::with_capacity(usize::try_from(bytes_and_more).unwrap_or(0));
    reader.take(bytes).read_to_end(&mut file)?;
    let image = Image::read(file, limits, Colors::Luminance, FORMAT)?;
    if image.channels == Channels::First(1) {
        return Ok(Samples::U8(image.samples));
    }
    let mut greys = vec![0; image.width * image.height];
    combine(&image.samples, image.channels, &mut greys);
    Ok(Samples::U8(greys))
}

/// What the samples of a decoded image are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colors {
    /// One value, or else red, green and blue.
    Luminance,
    /// The components as they are stored: the file around the image says what they mean.
    AsStored,
}

/// A decoded image.
pub(super) struct Image {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// What a pixel is made of.
    pub channels: Channels,
    /// Row by row.
    pub samples: Vec<u8>,
}

impl Image {
    /// Decodes a complete JPEG, which stands alone or, as `within` says, in a file of another format.
    pub fn read(
        mut file: Vec<u8>,
        limits: &Limits,
        colors: Colors,
        within: Format,
    ) -> Result<Self, SegmentError> {
        let frame = prepare(&mut file, within)?;
        // Strict: what is damaged is not to be measured, so it is not to be filled with grey either.
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(usize::from(u16::MAX))
            .set_max_height(usize::from(u16::MAX))
            .jpeg_set_max_scans(SCANS_MAX);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file.as_slice()), options);
        let explain = |error| explain(error, within);
        decoder.decode_headers().map_err(explain)?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        if (width, height) != (frame.width as usize, frame.height as usize) {
            let reason = format!(
                "two sizes, {} × {} and {width} × {height}",
                frame.width, frame.height
            );
            return Err(SegmentError::damaged(within, reason));
        }
        let (wanted, channels) = match (stored_colors(&decoder), colors) {
            (ColorSpace::Luma, _) => (ColorSpace::Luma, Channels::First(1)),
            (ColorSpace::YCbCr, Colors::Luminance) if luma_alone(&decoder) => {
                (ColorSpace::Luma, Channels::First(1))
            }
            (ColorSpace::YCbCr, Colors::Luminance) => (ColorSpace::YCbCr, Channels::First(3)),
            (_, Colors::Luminance) => (ColorSpace::RGB, Channels::Color(3)),
            (stored, _) => (stored, Channels::First(stored.num_components())),
        };
        limits.check_buffer(frame.buffer_bytes(wanted.num_components() as u64))?;
        decoder.set_options(options.jpeg_set_out_colorspace(wanted));
        Ok(Self {
            width,
            height,
            channels,
            samples: decoder.decode().map_err(explain)?,
        })
    }
}

/// The decoder takes an Adobe file without a transform for CMYK until it counts the components.
fn stored_colors(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> ColorSpace {
    let components = decoder.info().map_or(1, |info| info.components);
    match decoder.input_colorspace() {
        Some(ColorSpace::CMYK) if components == 3 => ColorSpace::RGB,
        Some(stored) => stored,
        None => ColorSpace::Luma,
    }
}

/// Whether the decoder can leave the chroma out: where rows alone share their chroma, it then reads on behind the image.
fn luma_alone(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> bool {
    let ratio = decoder.info().map(|info| info.sample_ratio);
    matches!(
        ratio,
        Some(SampleRatios::None | SampleRatios::H | SampleRatios::HV)
    )
}

fn explain(error: DecodeErrors, format: Format) -> SegmentError {
    let reason = error.to_string();
    match error {
        DecodeErrors::Unsupported(_) => SegmentError::unsupported(format, reason),
        DecodeErrors::ExhaustedData => {
            SegmentError::truncated(format, "the image data end too early")
        }
        _ => SegmentError::damaged(format, reason),
    }
}
