//! The files of `tests/golden/images`, which other programs' encoders made: each holds the same picture.

use std::io::Cursor;

use super::*;
use crate::segment::Samples;

const WIDTH: u32 = 24;
const HEIGHT: u32 = 16;

macro_rules! files {
    ($($name:literal)*) => {
        /// Every file with its name.
        pub(super) const FILES: &[(&str, &[u8])] = &[
            $(($name, include_bytes!(concat!("../../../tests/golden/images/", $name)))),*
        ];
    };
}

files! {
    "cmyk.jpg"
    "cmyk.tif"
    "deflate_float_predictor.tif"
    "four_bits.png"
    "half_float_predictor.tif"
    "imagej_stack_one_directory.tif"
    "interlaced_palette.png"
    "interlaced_rgb16.png"
    "jpeg_common_tables.tif"
    "jpeg_ycbcr_tiles.tif"
    "lzw_tiles_big_endian.tif"
    "masks_top_down.bmp"
    "packbits_double.tif"
    "pages.ome.tif"
    "palette_packbits.tif"
    "planes_lzw.tif"
    "progressive.jpg"
    "rgb.jpg"
    "rgb_alpha_tiles.tif"
    "rows_share_chroma.jpg"
    "runs.bmp"
    "signed.tif"
    "small_copies.tif"
    "subsampled_restarts.jpg"
    "twelve_bits.tif"
    "white_is_zero.tif"
    "ycbcr_blocks.tif"
    "zstd_big_tiff.tif"
}

fn page(name: &str, page: u32) -> Raster {
    let (_, file) = FILES.iter().find(|file| file.0 == name).unwrap();
    decode(&mut Cursor::new(file), page, &Limits::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The picture's grey at every place.
fn greys() -> impl Iterator<Item = u8> {
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (9 * x + 2 * y) as u8))
}

#[test]
fn eight_bits_are_exact() {
    let expected = Samples::U8(greys().collect());
    for name in [
        "cmyk.tif",
        "interlaced_palette.png",
        "masks_top_down.bmp",
        "palette_packbits.tif",
        "planes_lzw.tif",
        "rgb_alpha_tiles.tif",
        "runs.bmp",
        "white_is_zero.tif",
        "ycbcr_blocks.tif",
    ] {
        assert_eq!(page(name, 0).samples(), &expected, "{name}");
    }
    let coarse = greys().map(|grey| grey / 17 * 17).collect();
    assert_eq!(page("four_bits.png", 0).samples(), &Samples::U8(coarse));
}

#[test]
fn up_to_sixteen_bits_are_exact() {
    let words = |shift: u32| Samples::U16(greys().map(|g| (u16::from(g) * 257) >> shift).collect());
    for name in [
        "interlaced_rgb16.png",
        "lzw_tiles_big_endian.tif",
        "zstd_big_tiff.tif",
    ] {
        assert_eq!(page(name, 0).samples(), &words(0), "{name}");
    }
    assert_eq!(page("twelve_bits.tif", 0).samples(), &words(4));
}

#[test]
fn reals_and_signed_numbers_are_exact() {
    let reals = |real: fn(f32) -> f32| Samples::F32(greys().map(|g| real(g.into())).collect());
    for name in ["deflate_float_predictor.tif", "half_float_predictor.tif"] {
        assert_eq!(page(name, 0).samples(), &reals(|grey| grey / 4.0), "{name}");
    }
    assert_eq!(
        page("packbits_double.tif", 0).samples(),
        &reals(|grey| grey)
    );
    assert_eq!(
        page("signed.tif", 0).samples(),
        &reals(|grey| grey * 257.0 - 40_000.0)
    );
}

#[test]
fn jpegs_are_as_near_as_their_quality() {
    for name in [
        "cmyk.jpg",
        "jpeg_common_tables.tif",
        "jpeg_ycbcr_tiles.tif",
        "progressive.jpg",
        "rgb.jpg",
        "rows_share_chroma.jpg",
        "subsampled_restarts.jpg",
    ] {
        let raster = page(name, 0);
        for (index, grey) in greys().enumerate() {
            let (x, y) = (index as u32 % WIDTH, index as u32 / WIDTH);
            let difference = (raster.at(x, y) - f32::from(grey)).abs();
            assert!(difference <= 3.0, "{name} at {x}, {y}: {difference}");
        }
    }
}

#[test]
fn stacks_have_all_their_pages() {
    for (name, pages) in [
        ("imagej_stack_one_directory.tif", 3),
        ("pages.ome.tif", 3),
        ("small_copies.tif", 2),
    ] {
        let (_, file) = FILES.iter().find(|file| file.0 == name).unwrap();
        let found = inspect(&mut Cursor::new(file), &Limits::default()).unwrap();
        assert_eq!((found.pages, found.width), (pages, WIDTH), "{name}");
        for number in 0..pages {
            let expected = greys().map(|grey| grey + number as u8).collect();
            let raster = page(name, number);
            assert_eq!(raster.samples(), &Samples::U8(expected), "{name}");
            assert_eq!(
                raster.pixel_size, found.pixel_size,
                "{name}: the first describes all"
            );
        }
        let behind = decode(&mut Cursor::new(file), pages, &Limits::default());
        assert!(
            matches!(behind, Err(SegmentError::NoSuchPage { .. })),
            "{name}"
        );
    }
    let size = |name: &str| page(name, 1).pixel_size.map(|size| (size.x_um, size.y_um));
    assert_eq!(size("imagej_stack_one_directory.tif"), Some((0.5, 0.25)));
    assert_eq!(size("pages.ome.tif"), Some((0.65, 0.65)));
}
