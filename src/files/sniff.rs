//! The kind of a picture by its first bytes; a client's word for it counts for nothing.

/// Bytes that [`sniff`] needs to see.
pub(super) const SNIFFED_BYTES: usize = 16;

/// A kind of picture that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// TIFF 6.0 with 32-bit offsets; OME-TIFF and many microscopes' formats are TIFFs.
    Tiff,
    /// TIFF with 64-bit offsets.
    BigTiff,
}

impl MediaType {
    /// The registered media type; BigTIFF has none of its own.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Bmp => "image/bmp",
            Self::Tiff | Self::BigTiff => "image/tiff",
        }
    }
}

/// The kind of picture that begins with `first`; at least 16 bytes where the file has them.
///
/// Signatures: PNG specification §5.2; ITU-T T.81 (SOI, then a marker); TIFF 6.0 §2 and the BigTIFF design (version
/// 43, 8-byte offsets); BITMAPFILEHEADER ("BM", two reserved words that are 0).
pub fn sniff(first: &[u8]) -> Option<MediaType> {
    match first {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(MediaType::Png),
        [0xff, 0xd8, 0xff, ..] => Some(MediaType::Jpeg),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(MediaType::Tiff),
        [b'I', b'I', 43, 0, 8, 0, 0, 0, ..] | [b'M', b'M', 0, 43, 0, 8, 0, 0, ..] => {
            Some(MediaType::BigTiff)
        }
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(MediaType::Bmp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn pictures_of_the_image_crate_are_recognised() {
        use image::ImageFormat::{Bmp, Jpeg, Png};
        let picture = image::DynamicImage::new_luma8(3, 2);
        for (format, expected) in [
            (Png, MediaType::Png),
            (Jpeg, MediaType::Jpeg),
            (Bmp, MediaType::Bmp),
        ] {
            let mut file = Cursor::new(Vec::new());
            picture.write_to(&mut file, format).unwrap();
            assert_eq!(sniff(file.get_ref()), Some(expected));
        }
    }

    #[test]
    fn tiffs_of_the_tiff_crate_are_recognised() {
        use tiff::encoder::{TiffEncoder, TiffKindBig, TiffKindStandard, colortype::Gray8};
        let mut small = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::<_, TiffKindStandard>::new_generic(&mut small).unwrap();
        encoder.write_image::<Gray8>(1, 1, &[7]).unwrap();
        assert_eq!(sniff(small.get_ref()), Some(MediaType::Tiff));
        let mut big = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::<_, TiffKindBig>::new_generic(&mut big).unwrap();
        encoder.write_image::<Gray8>(1, 1, &[7]).unwrap();
        assert_eq!(sniff(big.get_ref()), Some(MediaType::BigTiff));
    }

    #[test]
    fn other_bytes_are_not_pictures() {
        for bytes in [
            &b""[..],
            b"BM",
            b"<svg>",
            b"GIF89a",
            b"%PDF-1.7",
            b"II",
            b"BMW drives on, and on",
        ] {
            assert_eq!(sniff(bytes), None, "{bytes:?}");
        }
    }
}
