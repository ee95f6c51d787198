//! Any bitmap as labels: the outlines have exactly the labels' area, and filling them gives the labels back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spheroctl_fuzz::segment::outlines;

fuzz_target!(|bytes: &[u8]| {
    // The first byte is the width and how many labels there are, the others are pixels.
    let Some((head, pixels)) = bytes.split_first() else {
        return;
    };
    let width = usize::from(head & 31) + 1;
    let labels_max = u32::from(head >> 5) + 1;
    let height = pixels.len() / width;
    if height == 0 {
        return;
    }
    let labels: Vec<u32> = pixels[..width * height]
        .iter()
        .map(|pixel| u32::from(*pixel) % (labels_max + 1))
        .collect();
    let found = outlines(width as u32, height as u32, &labels).expect("as many labels as pixels");
    let mut again = vec![0; labels.len()];
    for outline in &found {
        let mut area = 0;
        outline
            .polygon
            .spans(width as u32, height as u32, |y, from, to| {
                area += to - from;
                let row = y as usize * width;
                for pixel in &mut again[row + from as usize..row + to as usize] {
                    assert_eq!(*pixel, 0, "a pixel in two outlines");
                    *pixel = outline.label;
                }
            });
        assert_eq!(outline.polygon.area(), f64::from(area));
        for ring in outline.polygon.rings() {
            let mut points: Vec<[i64; 2]> =
                ring.0.iter().map(|p| [p[0] as i64, p[1] as i64]).collect();
            points.sort_unstable();
            let all = points.len();
            points.dedup();
            assert_eq!(points.len(), all, "a ring passes a point twice");
        }
    }
    assert_eq!(again, labels);
});
