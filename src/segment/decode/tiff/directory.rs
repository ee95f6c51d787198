//! Directories: the chain of them from the header on, their entries, and the values of these.
//!
//! TIFF 6.0, section 2; BigTIFF has the same fields with eight-byte counts and offsets.

use std::collections::HashSet;
use std::io::{BufRead, Seek};

use super::chunks::Chunks;
use super::page::Page;
use super::source::Source;
use super::stack::Stack;
use super::{FORMAT, page};
use crate::segment::inspect::Limits;
use crate::segment::{PixelSize, SegmentError};

/// Most entries of a directory: the standard knows some hundred tags.
const ENTRIES_MAX: u64 = 4_096;

/// Longest text or list read from a tag, in bytes (OME-XML of thousands of planes has some megabytes).
const VALUE_MAX_BYTES: u64 = 16 * 1024 * 1024;

const NEW_SUBFILE_TYPE: u16 = 254;

/// Bits of NewSubfileType: a smaller copy of another page, and the mask of one.
const NOT_A_PAGE: u64 = 1 | 4;

/// The directories of a file's pages.
pub(super) struct Directories<'a, R> {
    source: Source<'a, R>,
    layout: Layout,
    offsets: Vec<u64>,
    stack: Option<Stack>,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// High byte first.
    pub big_endian: bool,
    big_tiff: bool,
}

/// One directory.
#[derive(Clone)]
pub(super) struct Directory {
    entries: Vec<Entry>,
    layout: Layout,
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
    pub fn read(reader: &'a mut R, bytes: u64, limits: &Limits) -> Result<Self, SegmentError> {
        let mut source = Source::new(reader, bytes)?;
        let mut head = [0; 16];
        let length = if bytes < 16 { 8 } else { 16 };
        read_at(&mut source, 0, &mut head[..length])?;
        let big_endian = head[0] == b'M';
        let big_tiff = head[2].max(head[3]) == 43;
        let layout = Layout {
            big_endian,
            big_tiff,
        };
        let first = if big_tiff {
            if layout.value(&head[4..6]) != 8 || layout.value(&head[6..8]) != 0 {
                let reason = "the BigTIFF header does not say eight-byte offsets";
                return Err(SegmentError::damaged(FORMAT, reason));
            }
            layout.value(&head[8..16])
        } else {
            layout.value(&head[4..8])
        };
        let mut this = Self {
            source,
            layout,
            offsets: Vec::new(),
            stack: None,
        };
        this.follow_chain(first, limits.max_pages)?;
        if let [only] = this.offsets[..] {
            let directory = Directory::read(&mut this.source, layout, only)?.0;
            this.stack = Stack::of(&mut this.source, &directory, limits)?;
        }
        Ok(this)
    }

    /// How many pages there are.
    pub fn pages(&self) -> u32 {
        match self.stack {
            Some(ref stack) => stack.slices,
            None => u32::try_from(self.offsets.len()).unwrap_or(u32::MAX),
        }
    }

    /// Reads the directory of a page, counted from 0.
    pub fn page(&mut self, page: u32) -> Result<Page, SegmentError> {
        let pages = self.pages();
        if page >= pages {
            return Err(SegmentError::NoSuchPage { page, pages });
        }
        let slice = self.stack.as_ref().map(|stack| stack.offset(page));
        let index = if slice.is_some() { 0 } else { page as usize };
        let directory = Directory::read(&mut self.source, self.layout, self.offsets[index])?.0;
        let mut read = Page::read(&mut self.source, directory, slice.unwrap_or(0))?;
        if index > 0 && !read.pixel_size.is_some_and(|size| size.trusted()) {
            // OME and ImageJ describe all pages in the first.
            let first = self.first_pixel_size()?;
            read.pixel_size = first.filter(PixelSize::trusted).or(read.pixel_size);
        }
        Ok(read)
    }

    /// Where the strips or tiles of a page are.
    pub fn chunks(&mut self, page: &Page) -> Result<Chunks, SegmentError> {
        Chunks::read(&mut self.source, page)
    }

    fn first_pixel_size(&mut self) -> Result<Option<PixelSize>, SegmentError> {
        let directory = Directory::read(&mut self.source, self.layout, self.offsets[0])?.0;
        page::pixel_size(&mut self.source, &directory)
    }

    fn follow_chain(&mut self, first: u64, max_pages: u32) -> Result<(), SegmentError> {
        let mut seen = HashSet::new();
        let mut others = Vec::new();
        let mut next = first;
        while next != 0 {
            if !seen.insert(next) {
                let reason = "the list of pages runs in a circle";
                return Err(SegmentError::damaged(FORMAT, reason));
            }
            if seen.len() > max_pages as usize {
                return Err(SegmentError::TooManyPages { limit: max_pages });
            }
            let (directory, after) = Directory::read(&mut self.source, self.layout, next)?;
            // A type that cannot be read is none.
            let kind = directory.number(&mut self.source, NEW_SUBFILE_TYPE);
            if kind.ok().flatten().unwrap_or(0) & NOT_A_PAGE == 0 {
                self.offsets.push(next);
            } else {
                others.push(next);
            }
            next = after;
        }
        if self.offsets.is_empty() {
            // A thumbnail alone is better than nothing.
            self.offsets = others;
        }
        if self.offsets.is_empty() {
            return Err(SegmentError::damaged(FORMAT, "there is no page"));
        }
        Ok(())
    }
}

impl Directory {
    /// Reads the entries, and the offset of the next directory.
    fn read<R: BufRead + Seek>(
        source: &mut Source<'_, R>,
        layout: Layout,
        offset: u64,
    ) -> Result<(Self, u64), SegmentError> {
        let (count_bytes, entry_bytes) = if layout.big_tiff { (8, 20) } else { (2, 12) };
        let mut buffer = [0; 8];
        read_at(source, offset, &mut buffer[..count_bytes])?;
        let count = layout.value(&buffer[..count_bytes]);
        if count == 0 || count > ENTRIES_MAX {
            let reason = format!("a directory of {count} entries");
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        let begin = offset + count_bytes as u64;
        let offset_bytes = layout.offset_bytes();
        let mut bytes = vec![0; count as usize * entry_bytes + offset_bytes];
        read_at(source, begin, &mut bytes)?;
        let (entries, next) = bytes.split_at(count as usize * entry_bytes);
        let places = (begin..).step_by(entry_bytes);
        let entries = entries.chunks_exact(entry_bytes).zip(places);
        let entries = entries.map(|(bytes, at)| Entry::of(bytes, at, layout));
        let entries = entries.collect();
        Ok((Self { entries, layout }, layout.value(next)))
    }

    /// How numbers are stored.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// The first value of a tag of whole numbers.
    pub fn number<R: BufRead + Seek>(
        &self,
        source: &mut Source<'_, R>,
        tag: u16,
    ) -> Result<Option<u64>, SegmentError> {
        let Some(entry) = self.entry(tag).filter(|entry| entry.count > 0) else {
            return Ok(None);
        };
        let bytes = entry.whole_number_bytes()?;
        let mut buffer = [0; 8];
        read_at(source, entry.value_at, &mut buffer[..bytes])?;
        Ok(Some(self.layout.value(&buffer[..bytes])))
    }

    /// All values of a tag of whole numbers.
    pub fn numbers<R: BufRead + Seek>(
        &self,
        source: &mut Source<'_, R>,
        tag: u16,
    ) -> Result<Option<Vec<u64>>, SegmentError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        let each = entry.whole_number_bytes()?;
        let length = entry.count.saturating_mul(each as u64);
        if length > VALUE_MAX_BYTES {
            let reason = format!("tag {tag} has {} values", entry.count);
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        let bytes = source.bytes_at(entry.value_at, length).map_err(outside)?;
        let value = |bytes| self.layout.value(bytes);
        Ok(Some(bytes.chunks_exact(each).map(value).collect()))
    }

    /// A tag's bytes; nothing where there is none, it is too long, or it lies outside the file.
    pub fn bytes<R: BufRead + Seek>(
        &self,
        source: &mut Source<'_, R>,
        tag: u16,
    ) -> Result<Option<Vec<u8>>, SegmentError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        let length = entry.count.saturating_mul(kind_bytes(entry.kind));
        if length > VALUE_MAX_BYTES {
            return Ok(None);
        }
        match source.bytes_at(entry.value_at, length) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(SegmentError::Io(error)),
        }
    }

    /// The first value of a tag of quotients, where it is above 0.
    pub fn rational<R: BufRead + Seek>(
        &self,
        source: &mut Source<'_, R>,
        tag: u16,
    ) -> Result<Option<f64>, SegmentError> {
        let Some(bytes) = self.bytes(source, tag)?.filter(|bytes| bytes.len() == 8) else {
            return Ok(None);
        };
        let (over, under) = bytes.split_at(4);
        let value = |bytes| self.layout.value(bytes) as f64;
        let (over, under) = (value(over), value(under));
        Ok((under > 0.0 && over > 0.0).then(|| over / under))
    }
}

impl Entry {
    fn of(bytes: &[u8], at: u64, layout: Layout) -> Self {
        let offset_bytes = layout.offset_bytes();
        let kind = layout.value(&bytes[2..4]) as u16;
        let count = layout.value(&bytes[4..4 + offset_bytes]);
        let inside = count.saturating_mul(kind_bytes(kind)) <= offset_bytes as u64;
        Self {
            tag: layout.value(&bytes[..2]) as u16,
            kind,
            count,
            value_at: if inside {
                at + 4 + offset_bytes as u64
            } else {
                layout.value(&bytes[4 + offset_bytes..])
            },
        }
    }

    fn whole_number_bytes(&self) -> Result<usize, SegmentError> {
        match self.kind {
            1 => Ok(1),
            3 => Ok(2),
            4 | 13 => Ok(4),
            16 | 18 => Ok(8),
            kind => {
                let reason = format!("tag {} has type {kind}, not a whole number", self.tag);
                Err(SegmentError::damaged(FORMAT, reason))
            }
        }
    }
}

impl Layout {
    fn offset_bytes(self) -> usize {
        if self.big_tiff { 8 } else { 4 }
    }

    /// The number in these bytes, at most eight.
    pub fn value(self, bytes: &[u8]) -> u64 {
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

fn read_at<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    at: u64,
    buffer: &mut [u8],
) -> Result<(), SegmentError> {
    source.read_at(at, buffer).map_err(outside)
}

fn outside(error: std::io::Error) -> SegmentError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            SegmentError::truncated(FORMAT, "a directory lies outside the file")
        }
        _ => SegmentError::Io(error),
    }
}
