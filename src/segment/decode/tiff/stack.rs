//! ImageJ's stacks of many slices with one directory.
//!
//! Where a stack would not fit 32-bit offsets, ImageJ (`ij.io.TiffEncoder`, `ij.io.TiffDecoder`) and tifffile write the
//! directory of the first slice alone, with `images=N` in its description; the slices follow one another, uncompressed.

use std::io::{BufRead, Seek};

use super::FORMAT;
use super::chunks::Chunks;
use super::coding::Compression;
use super::directory::Directory;
use super::page::{IMAGE_DESCRIPTION, Page};
use super::source::Source;
use crate::segment::SegmentError;
use crate::segment::inspect::Limits;

/// The slices behind one directory.
#[derive(Debug)]
pub(super) struct Stack {
    /// How many there are.
    pub slices: u32,
    slice_bytes: u64,
}

impl Stack {
    /// The stack that the only directory of a file describes; `None` where it is one page.
    pub fn of<R: BufRead + Seek>(
        source: &mut Source<'_, R>,
        directory: &Directory,
        limits: &Limits,
    ) -> Result<Option<Self>, SegmentError> {
        let description = directory.bytes(source, IMAGE_DESCRIPTION)?;
        let slices = description.as_deref().and_then(images);
        let Some(slices) = slices.filter(|slices| *slices > 1) else {
            return Ok(None);
        };
        // What is wrong with the page is said when the page is asked for.
        let Ok(page) = Page::read(source, directory.clone(), 0) else {
            return Ok(None);
        };
        let extent = Chunks::read(source, &page).ok();
        let extent = extent.and_then(|chunks| chunks.contiguous());
        let Some((begin, end)) =
            extent.filter(|_| page.compression == Compression::Stored && !page.planar)
        else {
            return Ok(None);
        };
        let slice_bytes = end - begin;
        let room = (source.length - begin) / slice_bytes;
        if room < 2 {
            // A single slice, saved with the description of its stack.
            return Ok(None);
        }
        if room < slices {
            let reason = format!("{slices} slices of {slice_bytes} bytes, room for {room}");
            return Err(SegmentError::truncated(FORMAT, reason));
        }
        let limit = limits.max_pages;
        match u32::try_from(slices) {
            Ok(slices) if slices <= limit => Ok(Some(Self {
                slices,
                slice_bytes,
            })),
            _ => Err(SegmentError::TooManyPages { limit }),
        }
    }

    /// How far behind the first slice this one begins.
    pub fn offset(&self, slice: u32) -> u64 {
        u64::from(slice) * self.slice_bytes
    }
}

/// The number of images that an ImageJ description gives.
fn images(description: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(description);
    let mut lines = text.strip_prefix("ImageJ=")?.lines();
    lines
        .find_map(|line| line.strip_prefix("images="))?
        .trim()
        .parse()
        .ok()
}
