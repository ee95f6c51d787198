//! Files of every kind we say we read, and broken ones, all made here.

use std::io::{Cursor, Read};

use ::tiff::encoder::colortype::{ColorType, Gray8, Gray16, Gray32Float, RGB8, RGB16};
use ::tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, TiffValue};
use ::tiff::tags::Tag;
use image::codecs::{bmp::BmpEncoder, jpeg::JpegEncoder, png::PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use proptest::prelude::*;

use super::*;
use crate::segment::Samples;

const WIDTH: u32 = 60;
const HEIGHT: u32 = 44;

fn ramp() -> Vec<u8> {
    (0..WIDTH * HEIGHT)
        .map(|index| (index * 7 % 256) as u8)
        .collect()
}

fn read(file: &[u8]) -> Result<Raster, SegmentError> {
    decode(&mut Cursor::new(file), 0, &Limits::default())
}

fn refusal(file: &[u8]) -> String {
    match read(file) {
        Ok(raster) => panic!("read as {} × {}", raster.width(), raster.height()),
        Err(error) => error.to_string(),
    }
}

fn png(color: ExtendedColorType, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file)
        .write_image(bytes, WIDTH, HEIGHT, color)
        .unwrap();
    file
}

fn jpeg() -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder
        .write_image(&ramp(), WIDTH, HEIGHT, ExtendedColorType::L8)
        .unwrap();
    file
}

fn bmp() -> Vec<u8> {
    let mut file = Vec::new();
    BmpEncoder::new(&mut file)
        .encode(&ramp(), WIDTH, HEIGHT, ExtendedColorType::L8)
        .unwrap();
    file
}

fn tiff<C: ColorType>(compression: Compression, values: &[C::Inner]) -> Vec<u8>
where
    [C::Inner]: TiffValue,
{
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file)
        .unwrap()
        .with_compression(compression);
    encoder.write_image::<C>(WIDTH, HEIGHT, values).unwrap();
    file.into_inner()
}

fn plain_tiff() -> Vec<u8> {
    tiff::<Gray8>(Compression::Uncompressed, &ramp())
}

/// A TIFF by hand: any byte order, classic tags of type SHORT or LONG, then the data at offset 8.
fn raw_tiff(big_endian: bool, data: &[u8], tags: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let two = |value: u16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let four = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut file = if big_endian {
        b"MM".to_vec()
    } else {
        b"II".to_vec()
    };
    file.extend(two(42));
    file.extend(four(8 + data.len() as u32));
    file.extend(data);
    file.extend(two(tags.len() as u16));
    for (tag, kind, count, value) in tags {
        file.extend(two(*tag));
        file.extend(two(*kind));
        file.extend(four(*count));
        if *kind == 3 && *count == 1 {
            file.extend(two(*value as u16));
            file.extend([0, 0]);
        } else {
            file.extend(four(*value));
        }
    }
    file.extend(four(0));
    file
}

/// Tags of an uncompressed one-strip page of `width` × `height` with so many bits and this photometric interpretation.
fn page(
    width: u32,
    height: u32,
    bits: u32,
    photometric: u32,
    bytes: u32,
) -> Vec<(u16, u16, u32, u32)> {
    vec![
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, bytes),
    ]
}

#[test]
fn png_in_every_depth_keeps_its_values() {
    assert_eq!(
        read(&png(ExtendedColorType::L8, &ramp()))
            .unwrap()
            .samples(),
        &Samples::U8(ramp())
    );
    let words: Vec<u16> = ramp().iter().map(|value| u16::from(*value) * 200).collect();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(
        read(&png(ExtendedColorType::L16, &bytes))
            .unwrap()
            .samples(),
        &Samples::U16(words)
    );
    let rgba: Vec<u8> = ramp()
        .iter()
        .flat_map(|value| [*value, *value, *value, 9])
        .collect();
    assert_eq!(
        read(&png(ExtendedColorType::Rgba8, &rgba))
            .unwrap()
            .samples(),
        &Samples::U8(ramp())
    );
}

#[test]
fn jpeg_and_bmp_are_read() {
    assert_eq!(read(&bmp()).unwrap().samples(), &Samples::U8(ramp()));
    let raster = read(&jpeg()).unwrap();
    assert_eq!((raster.width(), raster.height()), (WIDTH, HEIGHT));
    assert!((raster.at(30, 20) - f32::from(ramp()[20 * 60 + 30])).abs() < 40.0);
}

#[test]
fn tiff_in_every_compression_keeps_its_values() {
    let deflate = Compression::Deflate(DeflateLevel::Balanced);
    for compression in [
        Compression::Uncompressed,
        Compression::Lzw,
        deflate,
        Compression::Packbits,
    ] {
        let file = tiff::<Gray8>(compression, &ramp());
        assert_eq!(read(&file).unwrap().samples(), &Samples::U8(ramp()));
    }
}

#[test]
fn tiff_in_every_type_keeps_its_values() {
    let words: Vec<u16> = ramp().iter().map(|value| u16::from(*value) * 256).collect();
    let file = tiff::<Gray16>(Compression::Lzw, &words);
    assert_eq!(read(&file).unwrap().samples(), &Samples::U16(words.clone()));

    let mut reals: Vec<f32> = ramp().iter().map(|value| f32::from(*value) / 3.0).collect();
    reals[5] = f32::NAN;
    let raster = read(&tiff::<Gray32Float>(Compression::Uncompressed, &reals)).unwrap();
    assert_eq!((raster.at(4, 0), raster.at(5, 0)), (reals[4], 0.0));

    let rgb: Vec<u8> = ramp().iter().flat_map(|value| [*value; 3]).collect();
    assert_eq!(
        read(&tiff::<RGB8>(Compression::Lzw, &rgb))
            .unwrap()
            .samples(),
        &Samples::U8(ramp())
    );
    let rgb: Vec<u16> = words.iter().flat_map(|value| [*value; 3]).collect();
    let file = tiff::<RGB16>(Compression::Uncompressed, &rgb);
    assert_eq!(read(&file).unwrap().samples(), &Samples::U16(words));
}

#[test]
fn big_tiff_and_big_endian_are_read() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new_big(&mut file)
        .unwrap()
        .with_predictor(Predictor::Horizontal);
    encoder
        .write_image::<Gray8>(WIDTH, HEIGHT, &ramp())
        .unwrap();
    assert_eq!(
        read(&file.into_inner()).unwrap().samples(),
        &Samples::U8(ramp())
    );

    let data: Vec<u8> = (0..12_u16)
        .flat_map(|value| (value * 1000).to_be_bytes())
        .collect();
    let file = raw_tiff(true, &data, &page(4, 3, 16, 1, 24));
    let values = (0..12).map(|value| value * 1000).collect();
    assert_eq!(read(&file).unwrap().samples(), &Samples::U16(values));
}

#[test]
fn bits_below_a_byte_are_unpacked() {
    // Two rows of three pixels with four bits each, rows on whole bytes.
    let file = raw_tiff(false, &[0x12, 0x30, 0xAB, 0xC0], &page(3, 2, 4, 1, 4));
    assert_eq!(
        read(&file).unwrap().samples(),
        &Samples::U8(vec![1, 2, 3, 10, 11, 12])
    );
}

#[test]
fn a_palette_is_looked_up() {
    for big_endian in [false, true] {
        let data = [3_u8, 0, 1, 2];
        let mut tags = page(2, 2, 8, 3, 4);
        let map_at = 8 + 4 + 2 + 12 * 10 + 4;
        tags.push((320, 3, 768, map_at));
        let mut file = raw_tiff(big_endian, &data, &tags);
        for _channel in 0..3 {
            for index in 0..256_u16 {
                let color = (index * 50).min(255) * 257;
                file.extend(if big_endian {
                    color.to_be_bytes()
                } else {
                    color.to_le_bytes()
                });
            }
        }
        assert_eq!(
            read(&file).unwrap().samples(),
            &Samples::U8(vec![150, 0, 50, 100])
        );
        let inspection = crate::segment::inspect(&mut Cursor::new(file), &Limits::default());
        assert_eq!((inspection.unwrap().width), 2);
    }
}

#[test]
fn pages_are_counted_from_zero_and_a_missing_one_is_named() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    for page in 1..=3_u8 {
        encoder.write_image::<Gray8>(2, 2, &[page; 4]).unwrap();
    }
    let mut file = Cursor::new(file.into_inner());
    let limits = Limits::default();
    for page in 0..3 {
        assert_eq!(
            decode(&mut file, page, &limits).unwrap().at(0, 0),
            page as f32 + 1.0
        );
    }
    let error = decode(&mut file, 3, &limits).unwrap_err().to_string();
    assert_eq!(error, "there is no page 3: the file has 3 (counted from 0)");
    assert_eq!(
        crate::segment::inspect(&mut file, &limits).unwrap().pages,
        3
    );
    let error = decode(
        &mut Cursor::new(png(ExtendedColorType::L8, &ramp())),
        1,
        &limits,
    );
    assert!(matches!(
        error,
        Err(SegmentError::NoSuchPage { page: 1, pages: 1 })
    ));
}

#[test]
fn the_header_alone_tells_size_and_pixel_size() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    let mut page = encoder.new_image::<Gray16>(3, 2).unwrap();
    page.encoder()
        .write_tag(Tag::ImageDescription, "ImageJ=1.53t\nunit=um\n")
        .unwrap();
    page.x_resolution(::tiff::encoder::Rational { n: 4, d: 1 });
    page.y_resolution(::tiff::encoder::Rational { n: 4, d: 1 });
    page.write_data(&[0; 6]).unwrap();
    let found = crate::segment::inspect(&mut file, &Limits::default()).unwrap();
    assert_eq!(
        (found.width, found.height, found.bits, found.pages),
        (3, 2, 16, 1)
    );
    assert_eq!(found.pixel_size.unwrap().x_um, 0.25);
    for (file, bits) in [
        (png(ExtendedColorType::L8, &ramp()), 8),
        (jpeg(), 8),
        (bmp(), 8),
    ] {
        let found = crate::segment::inspect(&mut Cursor::new(file), &Limits::default()).unwrap();
        assert_eq!(
            (found.width, found.height, found.bits),
            (WIDTH, HEIGHT, bits)
        );
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
    assert!(refusal(&short).contains("the pixel data have 320000 bytes"));
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
