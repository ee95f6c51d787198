//! TIFFs put together by hand.

use std::io::Cursor;

use crate::segment::decode::decode;
use crate::segment::decode::tests::{page, raw_tiff, read};
use crate::segment::inspect::{Limits, inspect};
use crate::segment::{Samples, SegmentError};

type Tags = Vec<(u16, u16, u32, u32)>;

/// The tags of a page of 4 × 2 pixels with 8 bits, changed.
fn changed(change: impl FnOnce(&mut Tags)) -> Result<Samples, SegmentError> {
    let mut tags = page(4, 2, 8, 1, 8);
    change(&mut tags);
    tags.sort_by_key(|tag| tag.0);
    read(&raw_tiff(false, &[1, 2, 3, 4, 5, 6, 7, 8], &tags)).map(|raster| raster.samples().clone())
}

fn set(tags: &mut Tags, tag: u16, value: u32) {
    tags.retain(|entry| entry.0 != tag);
    tags.push((tag, 3, 1, value));
}

fn refusal(change: impl FnOnce(&mut Tags)) -> String {
    changed(change).unwrap_err().to_string()
}

#[test]
fn the_lowest_bit_may_come_first() {
    let bytes = (1_u8..=8).map(u8::reverse_bits).collect();
    assert_eq!(
        changed(|tags| set(tags, 266, 2)).unwrap(),
        Samples::U8(bytes)
    );
}

#[test]
fn what_may_be_left_out_is_made_up() {
    let expected = Samples::U8((1..=8).collect());
    for tag in [259, 262, 277, 278, 279] {
        let found = changed(|tags| tags.retain(|entry| entry.0 != tag));
        assert_eq!(found.unwrap(), expected, "without tag {tag}");
    }
    assert_eq!(
        changed(|tags| set(tags, 279, 0)).unwrap(),
        expected,
        "a count of 0"
    );
}

#[test]
fn features_that_are_not_read_are_named() {
    for (tag, value, reason) in [
        (259, 34_712, "JPEG 2000 compression (34712)"),
        (259, 4, "CCITT compression (4)"),
        (259, 6, "old-style JPEG"),
        (259, 60_000, "unknown compression (60000)"),
        (262, 32_803, "colour filter array"),
        (317, 34_892, "predictor 34892"),
        (317, 3, "the Float predictor on 8-bit unsigned samples"),
        (339, 6, "complex samples"),
        (339, 3, "8-bit float samples"),
        (258, 24, "24-bit unsigned samples"),
    ] {
        let text = refusal(|tags| set(tags, tag, value));
        assert!(
            text.starts_with("TIFF feature not supported") && text.contains(reason),
            "{tag} = {value}: {text}"
        );
    }
}

#[test]
fn nonsense_is_named() {
    for (tag, value, reason) in [
        (277, 0, "0 samples per pixel"),
        (277, 65, "65 samples per pixel"),
        (278, 0, "strips of 0 rows"),
        (278, 1, "1 strips where there must be 2"),
        (
            279,
            7,
            "part 0 of the pixel data has 7 bytes, its size asks for 8",
        ),
        (262, 2, "RGB of 1 samples"),
        (262, 3, "a palette image without its palette"),
        (273, 9_000, "begins at 9000, behind the file's end"),
    ] {
        let text = refusal(|tags| set(tags, tag, value));
        assert!(text.contains(reason), "{tag} = {value}: {text}");
    }
    let text = refusal(|tags| tags.retain(|entry| entry.0 != 273));
    assert!(text.contains("0 strips where there must be 1"), "{text}");
    let text = refusal(|tags| tags.extend([(322, 4, 1, 100_000), (323, 4, 1, 16)]));
    assert!(text.contains("tiles of"), "{text}");
}

#[test]
fn compressed_data_that_end_too_early_are_refused() {
    // PackBits: a run of three, then nothing.
    let mut tags = page(4, 2, 8, 1, 2);
    set(&mut tags, 259, 32_773);
    tags.sort_by_key(|tag| tag.0);
    let text = read(&raw_tiff(false, &[0xFE, 9], &tags))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("at least 5 bytes of them are missing"),
        "{text}"
    );
}

#[test]
fn tiles_that_only_take_time_are_refused() {
    // A column of 60000 pixels in tiles of 65536 columns, each a few bytes long.
    let mut tags = page(1, 60_000, 8, 1, 8);
    tags.retain(|entry| ![273, 278, 279].contains(&entry.0));
    set(&mut tags, 259, 8);
    tags.extend([
        (322, 4, 1, 65_536),
        (323, 4, 1, 60_000),
        (324, 4, 1, 8),
        (325, 4, 1, 8),
    ]);
    tags.sort_by_key(|tag| tag.0);
    let limits = Limits {
        max_pixels: 1 << 20,
        ..Limits::default()
    };
    let file = raw_tiff(false, &[0x78, 0x9C, 0, 0, 0, 0, 0, 0], &tags);
    let error = decode(&mut Cursor::new(file), 0, &limits).unwrap_err();
    assert!(matches!(error, SegmentError::TooMuchData { .. }), "{error}");
}

#[test]
fn a_stack_that_is_cut_says_so_and_a_single_slice_of_one_is_a_page() {
    // Slices of 1000 bytes, longer than all that stands behind them.
    let slices = |count: usize| {
        let text = b"ImageJ=1.54f\nimages=4\nslices=4\n\0";
        let mut data = vec![7; 1000 * count];
        let mut tags = page(40, 25, 8, 1, 1000);
        tags.push((270, 2, text.len() as u32, 8 + data.len() as u32));
        tags.sort_by_key(|tag| tag.0);
        data.extend(text);
        let file = raw_tiff(false, &data, &tags);
        inspect(&mut Cursor::new(file), &Limits::default()).map(|found| found.pages)
    };
    assert_eq!(slices(4).unwrap(), 4);
    assert_eq!(slices(1).unwrap(), 1);
    let text = slices(3).unwrap_err().to_string();
    assert!(
        text.contains("4 slices of 1000 bytes, room for 3"),
        "{text}"
    );
}
