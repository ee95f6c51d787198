//! The bytes of a strip or tile, unpacked as many at a time as are wanted.

use std::io::{self, BufRead, ErrorKind, Seek};

use flate2::{Decompress, FlushDecompress, Status};
use weezl::{BitOrder, LzwStatus, decode};
use zstd::stream::raw::{self as zstd_raw, InBuffer, Operation, OutBuffer};

use super::FORMAT;
use super::chunks::Span;
use super::coding::Compression;
use super::packbits::PackBits;
use super::source::Source;
use crate::segment::SegmentError;

/// Compressed bytes read from the file at once.
const FEED_BYTES: usize = 64 * 1024;

/// One strip or tile at a time.
pub(super) struct Stream {
    feed: Feed,
    unpacker: Unpacker,
}

enum Unpacker {
    Stored,
    PackBits(PackBits),
    Lzw(decode::Decoder),
    Deflate(Decompress),
    Zstd(zstd_raw::Decoder<'static>),
}

/// What went on in one step of unpacking.
struct Step {
    taken: usize,
    made: usize,
    ended: bool,
}

impl Stream {
    /// A stream for strips or tiles of this compression.
    pub fn new(compression: Compression, low_bit_first: bool) -> Result<Self, SegmentError> {
        let unpacker = match compression {
            // JPEG is no stream of samples; see `jpeg_parts`.
            Compression::Stored | Compression::Jpeg => Unpacker::Stored,
            Compression::PackBits => Unpacker::PackBits(PackBits::default()),
            Compression::Lzw => Unpacker::Lzw(
                decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8)
                    .with_yield_on_full_buffer(true)
                    .build(),
            ),
            Compression::Deflate => Unpacker::Deflate(Decompress::new(true)),
            Compression::Zstd => Unpacker::Zstd(zstd_raw::Decoder::new()?),
        };
        Ok(Self {
            feed: Feed::new(low_bit_first),
            unpacker,
        })
    }

    /// Goes to the beginning of a strip or tile.
    pub fn open(&mut self, span: Span) -> Result<(), SegmentError> {
        self.feed.open(span);
        match &mut self.unpacker {
            Unpacker::Stored => {}
            Unpacker::PackBits(state) => *state = PackBits::default(),
            Unpacker::Lzw(state) => state.reset(),
            Unpacker::Deflate(state) => state.reset(true),
            Unpacker::Zstd(state) => state.reinit()?,
        }
        Ok(())
    }

    /// Unpacks as many bytes as fit.
    pub fn fill<R: BufRead + Seek>(
        &mut self,
        source: &mut Source<'_, R>,
        mut out: &mut [u8],
    ) -> Result<(), SegmentError> {
        if matches!(self.unpacker, Unpacker::Stored) {
            return self.feed.copy(source, out);
        }
        while !out.is_empty() {
            let packed = self.feed.bytes(source)?;
            let last = packed.is_empty();
            let step = self.unpacker.step(packed, out);
            let step = step.map_err(|reason| self.feed.damaged(&reason))?;
            self.feed.take(step.taken);
            out = &mut out[step.made..];
            let stuck = step.taken == 0 && step.made == 0;
            if !out.is_empty() && (step.ended || stuck && last) {
                return Err(self.feed.too_short(out.len()));
            }
            if !out.is_empty() && stuck {
                return Err(self.feed.damaged("it cannot be unpacked"));
            }
        }
        Ok(())
    }
}

impl Unpacker {
    /// Unpacks some of these bytes; the error says what is wrong with them.
    fn step(&mut self, packed: &[u8], out: &mut [u8]) -> Result<Step, String> {
        match self {
            Self::Stored => Ok(Step::of(0, 0, true)),
            Self::PackBits(state) => {
                let (taken, made) = state.unpack(packed, out);
                Ok(Step::of(taken, made, false))
            }
            Self::Lzw(state) => {
                let result = state.decode_bytes(packed, out);
                let status = result.status.map_err(|error| format!("LZW: {error}"))?;
                let ended = matches!(status, LzwStatus::Done);
                Ok(Step::of(result.consumed_in, result.consumed_out, ended))
            }
            Self::Deflate(state) => {
                let before = (state.total_in(), state.total_out());
                let status = state.decompress(packed, out, FlushDecompress::None);
                let status = status.map_err(|error| format!("Deflate: {error}"))?;
                let taken = (state.total_in() - before.0) as usize;
                let made = (state.total_out() - before.1) as usize;
                Ok(Step::of(taken, made, status == Status::StreamEnd))
            }
            Self::Zstd(state) => {
                let (mut from, mut to) = (InBuffer::around(packed), OutBuffer::around(out));
                let hint = state.run(&mut from, &mut to);
                let hint = hint.map_err(|error| format!("Zstandard: {error}"))?;
                Ok(Step::of(from.pos(), to.pos(), hint == 0))
            }
        }
    }
}

impl Step {
    fn of(taken: usize, made: usize, ended: bool) -> Self {
        Self { taken, made, ended }
    }
}

/// The compressed bytes, fetched in pieces.
struct Feed {
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    span: Span,
    /// Offset of the next byte to fetch.
    next: u64,
    low_bit_first: bool,
}

impl Feed {
    fn new(low_bit_first: bool) -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            filled: 0,
            span: Span {
                index: 0,
                at: 0,
                length: 0,
                cut: false,
            },
            next: 0,
            low_bit_first,
        }
    }

    fn open(&mut self, span: Span) {
        (self.taken, self.filled) = (0, 0);
        (self.span, self.next) = (span, span.at);
    }

    fn left(&self) -> u64 {
        self.span.at + self.span.length - self.next
    }

    /// What is there and not yet taken; nothing at the end.
    fn bytes<R: BufRead + Seek>(
        &mut self,
        source: &mut Source<'_, R>,
    ) -> Result<&[u8], SegmentError> {
        if self.taken == self.filled {
            let length = self.left().min(FEED_BYTES as u64) as usize;
            self.buffer.resize(FEED_BYTES.max(length), 0);
            self.fetch(source, length)?;
        }
        Ok(&self.buffer[self.taken..self.filled])
    }

    fn fetch<R: BufRead + Seek>(
        &mut self,
        source: &mut Source<'_, R>,
        length: usize,
    ) -> Result<(), SegmentError> {
        let buffer = &mut self.buffer[..length];
        source.read_at(self.next, buffer).map_err(reading)?;
        reverse(buffer, self.low_bit_first);
        self.next += length as u64;
        (self.taken, self.filled) = (0, length);
        Ok(())
    }

    fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Stored bytes straight into their place.
    fn copy<R: BufRead + Seek>(
        &mut self,
        source: &mut Source<'_, R>,
        out: &mut [u8],
    ) -> Result<(), SegmentError> {
        if out.len() as u64 > self.left() {
            return Err(self.too_short(out.len() - self.left() as usize));
        }
        source.read_at(self.next, out).map_err(reading)?;
        reverse(out, self.low_bit_first);
        self.next += out.len() as u64;
        Ok(())
    }

    fn damaged(&self, reason: &str) -> SegmentError {
        let index = self.span.index;
        SegmentError::damaged(FORMAT, format!("part {index} of the pixel data: {reason}"))
    }

    fn too_short(&self, missing: usize) -> SegmentError {
        let Span { index, length, .. } = self.span;
        if self.span.cut {
            let reason = format!("the file ends within part {index} of the pixel data");
            return SegmentError::truncated(FORMAT, reason);
        }
        self.damaged(&format!(
            "its {length} bytes end before its pixels do; at least {missing} bytes of them are missing"
        ))
    }
}

fn reverse(bytes: &mut [u8], low_bit_first: bool) {
    if low_bit_first {
        bytes
            .iter_mut()
            .for_each(|byte| *byte = byte.reverse_bits());
    }
}

fn reading(error: io::Error) -> SegmentError {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            SegmentError::truncated(FORMAT, "the file ends before its pixel data do")
        }
        _ => SegmentError::Io(error),
    }
}
