//! Strips and tiles that are JPEGs.

use std::io::{BufRead, Seek};

use super::FORMAT;
use super::chunks::{Chunks, Span};
use super::element::Element;
use super::page::Page;
use super::source::Source;
use crate::segment::SegmentError;
use crate::segment::decode::grey::{Channels, combine, combine_planes};
use crate::segment::decode::jpeg::{Colors, Image};
use crate::segment::inspect::Limits;

/// Start of image and end of image.
const MARKER_BYTES: usize = 2;

/// Reads all strips or tiles.
pub(super) fn read<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    page: &Page,
    chunks: &Chunks,
    limits: &Limits,
) -> Result<Vec<u8>, SegmentError> {
    let width = page.width as usize;
    let mut plane = vec![0; page.pixels()];
    for index in 0..chunks.grid.len() {
        let place = chunks.grid.place(index);
        let parts = (0..page.planes())
            .map(|number| {
                let span = chunks.span(number, index);
                let part = part(source, page, span, limits)?;
                let size = (part.width, part.height);
                if size.0 < place.width || size.1 < place.height {
                    return Err(too_small(span, size, (place.width, place.height)));
                }
                Ok(part)
            })
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..place.height {
            let at = (place.y + row) * width + place.x;
            let greys = &mut plane[at..at + place.width];
            greys_of(page, &parts, row, greys);
            u8::finish(page, greys);
        }
    }
    Ok(plane)
}

fn greys_of(page: &Page, parts: &[Image], row: usize, greys: &mut [u8]) {
    let pixels = |image: &'_ Image| row * image.width * image.channels.step();
    match parts {
        [reds, greens, blues] => combine_planes(
            &reds.samples[pixels(reds)..],
            &greens.samples[pixels(greens)..],
            &blues.samples[pixels(blues)..],
            greys,
        ),
        [image, ..] => {
            // Where luminance was asked for, the image knows how to come by it.
            let channels = match page.channels {
                Channels::First(_) => image.channels,
                channels => channels,
            };
            combine(&image.samples[pixels(image)..], channels, greys);
        }
        [] => {}
    }
}

/// Decodes one strip or tile.
fn part<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    page: &Page,
    span: Span,
    limits: &Limits,
) -> Result<Image, SegmentError> {
    if span.cut {
        let reason = format!("the file ends within part {} of the pixel data", span.index);
        return Err(SegmentError::truncated(FORMAT, reason));
    }
    limits.check_buffer(span.length)?;
    let own = source.bytes_at(span.at, span.length)?;
    // The common tables are a JPEG without an image: what stands between its two markers belongs behind the first
    // marker of every part (TIFF Technical Note 2).
    let tables = page
        .jpeg_tables
        .get(..page.jpeg_tables.len().saturating_sub(MARKER_BYTES));
    let file = match tables {
        Some(tables) if !tables.is_empty() && own.len() > MARKER_BYTES => {
            [tables, &own[MARKER_BYTES..]].concat()
        }
        _ => own,
    };
    let colors = match page.channels {
        // YCbCr, of which luma is wanted, or grey.
        Channels::First(_) => Colors::Luminance,
        Channels::Color(_) | Channels::Inks(_) => Colors::AsStored,
    };
    let image = Image::read(file, limits, colors, FORMAT)?;
    let (components, wanted) = (image.channels.step(), page.step());
    if colors == Colors::AsStored && components != wanted {
        let reason = format!("{components} components where there must be {wanted}");
        return Err(SegmentError::damaged(FORMAT, reason));
    }
    Ok(image)
}

fn too_small(span: Span, size: (usize, usize), wanted: (usize, usize)) -> SegmentError {
    let reason = format!(
        "part {} of the pixel data has {} × {} pixels where there must be {} × {}",
        span.index, size.0, size.1, wanted.0, wanted.1
    );
    SegmentError::damaged(FORMAT, reason)
}
