//! Which files the arguments mean: a file is itself, a folder is the images in it, a pattern is what it matches.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use walkdir::{DirEntry, WalkDir};

use crate::roles::exit::{Code, WithCode};
use crate::segment::Format;

use super::natural;
use super::output_files;

/// Folders inside folders that are looked into at most.
const DEPTH_MAX: usize = 64;
/// Bytes by which a file is known for an image.
const SNIFFED_BYTES: u64 = 16;
/// Files with these names are taken for images unseen, so that a broken one is named and not passed over.
const EXTENSIONS: [&str; 6] = ["tif", "tiff", "png", "jpg", "jpeg", "bmp"];

/// A file to segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path below the folder that was named, or its name alone: what it is called in the table and by its results.
    pub(super) name: PathBuf,
}

/// The files, in natural order, each once. Results are not taken for images: neither what lies in `out` nor what has
/// the name of one.
///
/// # Errors
/// A folder that cannot be read, a pattern that is none, and any of both without an image.
pub(super) fn find(
    arguments: &[PathBuf],
    recursive: bool,
    out: &Path,
) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let found = match argument {
            folder if folder.is_dir() => in_folder(folder, recursive, out)?,
            pattern if is_pattern(pattern) && !pattern.exists() => matching(pattern, out)?,
            file => vec![named_alone(file)],
        };
        if found.is_empty() {
            let nothing = anyhow!("{}: no image there", argument.display());
            return Err(nothing).or_exit(Code::NoInput);
        }
        inputs.extend(found);
    }
    inputs.sort_by(|a, b| natural::order(&a.path, &b.path));
    let mut seen = HashSet::new();
    inputs.retain(|input| seen.insert(absolute(&input.path)));
    Ok(inputs)
}

/// The path as the file system knows it; as it was given where there is no such file.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn named_alone(file: &Path) -> Input {
    Input {
        path: file.to_owned(),
        name: file.file_name().unwrap_or_default().into(),
    }
}

/// Named by its path below the folder; results then lie in the same folders as their images.
fn named_below(file: &Path, folder: &Path) -> Input {
    match file.strip_prefix(folder) {
        Ok(below) => Input {
            path: file.to_owned(),
            name: below.to_owned(),
        },
        Err(_) => named_alone(file),
    }
}

fn in_folder(folder: &Path, recursive: bool, out: &Path) -> anyhow::Result<Vec<Input>> {
    let out = absolute(out);
    if absolute(folder) == out {
        return Ok(Vec::new());
    }
    let depth = if recursive { DEPTH_MAX } else { 1 };
    let is_out = |entry: &DirEntry| entry.file_type().is_dir() && absolute(entry.path()) == out;
    let walk = WalkDir::new(folder)
        .min_depth(1)
        .max_depth(depth)
        .into_iter()
        .filter_entry(|entry| !is_hidden(entry) && !is_out(entry));
    let mut found = Vec::new();
    for entry in walk {
        let entry = entry
            .context("the folder cannot be read")
            .or_exit(Code::NoInput)?;
        let path = entry.path();
        if path.is_file() && is_image(path) {
            found.push(named_below(path, folder));
        }
    }
    Ok(found)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// Whether a shell would expand it: the user put it in quotes so that the program does, which no number of files
/// makes too long.
fn is_pattern(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .any(|byte| b"*?[".contains(byte))
}

fn matching(pattern: &Path, out: &Path) -> anyhow::Result<Vec<Input>> {
    let text = pattern
        .to_str()
        .ok_or_else(|| anyhow!("{}: a pattern must be UTF-8", pattern.display()));
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob::glob_with(text.or_exit(Code::NoInput)?, options)
        .with_context(|| pattern.display().to_string())
        .or_exit(Code::NoInput)?;
    let (fixed, out) = (fixed_part(pattern), absolute(out));
    let mut found = Vec::new();
    for path in paths {
        let path = path
            .context("the folder cannot be read")
            .or_exit(Code::NoInput)?;
        if path.is_file() && !absolute(&path).starts_with(&out) && is_image(&path) {
            found.push(named_below(&path, &fixed));
        }
    }
    Ok(found)
}

/// The folders before the first part that has a wildcard.
fn fixed_part(pattern: &Path) -> PathBuf {
    let parts = pattern.components();
    let fixed = parts.take_while(|part| !is_pattern(part.as_os_str().as_ref()));
    fixed.filter(|part| *part != Component::CurDir).collect()
}

/// By its content or its extension; a result by its name is none.
fn is_image(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if output_files::is_result(&name) {
        return false;
    }
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    EXTENSIONS.contains(&extension.as_str()) || begins_like_an_image(path)
}

fn begins_like_an_image(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(SNIFFED_BYTES).read_to_end(&mut beginning));
    read.is_ok() && Format::sniff(&beginning).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("w10.png", PNG),
            ("w9.png", PNG),
            ("no-extension", PNG),
            ("broken.tif", b"no image"),
            ("notes.txt", b"words"),
            (".hidden.png", PNG),
            ("w9.overlay.png", PNG),
            ("deep/er/w1.png", PNG),
            ("out/w9.labels.tif", PNG),
            ("out/drawn.png", PNG),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn names(arguments: &[PathBuf], recursive: bool, out: &Path) -> Vec<String> {
        let inputs = find(arguments, recursive, out).unwrap();
        let name = |input: Input| input.name.to_string_lossy().into_owned();
        inputs.into_iter().map(name).collect()
    }

    #[test]
    fn a_folder_is_its_images_in_natural_order() {
        let folder = folder();
        let (all, out) = ([folder.path().to_owned()], folder.path().join("out"));
        let own = ["broken.tif", "no-extension", "w9.png", "w10.png"];
        assert_eq!(names(&all, false, &out), own);
        let deep = [
            "broken.tif",
            "deep/er/w1.png",
            "no-extension",
            "w9.png",
            "w10.png",
        ];
        assert_eq!(names(&all, true, &out), deep);
    }

    #[test]
    fn a_pattern_is_what_it_matches_and_nothing_is_taken_twice() {
        let folder = folder();
        let out = folder.path().join("out");
        let pattern = folder.path().join("**/w*.png");
        let expected = ["deep/er/w1.png", "w9.png", "w10.png"];
        assert_eq!(names(std::slice::from_ref(&pattern), false, &out), expected);
        let again = folder.path().join("./w9.png");
        assert_eq!(names(&[pattern, again], false, &out), expected);
    }

    #[test]
    fn what_has_no_image_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for argument in [folder.path().to_owned(), folder.path().join("*.tif")] {
            let error = find(std::slice::from_ref(&argument), false, Path::new("out")).unwrap_err();
            assert_eq!(crate::roles::exit::code_of(&error), Code::NoInput);
            assert!(
                error.to_string().contains(&*argument.to_string_lossy()),
                "{error}"
            );
        }
    }
}
