//! Where strips and tiles lie, in the image and in the file.

use std::io::{BufRead, Seek};

use super::FORMAT;
use super::coding::Compression;
use super::page::Page;
use super::source::Source;
use crate::segment::SegmentError;

const STRIP_OFFSETS: u16 = 273;
const STRIP_BYTE_COUNTS: u16 = 279;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;

/// How strips or tiles cover an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Width of a strip or tile in pixels.
    pub chunk_width: usize,
    chunk_height: usize,
    width: usize,
    height: usize,
}

/// The part of the image that a strip or tile shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// The bytes of a strip or tile in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Which strip or tile it is, for messages.
    pub index: usize,
    /// Where it begins.
    pub at: u64,
    /// How many bytes there are.
    pub length: u64,
    /// Whether the file ends before it does.
    pub cut: bool,
}

/// All strips or tiles of a page.
pub(super) struct Chunks {
    /// How they cover the image; those of further planes follow in the same order.
    pub grid: Grid,
    spans: Vec<Span>,
}

impl Chunks {
    /// Reads the lists of offsets and lengths of a page and checks them against the file's length.
    pub fn read<R: BufRead + Seek>(
        source: &mut Source<'_, R>,
        page: &Page,
    ) -> Result<Self, SegmentError> {
        let grid = Grid::of(page);
        let (offsets_tag, counts_tag) = if page.tiled {
            (TILE_OFFSETS, TILE_BYTE_COUNTS)
        } else {
            (STRIP_OFFSETS, STRIP_BYTE_COUNTS)
        };
        let mut offsets = page.directory.numbers(source, offsets_tag)?;
        let mut counts = page.directory.numbers(source, counts_tag)?;
        if page.tiled && offsets.is_none() {
            // Some writers use the strips' tags for tiles.
            offsets = page.directory.numbers(source, STRIP_OFFSETS)?;
            counts = page.directory.numbers(source, STRIP_BYTE_COUNTS)?;
        }
        let name = if page.tiled { "tiles" } else { "strips" };
        let offsets = offsets.unwrap_or_default();
        let wanted = grid.len() * page.planes();
        if offsets.len() < wanted {
            let reason = format!("{} {name} where there must be {wanted}", offsets.len());
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        let counts = counts.unwrap_or_default();
        let spans = offsets.iter().take(wanted).enumerate().map(|(index, at)| {
            let rows = grid.stored_rows(index % grid.len(), page.tiled);
            let stored = (page.compression == Compression::Stored).then(|| {
                (page.row_bytes(grid.chunk_width) * rows.div_ceil(page.rows_at_once())) as u64
            });
            let count = counts.get(index).copied().filter(|count| *count > 0);
            span(
                index,
                at.saturating_add(page.shift),
                count,
                stored,
                source.length,
            )
        });
        let spans = spans.collect::<Result<_, _>>()?;
        Ok(Self { grid, spans })
    }

    /// The bytes of a strip or tile of a plane.
    pub fn span(&self, plane: usize, index: usize) -> Span {
        self.spans[plane * self.grid.len() + index]
    }

    /// Whether the strips or tiles follow one another in the file without a gap; and where they begin and end.
    pub fn contiguous(&self) -> Option<(u64, u64)> {
        let gapless = |pair: &[Span]| pair[0].at + pair[0].length == pair[1].at;
        let (first, last) = (self.spans.first()?, self.spans.last()?);
        let whole = self.spans.windows(2).all(gapless) && !last.cut;
        whole.then_some((first.at, last.at + last.length))
    }
}

/// `count` is what the directory says, `stored` what the size asks for where nothing is compressed.
fn span(
    index: usize,
    at: u64,
    count: Option<u64>,
    stored: Option<u64>,
    file: u64,
) -> Result<Span, SegmentError> {
    let part = |what: String| format!("part {index} of the pixel data {what}");
    if at >= file {
        let reason = part(format!("begins at {at}, behind the file's end at {file}"));
        return Err(SegmentError::truncated(FORMAT, reason));
    }
    let rest = file - at;
    // A count that is missing is made up from the size, or from what the file has.
    let length = match (count, stored) {
        (Some(count), Some(stored)) if count < stored => {
            let reason = part(format!("has {count} bytes, its size asks for {stored}"));
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        (_, Some(stored)) if stored > rest => {
            let reason = part(format!("has {stored} bytes from {at} on, the file {file}"));
            return Err(SegmentError::truncated(FORMAT, reason));
        }
        (_, Some(stored)) => stored,
        (count, None) => count.unwrap_or(rest),
    };
    Ok(Span {
        index,
        at,
        length: length.min(rest),
        cut: length > rest,
    })
}

impl Grid {
    fn of(page: &Page) -> Self {
        Self {
            chunk_width: page.chunk.0 as usize,
            chunk_height: page.chunk.1 as usize,
            width: page.width as usize,
            height: page.height as usize,
        }
    }

    fn across(&self) -> usize {
        self.width.div_ceil(self.chunk_width)
    }

    /// How many strips or tiles a plane has.
    pub fn len(&self) -> usize {
        self.across() * self.height.div_ceil(self.chunk_height)
    }

    /// The rows of all strips or tiles of a plane together, as far as they show the image.
    pub fn rows(&self) -> u64 {
        self.across() as u64 * self.height as u64
    }

    /// The part of the image that a strip or tile shows.
    pub fn place(&self, index: usize) -> Place {
        let x = index % self.across() * self.chunk_width;
        let y = index / self.across() * self.chunk_height;
        Place {
            x,
            y,
            width: self.chunk_width.min(self.width - x),
            height: self.chunk_height.min(self.height - y),
        }
    }

    /// The rows that a strip or tile has in the file: a tile all of them, the last strip those that are left.
    fn stored_rows(&self, index: usize, tiled: bool) -> usize {
        if tiled {
            self.chunk_height
        } else {
            self.place(index).height
        }
    }
}
