//! Any bytes as an image file: whatever they are, the answer is a picture as large as the header says or an error in
//! words, in bounded time and memory.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use spheroctl_fuzz::segment::{Limits, decode, inspect};

/// Small enough that a lying header costs the fuzzer little time.
const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
    max_side_px: 1 << 16,
    max_pixels_per_byte: 10_000,
    max_pages: 100,
    max_buffer_bytes: 1 << 24,
};

fuzz_target!(|bytes: &[u8]| {
    let inspected = inspect(&mut Cursor::new(bytes), &LIMITS);
    let mut page = 0;
    // Every page, and the one behind the last.
    loop {
        match decode(&mut Cursor::new(bytes), page, &LIMITS) {
            Ok(raster) => {
                let header = inspected
                    .as_ref()
                    .expect("what can be decoded can be inspected");
                assert!(page < header.pages, "page {page} of {}", header.pages);
                if page == 0 {
                    assert_eq!(
                        (raster.width(), raster.height()),
                        (header.width, header.height)
                    );
                }
                assert_eq!(raster.samples().len() as u64, raster.pixels());
                assert!(
                    raster
                        .at(raster.width() - 1, raster.height() - 1)
                        .is_finite()
                );
            }
            Err(error) => {
                // A panic in a decoder, which `decode` reports as an error, ends the fuzzer before.
                assert!(!error.to_string().is_empty());
            }
        }
        page += 1;
        if page > 3 || !inspected.as_ref().is_ok_and(|header| page <= header.pages) {
            break;
        }
    }
});
