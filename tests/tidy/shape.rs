//! Files of a length that can be read, in rooms whose names say what is inside.

use crate::tree::{Tree, Violation};

/// The Rust files below a module with one of the names that say nothing.
pub fn nameless_rooms(tree: &Tree, names: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust() {
        for part in file.path.trim_end_matches(".rs").split('/') {
            if names.contains(&part) {
                found.push(file.breach(1, format!("`{part}` says nothing about what is inside")));
            }
        }
    }
    found
}

/// The Rust files of `src` with more than `lines_max` lines.
pub fn long_files(tree: &Tree, lines_max: usize) -> Vec<Violation> {
    let files = tree.rust().filter(|file| file.path.starts_with("src/"));
    let lengths = files.map(|file| (file, file.text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > lines_max);
    long.map(|(file, lines)| {
        file.breach(lines_max + 1, format!("{lines} lines; at most {lines_max}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found() {
        let tree = Tree::sample(&[
            ("src/db/utils.rs", ""),
            ("src/common/mod.rs", ""),
            ("src/db/uncommon.rs", ""),
        ]);
        assert_eq!(nameless_rooms(&tree, &["utils", "common"]).len(), 2);
    }

    #[test]
    fn only_files_above_the_limit_are_found() {
        let tree = Tree::sample(&[
            ("src/a.rs", "1\n2\n3\n"),
            ("src/b.rs", "1\n2\n"),
            ("tests/c.rs", "1\n2\n3\n"),
        ]);
        let found = long_files(&tree, 2);
        assert_eq!(
            found.iter().map(Violation::to_string).collect::<Vec<_>>(),
            ["src/a.rs:3: 3 lines; at most 2"]
        );
    }
}
