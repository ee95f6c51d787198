//! BMPs put together by hand.

use crate::segment::Samples;
use crate::segment::decode::tests::read;

/// A file of 3 × 2 pixels with a Windows 3 header.
fn bmp(bits: u16, compression: u32, palette: &[[u8; 4]], data: &[u8]) -> Vec<u8> {
    let data_at = 54 + 4 * palette.len() as u32;
    let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
    for number in [data_at, 40, 3, 2] {
        file.extend(number.to_le_bytes());
    }
    file.extend(1_u16.to_le_bytes());
    file.extend(bits.to_le_bytes());
    for number in [compression, 0, 0, 0, palette.len() as u32, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend(palette.as_flattened());
    file.extend(data);
    file
}

const GREYS: [[u8; 4]; 3] = [[10, 10, 10, 0], [20, 20, 20, 0], [30, 30, 30, 0]];

fn refusal(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

#[test]
fn rows_run_from_the_bottom_up() {
    let file = bmp(8, 0, &GREYS, &[0, 1, 2, 0, 2, 2, 2, 0]);
    let expected = Samples::U8(vec![30, 30, 30, 10, 20, 30]);
    assert_eq!(read(&file).unwrap().samples(), &expected);
}

#[test]
fn a_colour_outside_the_palette_is_refused() {
    let text = refusal(&bmp(8, 0, &GREYS, &[0, 1, 2, 0, 3, 2, 2, 0]));
    assert!(text.contains("colour 3 of a palette of 3"), "{text}");
}

#[test]
fn what_is_jumped_over_has_the_first_colour() {
    // One pixel, a jump of one column and one row, one pixel, the end.
    let runs = [1, 2, 0, 2, 1, 1, 1, 1, 0, 1];
    let expected = Samples::U8(vec![10, 10, 20, 30, 10, 10]);
    assert_eq!(
        read(&bmp(8, 1, &GREYS, &runs)).unwrap().samples(),
        &expected
    );
}

#[test]
fn runs_stay_inside_the_image() {
    for runs in [
        &[4, 0, 0, 1][..],
        &[0, 2, 0, 9, 1, 1, 0, 1],
        &[0, 2, 9, 0, 1, 1, 0, 1],
    ] {
        let text = refusal(&bmp(8, 1, &GREYS, runs));
        assert!(
            text.contains("outside the image") || text.contains("more rows"),
            "{text}"
        );
    }
}

#[test]
fn features_that_are_not_read_are_named() {
    let text = refusal(&bmp(0, 4, &[], &[0; 40]));
    assert!(text.contains("JPEG compression (4)"), "{text}");
    let mut file = bmp(24, 0, &[], &[0; 40]);
    file[14] = 41;
    assert!(refusal(&file).contains("a header of 41 bytes"));
}

#[test]
fn pixel_data_longer_than_the_file_are_refused_before_memory_is_taken() {
    let mut file = bmp(24, 0, &[], &[0; 24]);
    file[18..22].copy_from_slice(&3000_u32.to_le_bytes());
    let text = refusal(&file);
    assert!(
        text.contains("the pixel data have 18000 bytes from 54 on, the file 78"),
        "{text}"
    );
}
