//! Files of every kind that is read, made here.

use std::io::Cursor;

use ::tiff::encoder::colortype::{ColorType, Gray8, Gray16, Gray32Float, RGB8, RGB16};
use ::tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, TiffValue};
use ::tiff::tags::Tag;
use image::codecs::{bmp::BmpEncoder, jpeg::JpegEncoder, png::PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::*;
use crate::segment::Samples;

const WIDTH: u32 = 60;
const HEIGHT: u32 = 44;

pub(super) fn ramp() -> Vec<u8> {
    (0..WIDTH * HEIGHT)
        .map(|index| (index * 7 % 256) as u8)
        .collect()
}

pub(super) fn read(file: &[u8]) -> Result<Raster, SegmentError> {
    decode(&mut Cursor::new(file), 0, &Limits::default())
}

pub(super) fn png(color: ExtendedColorType, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file)
        .write_image(bytes, WIDTH, HEIGHT, color)
        .unwrap();
    file
}

pub(super) fn jpeg() -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder
        .write_image(&ramp(), WIDTH, HEIGHT, ExtendedColorType::L8)
        .unwrap();
    file
}

pub(super) fn bmp() -> Vec<u8> {
    let mut file = Vec::new();
    BmpEncoder::new(&mut file)
        .encode(&ramp(), WIDTH, HEIGHT, ExtendedColorType::L8)
        .unwrap();
    file
}

pub(super) fn tiff<C: ColorType>(compression: Compression, values: &[C::Inner]) -> Vec<u8>
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

pub(super) fn plain_tiff() -> Vec<u8> {
    tiff::<Gray8>(Compression::Uncompressed, &ramp())
}

/// A TIFF by hand: any byte order, classic tags of type SHORT or LONG, then the data at offset 8.
pub(super) fn raw_tiff(big_endian: bool, data: &[u8], tags: &[(u16, u16, u32, u32)]) -> Vec<u8> {
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
pub(super) fn page(
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
        let inspection = inspect(&mut Cursor::new(file), &Limits::default());
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
    assert_eq!(inspect(&mut file, &limits).unwrap().pages, 3);
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
    let found = inspect(&mut file, &Limits::default()).unwrap();
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
        let found = inspect(&mut Cursor::new(file), &Limits::default()).unwrap();
        assert_eq!(
            (found.width, found.height, found.bits),
            (WIDTH, HEIGHT, bits)
        );
    }
}
