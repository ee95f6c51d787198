//! The files of the repository that the rules look at, read once, and what a rule says about a line of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::tokens::{Token, tokens};

/// In a list of path beginnings: every `store.rs` and everything below a folder `store` of the domain.
pub const STORES: &str = "store.rs";

/// The folders that are read; everything that a rule speaks of lies in them.
const FOLDERS: &[&str] = &["src", "tests", "docs", "compose"];
const KINDS: &[&str] = &["rs", "sql", "lua", "md", "yml"];

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub path: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A file with its path from the top of the repository, written with `/`.
pub struct File {
    pub path: String,
    pub text: String,
    /// The Rust tokens; empty for other kinds of file.
    pub tokens: Vec<Token>,
}

impl File {
    pub fn breach(&self, line: usize, what: impl Into<String>) -> Violation {
        Violation {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// The room of a file in `src`: `src/db/tx.rs` and `src/db.rs` belong to `db`.
    pub fn room(&self) -> Option<&str> {
        self.module_path().first().copied()
    }

    /// The path of the module that a file in `src` holds: `db`, `tx` for `src/db/tx.rs`, `db` for `src/db/mod.rs`.
    pub fn module_path(&self) -> Vec<&str> {
        let Some(inside) = self
            .path
            .strip_prefix("src/")
            .and_then(|path| path.strip_suffix(".rs"))
        else {
            return Vec::new();
        };
        inside
            .strip_suffix("/mod")
            .unwrap_or(inside)
            .split('/')
            .collect()
    }

    pub fn begins_like_one_of(&self, beginnings: &[&str]) -> bool {
        beginnings.iter().any(|beginning| match *beginning {
            STORES => self.is_store(),
            beginning => self.path.starts_with(beginning),
        })
    }

    /// Only a store of the domain counts: a `store.rs` elsewhere is no licence.
    fn is_store(&self) -> bool {
        matches!(
            self.module_path()[..],
            ["domain", .., "store"] | ["domain", _, "store", ..]
        )
    }

    /// A file of unit tests; rules about imports and statements do not bind it.
    pub fn is_test(&self) -> bool {
        self.module_path().contains(&"tests")
    }
}

/// The files by path.
pub struct Tree(BTreeMap<String, File>);

impl Tree {
    pub fn of_this_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for folder in FOLDERS {
            collect(root, &root.join(folder), &mut found);
        }
        assert!(
            found.len() > 10,
            "the tree was not found at {}",
            root.display()
        );
        Self::of(found)
    }

    pub fn of(files: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(
            files
                .into_iter()
                .map(|(path, text)| (path.clone(), file(path, text)))
                .collect(),
        )
    }

    /// A tree of sample files, to test a checker.
    pub fn sample(files: &[(&str, &str)]) -> Self {
        Self::of(
            files
                .iter()
                .map(|(path, text)| (path.to_string(), text.to_string())),
        )
    }

    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.0.values()
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.path.ends_with(".rs"))
    }

    /// The Rust files below `src` that are no tests.
    pub fn product(&self) -> impl Iterator<Item = &File> {
        self.rust()
            .filter(|file| file.path.starts_with("src/") && !file.is_test())
    }

    pub fn get(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }
}

fn file(path: String, text: String) -> File {
    let tokens = if path.ends_with(".rs") {
        tokens(&text)
    } else {
        Vec::new()
    };
    File { path, text, tokens }
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    // A folder with a manifest of its own is another program; its files are not ours to reach.
    if folder.join("Cargo.toml").exists() {
        return;
    }
    for entry in entries {
        let path = entry.expect("an entry of the tree can be listed").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path
            .extension()
            .is_some_and(|kind| KINDS.iter().any(|wanted| kind == *wanted))
        {
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let inside = path
                .strip_prefix(root)
                .expect("the walk stays below the root");
            found.push((inside.to_string_lossy().replace('\\', "/"), text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_those_of_the_domain() {
        let tree = Tree::sample(&[
            ("src/domain/jobs/store.rs", ""),
            ("src/domain/jobs/store/claim.rs", ""),
            ("src/domain/jobs/mod.rs", ""),
            ("src/api/store.rs", ""),
        ]);
        let stores: Vec<_> = tree
            .files()
            .filter(|file| file.begins_like_one_of(&[STORES]))
            .map(|f| &f.path[..])
            .collect();
        assert_eq!(
            stores,
            ["src/domain/jobs/store.rs", "src/domain/jobs/store/claim.rs"]
        );
    }
}
