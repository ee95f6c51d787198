//! The greys of a palette.

use std::io::{BufRead, Seek};

use super::FORMAT;
use super::directory::Directory;
use super::kind::Kind;
use super::source::Source;
use crate::segment::SegmentError;
use crate::segment::decode::grey::Sample;

const COLOR_MAP: u16 = 320;

/// The grey value, 0–255, of every colour: all reds stand first, then all greens and all blues, 16 bits each.
pub(super) fn read<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    directory: &Directory,
    kind: Kind,
) -> Result<Vec<u8>, SegmentError> {
    let Kind::Unsigned(bits @ 1..=8) = kind else {
        let reason = format!("a palette with {kind}");
        return Err(SegmentError::unsupported(FORMAT, reason));
    };
    let colors = directory.numbers(source, COLOR_MAP)?;
    let colors = colors
        .ok_or_else(|| SegmentError::damaged(FORMAT, "a palette image without its palette"))?;
    let length = 1 << bits;
    if colors.len() != 3 * length {
        let reason = format!("a palette of {} numbers for {bits} bits", colors.len());
        return Err(SegmentError::damaged(FORMAT, reason));
    }
    // Some writers fill only the low byte of the 16-bit entries; libtiff takes them as they are meant, and so do we.
    let low_bytes = colors.iter().all(|color| *color < 256);
    let scale = if low_bytes { 1 } else { 257 };
    let color = |plane: usize, index: usize| colors[plane * length + index] as u16;
    let grey = |index| u16::luminance(color(0, index), color(1, index), color(2, index));
    let scaled = |grey: u16| ((u32::from(grey) + scale / 2) / scale).min(255) as u8;
    Ok((0..length).map(|index| scaled(grey(index))).collect())
}
