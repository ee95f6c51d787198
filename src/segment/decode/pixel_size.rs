//! The physical size of a pixel, from what microscopes and programs write into headers.

use std::io::{BufRead, Seek};

use crate::segment::{PixelSize, PixelSizeSource};

/// Sizes outside this range, in µm, are a screen's, a printer's or a mistake.
const PLAUSIBLE_UM: std::ops::RangeInclusive<f64> = 0.000_1..=10_000.0;

/// Most chunks looked at before a PNG's pixel data.
const PNG_CHUNKS_MAX: u32 = 64;

/// From a TIFF's description (OME-XML, then ImageJ) and else from its resolution tags.
///
/// `x` and `y` are pixels per unit; `unit` is ResolutionUnit: 2 inch (the default), 3 centimetre, 1 none.
pub fn of_tiff(
    description: &str,
    x: Option<f64>,
    y: Option<f64>,
    unit: Option<u64>,
) -> Option<PixelSize> {
    of_ome_xml(description)
        .or_else(|| of_imagej(description, x, y))
        .or_else(|| of_resolution(x, y, unit))
}

/// From a PNG's chunk pHYs; the reader stands behind IHDR. A header too odd to walk through has no pixel size.
pub fn of_png(reader: &mut (impl BufRead + Seek)) -> Option<PixelSize> {
    for _ in 0..PNG_CHUNKS_MAX {
        let mut head = [0; 8];
        reader.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        match &head[4..] {
            b"pHYs" => {
                let mut body = [0; 9];
                reader.read_exact(&mut body).ok()?;
                let per_metre = |at: usize| {
                    f64::from(u32::from_be_bytes([
                        body[at],
                        body[at + 1],
                        body[at + 2],
                        body[at + 3],
                    ]))
                };
                let metres = body[8] == 1;
                return metres
                    .then(|| (1e6 / per_metre(0), 1e6 / per_metre(4)))
                    .and_then(|(x_um, y_um)| checked(x_um, y_um, PixelSizeSource::Resolution));
            }
            b"IDAT" | b"IEND" => return None,
            _ => reader.seek_relative(i64::from(length) + 4).ok()?,
        }
    }
    None
}

/// `PhysicalSizeX`, `PhysicalSizeY` and their units (default µm) of the first `Pixels` element, after the OME schema.
fn of_ome_xml(description: &str) -> Option<PixelSize> {
    if !description.contains("<OME") {
        return None;
    }
    // The schema's elements may carry its prefix.
    let start = description
        .find("<Pixels")
        .or_else(|| description.find("<OME:Pixels"))?;
    let element = &description[start..];
    let element = &element[..element.find('>')?];
    let size = |axis: &str| {
        let value: f64 = attribute(element, &format!("PhysicalSize{axis}"))?
            .parse()
            .ok()?;
        let unit = attribute(element, &format!("PhysicalSize{axis}Unit"));
        Some(value * micrometres_per(unit.unwrap_or("µm"))?)
    };
    let x_um = size("X")?;
    checked(x_um, size("Y").unwrap_or(x_um), PixelSizeSource::OmeXml)
}

/// The value of an attribute, in either kind of quotes.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let after_space = |(at, _): &(usize, &str)| element[..*at].ends_with(char::is_whitespace);
    element
        .match_indices(name)
        .filter(after_space)
        .find_map(|(at, _)| {
            let value = element[at + name.len()..].trim_start().strip_prefix('=')?;
            let value = value.trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            value[1..].split_once(quote).map(|(value, _)| value)
        })
}

/// ImageJ writes `unit=…` into the description and pixels per that unit into the resolution tags.
fn of_imagej(description: &str, x: Option<f64>, y: Option<f64>) -> Option<PixelSize> {
    if !description.starts_with("ImageJ=") {
        return None;
    }
    let unit_um = |key: &str| {
        let value = description
            .lines()
            .find_map(|line| line.strip_prefix(key))?;
        micrometres_per(value.trim())
    };
    let x_unit_um = unit_um("unit=")?;
    let x = x?;
    checked(
        edge_um(x_unit_um, x),
        // Only written where it is another one.
        edge_um(unit_um("yunit=").unwrap_or(x_unit_um), y.unwrap_or(x)),
        PixelSizeSource::Imagej,
    )
}

/// Edge length of a pixel where so many fit into the unit. Resolutions are quotients of whole numbers; what lies below a
/// picometre is rounding, and 0.65 is to be 0.65.
fn edge_um(unit_um: f64, pixels_per_unit: f64) -> f64 {
    (unit_um / pixels_per_unit * 1e6).round() / 1e6
}

fn of_resolution(x: Option<f64>, y: Option<f64>, unit: Option<u64>) -> Option<PixelSize> {
    let unit_um = match unit.unwrap_or(2) {
        2 => 25_400.0,
        3 => 10_000.0,
        _ => return None,
    };
    let x = x?;
    checked(
        edge_um(unit_um, x),
        edge_um(unit_um, y.unwrap_or(x)),
        PixelSizeSource::Resolution,
    )
}

/// ImageJ escapes µ as `\u00B5`, XML by its number; a file in Latin-1 arrives with the replacement character in its place.
fn micrometres_per(unit: &str) -> Option<f64> {
    Some(match unit {
        "um" | "µm" | "μm" | "\\u00B5m" | "\u{FFFD}m" | "&#181;m" | "&#xB5;m" | "&#956;m"
        | "micron" | "microns" | "micrometer" => 1.0,
        "Å" => 1e-4,
        "nm" => 1e-3,
        "mm" => 1e3,
        "cm" => 1e4,
        "m" => 1e6,
        "inch" | "in" => 25_400.0,
        _ => return None,
    })
}

fn checked(x_um: f64, y_um: f64, source: PixelSizeSource) -> Option<PixelSize> {
    let plausible = PLAUSIBLE_UM.contains(&x_um) && PLAUSIBLE_UM.contains(&y_um);
    plausible.then_some(PixelSize { x_um, y_um, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ome_xml_comes_first_and_knows_units() {
        let xml = r#"<OME><Image><Pixels ID="Pixels:0" PhysicalSizeX="650" PhysicalSizeXUnit="nm" PhysicalSizeY="0.65"/></Image></OME>"#;
        let size = of_tiff(xml, Some(72.0), Some(72.0), Some(2)).unwrap();
        assert_eq!(
            (size.x_um, size.y_um, size.source),
            (0.65, 0.65, PixelSizeSource::OmeXml)
        );
    }

    #[test]
    fn imagej_divides_its_unit_by_the_resolution() {
        let text = "ImageJ=1.53t\nunit=\\u00B5m\nmin=0.0\n";
        let size = of_tiff(text, Some(2.0), Some(4.0), Some(1)).unwrap();
        assert_eq!(
            (size.x_um, size.y_um, size.source),
            (0.5, 0.25, PixelSizeSource::Imagej)
        );
        assert!(size.trusted());
    }

    #[test]
    fn writers_differ_in_prefix_quotes_and_unit() {
        for xml in [
            r#"<OME:OME><OME:Pixels PhysicalSizeX="0.5" PhysicalSizeY="0.5">"#,
            "<OME><Pixels\n PhysicalSizeX='0.5'\n PhysicalSizeXUnit='&#181;m'>",
            r#"<OME><Pixels PhysicalSizeX = "5000" PhysicalSizeXUnit="Å" PhysicalSizeY="500" PhysicalSizeYUnit="nm">"#,
        ] {
            let size = of_tiff(xml, None, None, None).unwrap();
            assert_eq!((size.x_um, size.y_um), (0.5, 0.5), "{xml}");
        }
        let text = "ImageJ=1.54f\nunit=micron\nyunit=nm\n";
        let size = of_tiff(text, Some(2.0), Some(0.004), Some(1)).unwrap();
        assert_eq!((size.x_um, size.y_um), (0.5, 0.25));
    }

    #[test]
    fn bare_resolution_is_not_trusted() {
        let size = of_tiff("", Some(10_000.0), None, Some(3)).unwrap();
        assert_eq!((size.x_um, size.y_um), (1.0, 1.0));
        assert!(!size.trusted());
        assert_eq!(
            of_tiff("", Some(300.0), None, Some(1)),
            None,
            "no unit, no size"
        );
    }

    #[test]
    fn nonsense_is_no_size() {
        assert_eq!(
            of_tiff("ImageJ=1\nunit=pixel\n", Some(1.0), None, Some(1)),
            None
        );
        assert_eq!(
            of_tiff(
                "<OME><Pixels PhysicalSizeX=\"NaN\"/></OME>",
                None,
                None,
                None
            ),
            None
        );
    }
}
