//! Files that are cut, lie or were changed: each is refused with a reason, none brings a decoder down.

use std::io::{Cursor, Read};

use ::tiff::encoder::colortype::Gray8;
use ::tiff::encoder::{Compression, DeflateLevel};
use image::ExtendedColorType;
use proptest::prelude::*;

use super::golden::FILES;
use super::tests::{bmp, jpeg, page, plain_tiff, png, ramp, raw_tiff, read, tiff};
use super::*;

fn refusal(file: &[u8]) -> String {
    match read(file) {
        Ok(raster) => panic!("read as {} × {}", raster.width(), raster.height()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_image_is_named() {
    assert_eq!(refusal(b""), "the file is empty");
    let text = refusal(b"well,area\nA1,300\n");
    assert!(
        text.contains("not an image") && text.contains("well,area"),
        "{text}"
    );
    assert!(refusal(&[0, 1, 2, 3]).contains("00 01 02 03"));
}

#[test]
fn a_file_cut_anywhere_is_refused_with_a_reason() {
    let deflate = tiff::<Gray8>(Compression::Deflate(DeflateLevel::Fast), &ramp());
    let files = [
        ("PNG", png(ExtendedColorType::L8, &ramp())),
        ("JPEG", jpeg()),
        ("BMP", bmp()),
        ("TIFF", plain_tiff()),
        ("TIFF", deflate),
    ];
    for (format, file) in files {
        for percent in [1, 5, 20, 50, 80, 95] {
            let cut = &file[..(file.len() * percent / 100).max(8)];
            let text = refusal(cut);
            assert!(text.contains(format), "{format} at {percent} %: {text}");
        }
    }
}

/// Files are small and limits tight, so that what lies about its size costs no time.
const TIGHT: Limits = Limits {
    max_pixels: 1 << 20,
    max_side_px: 1 << 16,
    max_pixels_per_byte: 10_000,
    max_pages: 100,
    max_buffer_bytes: 1 << 24,
};

/// Decodes; a panic inside a decoder is a failure here, though it is reported as an error.
fn attempt(file: &[u8], what: impl Fn() -> String) -> Option<Raster> {
    match decode(&mut Cursor::new(file), 0, &TIGHT) {
        Ok(raster) => Some(raster),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains("gave up"), "{}: a decoder panicked", what());
            None
        }
    }
}

#[test]
fn a_file_cut_behind_any_byte_is_refused_or_loses_nothing() {
    for (name, file) in FILES {
        let whole = read(file).unwrap();
        for length in 0..file.len() {
            let cut = attempt(&file[..length], || format!("{name} cut at {length}"));
            if let Some(raster) = cut {
                assert_eq!(raster.samples(), whole.samples(), "{name} cut at {length}");
            }
        }
    }
}

#[test]
fn flipped_bits_bring_no_decoder_down() {
    // A fixed sequence (Knuth's MMIX generator), so that a failure comes again.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, file) in FILES {
        for _round in 0..300 {
            let mut flipped = file.to_vec();
            let places: Vec<usize> = (0..=random(3)).map(|_| random(8 * file.len())).collect();
            for place in &places {
                flipped[place / 8] ^= 1 << (place % 8);
            }
            if let Some(raster) = attempt(&flipped, || format!("{name} flipped at {places:?}")) {
                assert_eq!(raster.samples().len() as u64, raster.pixels(), "{name}");
            }
        }
    }
}

#[test]
fn a_lying_header_is_refused_before_memory_is_taken() {
    let mut lying = png(ExtendedColorType::L8, &ramp());
    lying[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    assert!(refusal(&lying).contains("30000 × 30000 pixels are 900000000"));
    lying[16..24].copy_from_slice(&[0, 0, 0x3F, 0, 0, 0, 0x3F, 0]);
    assert!(refusal(&lying).contains("decompression bomb"));
    lying[16..24].copy_from_slice(&[0x7F, 0, 0, 0, 0, 0, 0, 1]);
    assert!(refusal(&lying).contains("a side may have at most 100000"));
    lying[16..24].fill(0);
    assert!(refusal(&lying).contains("0 × 0"));

    let mut bmp = bmp();
    bmp.truncate(54);
    bmp[18..26].copy_from_slice(&[0x60, 0x27, 0, 0, 0x60, 0x27, 0, 0]);
    assert!(refusal(&bmp).contains("decompression bomb"));

    let absurd = raw_tiff(false, &[0; 64], &page(65_000, 6_000, 16, 1, 64));
    assert!(refusal(&absurd).contains("decompression bomb"));
    let short = raw_tiff(false, &[0; 64], &page(400, 400, 16, 1, 64));
    assert!(refusal(&short).contains("its size asks for 320000"));
}

#[test]
fn a_jpeg_whose_data_end_too_early_is_refused_though_its_end_is_marked() {
    let file = jpeg();
    let scan = file
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDA])
        .unwrap()
        + 14;
    for percent in [10, 50, 90] {
        let mut cut = file[..scan + (file.len() - scan) * percent / 100].to_vec();
        // Not within a marker.
        while cut.last() == Some(&0xFF) {
            cut.pop();
        }
        cut.extend([0xFF, 0xD9]);
        assert!(refusal(&cut).contains("JPEG"), "{percent} %");
    }
    let mut lying = file.clone();
    let frame = file
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    lying[frame + 5..frame + 9].copy_from_slice(&[4, 0, 4, 0]);
    assert!(refusal(&lying).contains("bytes of image data for 1024 × 1024 pixels"));
}

#[test]
fn broken_directories_are_refused() {
    // The directory after the first is the first.
    let mut cyclic = plain_tiff();
    let first = u32::from_le_bytes([cyclic[4], cyclic[5], cyclic[6], cyclic[7]]) as usize;
    let count = usize::from(u16::from_le_bytes([cyclic[first], cyclic[first + 1]]));
    let next = first + 2 + 12 * count;
    cyclic[next..next + 4].copy_from_slice(&(first as u32).to_le_bytes());
    assert!(refusal(&cyclic).contains("circle"));

    let mut outside = page(4, 4, 8, 1, 16);
    outside[5].3 = 4_000_000_000;
    assert!(refusal(&raw_tiff(false, &[0; 16], &outside)).contains("begins at 4000000000"));

    let no_size = &page(4, 4, 8, 1, 16)[1..];
    assert!(refusal(&raw_tiff(false, &[0; 16], no_size)).contains("no width"));
    let mut zero = page(4, 4, 8, 1, 16);
    zero[1].3 = 0;
    assert!(refusal(&raw_tiff(false, &[0; 16], &zero)).contains("height is 0"));

    let many = Limits {
        max_pages: 0,
        ..Limits::default()
    };
    let error = decode(&mut Cursor::new(plain_tiff()), 0, &many).unwrap_err();
    assert_eq!(error.to_string(), "more than 0 pages");
}

#[test]
fn a_reader_that_fails_is_an_error_of_its_own() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
            Ok(0)
        }
    }
    let mut reader = std::io::BufReader::new(Failing);
    let error = decode(&mut reader, 0, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_changed_byte_makes_a_decoder_panic(
        which in 0_usize..6,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = match which {
            0 => png(ExtendedColorType::L8, &ramp()),
            1 => jpeg(),
            2 => bmp(),
            3 => plain_tiff(),
            4 => tiff::<Gray8>(Compression::Lzw, &ramp()),
            _ => tiff::<Gray8>(Compression::Packbits, &ramp()),
        };
        for (at, value) in changes {
            // Mostly in the header, where it hurts.
            let at = at.index(file.len().min(400));
            file[at] = value;
        }
        let limits = Limits { max_pixels: 4_000_000, ..Limits::default() };
        if let Err(error) = decode(&mut Cursor::new(&file), 0, &limits) {
            prop_assert!(!error.to_string().contains("gave up"), "a decoder panicked: {error}");
        }
    }
}
