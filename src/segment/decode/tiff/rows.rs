//! Strips and tiles put together to a plane of grey values, a few rows at a time.

use std::io::{BufRead, Seek};

use super::chunks::Chunks;
use super::coding::Predictor;
use super::element::Element;
use super::page::Page;
use super::predictor;
use super::source::Source;
use super::stream::Stream;
use crate::segment::SegmentError;
use crate::segment::decode::grey::{Channels, combine, combine_planes};

/// Unpacked bytes held at once, unless a single row is longer: they fit the second-level cache.
const BATCH_BYTES: usize = 128 * 1024;

/// Reads all strips or tiles.
pub(super) fn read<T: Element, R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    page: &Page,
    chunks: &Chunks,
) -> Result<Vec<T>, SegmentError> {
    let width = page.width as usize;
    let mut plane = vec![T::default(); page.pixels()];
    let mut planes = (0..page.planes())
        .map(|_| Rows::new(page, chunks.grid.chunk_width))
        .collect::<Result<Vec<_>, _>>()?;
    for index in 0..chunks.grid.len() {
        let place = chunks.grid.place(index);
        for (number, rows) in planes.iter_mut().enumerate() {
            rows.stream.open(chunks.span(number, index))?;
        }
        let mut y = 0;
        while y < place.height {
            let count = planes[0].batch_rows.min(place.height - y);
            for rows in &mut planes {
                rows.fetch(source, page, count)?;
            }
            for row in 0..count {
                let at = (place.y + y + row) * width + place.x;
                let greys = &mut plane[at..at + place.width];
                greys_of(page, &mut planes, row, greys);
                T::finish(page, greys);
            }
            y += count;
        }
    }
    Ok(plane)
}

/// The grey values of a row that all planes have fetched.
fn greys_of<T: Element>(page: &Page, planes: &mut [Rows<T>], row: usize, greys: &mut [T]) {
    if let [reds, greens, blues] = planes {
        let width = greys.len();
        combine_planes(
            reds.values(page, row, width),
            greens.values(page, row, width),
            blues.values(page, row, width),
            greys,
        );
    } else if page.channels == Channels::First(1) && page.blocks.is_none() {
        planes[0].read(page, row, greys);
    } else {
        let values = planes[0].values(page, row, greys.len());
        let channels = if page.blocks.is_some() {
            Channels::First(1)
        } else {
            page.channels
        };
        combine(values, channels, greys);
    }
}

/// Some rows of the strip or tile of one plane.
struct Rows<T> {
    stream: Stream,
    /// Rows of pixels fetched at once: whole blocks, where there are blocks.
    batch_rows: usize,
    row_bytes: usize,
    big_endian: bool,
    bytes: Vec<u8>,
    values: Vec<T>,
    scratch: Vec<u8>,
}

impl<T: Element> Rows<T> {
    fn new(page: &Page, chunk_width: usize) -> Result<Self, SegmentError> {
        let row_bytes = page.row_bytes(chunk_width);
        Ok(Self {
            stream: Stream::new(page.compression, page.low_bit_first)?,
            batch_rows: (BATCH_BYTES / row_bytes).max(1) * page.rows_at_once(),
            row_bytes,
            // The predictor for floats puts the high byte first.
            big_endian: page.big_endian || page.predictor == Predictor::Float,
            bytes: Vec::new(),
            values: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Unpacks the next rows of pixels.
    fn fetch<R: BufRead + Seek>(
        &mut self,
        source: &mut Source<'_, R>,
        page: &Page,
        rows: usize,
    ) -> Result<(), SegmentError> {
        let stored = rows.div_ceil(page.rows_at_once());
        self.bytes.resize(stored * self.row_bytes, 0);
        self.stream.fill(source, &mut self.bytes)?;
        for row in self.bytes.chunks_exact_mut(self.row_bytes) {
            match page.predictor {
                Predictor::None => break,
                Predictor::Horizontal => {
                    predictor::horizontal(row, page.bits, page.step(), page.big_endian);
                }
                Predictor::Float => {
                    predictor::float(row, page.bits, page.step(), &mut self.scratch);
                }
            }
        }
        Ok(())
    }

    /// Reads the single samples of a row.
    fn read(&self, page: &Page, row: usize, values: &mut [T]) {
        let bytes = &self.bytes[row * self.row_bytes..][..self.row_bytes];
        T::read(page.kind, self.big_endian, bytes, values);
    }

    /// All samples of the first pixels of a row, or the luma of blocks.
    fn values(&mut self, page: &Page, row: usize, width: usize) -> &[T] {
        let mut values = std::mem::take(&mut self.values);
        match page.blocks {
            Some(blocks) => {
                values.resize(width, T::default());
                self.lumas(page, blocks, row, &mut values);
            }
            None => {
                values.resize(width * page.step(), T::default());
                self.read(page, row, &mut values);
            }
        }
        self.values = values;
        &self.values
    }

    /// A block has the luma of its pixels row by row, then one of each chroma (TIFF 6.0, section 21).
    fn lumas(&self, page: &Page, (across, down): (usize, usize), row: usize, values: &mut [T]) {
        let bytes = &self.bytes[row / down * self.row_bytes..][..self.row_bytes];
        let blocks = bytes.chunks_exact(across * down + 2);
        for (values, block) in values.chunks_mut(across).zip(blocks) {
            let lumas = &block[row % down * across..];
            T::read(page.kind, self.big_endian, &lumas[..values.len()], values);
        }
    }
}
