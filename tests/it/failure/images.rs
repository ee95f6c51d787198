//! Files that are not what they say: refused at the door where a look at the header suffices, else the end of their own
//! job and of nothing more.

use std::time::Duration;

use serde_json::Value;

use crate::support::app::text;
use crate::support::product::{Lab, Product};
use crate::support::{eventually, pictures};

/// What a worker may need for refusing a bad file, beyond what it needs for a good one.
const GROWTH_MAX: u64 = 128 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_images_end_alone() {
    let product = Product::embedded(&[]);
    let standalone = product.start("standalone", &[]).await;
    let lab = product.lab(&standalone).await;
    // A good one first: what any image costs is no growth.
    assert_eq!(
        job(&lab, "good.png", pictures::png(1)).await["status"],
        "completed"
    );
    let before = standalone.peak_memory();
    for (name, bytes, expected) in [
        ("text.tif", b"this is a letter, not an image".to_vec(), 415),
        ("empty.png", Vec::new(), 422),
        ("giant.png", one_colour_png(30_000, 30_000), 422),
        ("liar.png", header_only_png(60_000, 60_000), 422),
    ] {
        let (status, problem) = lab.try_upload(name, bytes).await;
        assert_eq!(status, expected, "{name}: {problem}");
        assert!(text(&problem["detail"]).contains(name), "{problem}");
    }
    let mut cut = pictures::png(2);
    cut.truncate(cut.len() / 2);
    let mut short = pictures::tiff(2);
    short.truncate(short.len() / 2);
    for (name, bytes) in [
        ("cut.png", cut),
        ("short.tif", short),
        ("hollow.png", header_only_png(15_000, 15_000)),
    ] {
        let (status, image) = lab.try_upload(name, bytes).await;
        if status != 201 {
            assert_eq!(status, 422, "{name}: {image}");
            assert!(text(&image["detail"]).contains(name), "{image}");
            println!("F13: {name} was refused at the door");
            continue;
        }
        let dead = end_of(&lab, &text(&image["id"])).await;
        assert_eq!(
            (&dead["status"], &dead["error"]["class"]),
            (&"dead".into(), &"bad_image".into()),
            "{dead}"
        );
        assert!(text(&dead["error"]["text"]).contains(name), "{dead}");
        println!(
            "F13: {} ({} attempt)",
            text(&dead["error"]["text"]),
            dead["attempt"]
        );
    }
    assert_eq!(
        job(&lab, "next.png", pictures::png(3)).await["status"],
        "completed"
    );
    let growth = standalone.peak_memory().saturating_sub(before);
    println!(
        "F13: peak memory {} MiB, grown by {} MiB",
        standalone.peak_memory() >> 20,
        growth >> 20
    );
    assert!(growth < GROWTH_MAX, "{growth}");
}

async fn job(lab: &Lab, name: &str, bytes: Vec<u8>) -> Value {
    let image = lab.upload(name, bytes).await;
    end_of(lab, &image).await
}

/// The job on an image, when it has ended.
async fn end_of(lab: &Lab, image: &str) -> Value {
    let id = lab.submit(image, 1).await.remove(0);
    let path = format!("/api/v1/jobs/{id}");
    let ended = async || {
        let status = text(&lab.get(&path).await["status"]);
        status != "queued" && status != "running"
    };
    eventually("the job ends", Duration::from_secs(60), ended).await;
    lab.get(&path).await
}

// === PNG by hand (PNG specification, third edition, 5 and 10): images too large to be drawn first ===

fn header_only_png(width: u32, height: u32) -> Vec<u8> {
    png(width, height, &[])
}

/// A grey image of one colour: one literal zero, then repetitions of it of the longest kind (RFC 1951, 3.2.6).
fn one_colour_png(width: u32, height: u32) -> Vec<u8> {
    const LONGEST: u64 = 258;
    let bytes = (u64::from(width) + 1) * u64::from(height);
    let mut bits = Bits::default();
    // The last block, with the fixed codes.
    bits.push(&[true, true, false]);
    let zero = [false, false, true, true, false, false, false, false];
    // Length 258 is symbol 285, distance 1 is symbol 0.
    let repeat = [
        true, true, false, false, false, true, false, true, false, false, false, false, false,
    ];
    bits.push(&zero);
    (0..(bytes - 1) / LONGEST).for_each(|_| bits.push(&repeat));
    (0..(bytes - 1) % LONGEST).for_each(|_| bits.push(&zero));
    bits.push(&[false; 7]);
    let mut stream = vec![0x78, 0x01];
    stream.extend(bits.bytes);
    // Adler-32 of zeros.
    let sum = u32::try_from(bytes % 65_521).expect("below 65,521") << 16 | 1;
    stream.extend(sum.to_be_bytes());
    png(width, height, &stream)
}

fn png(width: u32, height: u32, stream: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    // Eight bits, grey, deflate, filters, not interlaced.
    header.extend([8, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", header.as_slice()),
        (b"IDAT", stream),
        (b"IEND", &[]),
    ] {
        file.extend(
            u32::try_from(data.len())
                .expect("a short chunk")
                .to_be_bytes(),
        );
        let checked = [kind.as_slice(), data].concat();
        file.extend(&checked);
        file.extend(crc32(&checked).to_be_bytes());
    }
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Bits, the first in the lowest place of each byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, bits: &[bool]) {
        for bit in bits {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= u8::from(*bit) << (self.used % 8);
            self.used += 1;
        }
    }
}
