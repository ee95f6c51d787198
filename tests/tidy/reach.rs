//! Nothing lies about: every Rust file is in a module tree, every script is included, every migration has its twin.

use std::collections::BTreeSet;

use crate::tokens::Token;
use crate::tree::{File, Tree, Violation};

/// The Rust files that no crate root reaches by `mod`, `#[path]` or `include!`.
pub fn unreached_modules(tree: &Tree) -> Vec<Violation> {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&File> = tree.rust().filter(|file| is_root(&file.path)).collect();
    while let Some(file) = open.pop() {
        if reached.insert(&file.path) {
            open.extend(children(file).iter().filter_map(|path| tree.get(path)));
        }
    }
    let dead = tree.rust().filter(|file| !reached.contains(&file.path[..]));
    dead.map(|file| file.breach(1, "no `mod` declaration reaches this file"))
        .collect()
}

/// The `.lua` files that no `include_str!` names, be it whole or by a folder in `concat!` and a name given elsewhere in
/// the same file.
pub fn unnamed_scripts(tree: &Tree) -> Vec<Violation> {
    let included: BTreeSet<String> = tree.rust().flat_map(included_scripts).collect();
    let scripts = tree
        .files()
        .filter(|file| file.path.ends_with(".lua") && !included.contains(&file.path));
    scripts
        .map(|file| file.breach(1, "no include_str! names this script"))
        .collect()
}

fn included_scripts(file: &File) -> Vec<String> {
    let mut found = included(file, "include_str");
    let names = || {
        let texts = file.tokens.iter().filter_map(Token::text);
        texts.filter(|text| text.ends_with(".lua"))
    };
    for seven in file.tokens.windows(7) {
        let [include, _, _, concat, _, _, folder] = seven else {
            continue;
        };
        if (include.word(), concat.word()) == (Some("include_str"), Some("concat")) {
            let folder = folder.text().unwrap_or_default();
            found.extend(names().map(|name| beside(file, &format!("{folder}{name}"))));
        }
    }
    found
}

/// The migrations whose other dialect is missing, and numbers that are given twice or left out.
pub fn one_sided_migrations(tree: &Tree) -> Vec<Violation> {
    const SIDES: [&str; 2] = ["src/db/migrations/postgres/", "src/db/migrations/sqlite/"];
    let mut found = Vec::new();
    for (side, other) in [(SIDES[0], SIDES[1]), (SIDES[1], SIDES[0])] {
        let mut next = 1;
        for file in tree.files().filter(|file| file.path.ends_with(".sql")) {
            let Some(name) = file.path.strip_prefix(side) else {
                continue;
            };
            if tree.get(&format!("{other}{name}")).is_none() {
                found.push(file.breach(1, format!("{other}{name} is missing")));
            }
            if !name.starts_with(&format!("{next:04}_")) {
                found.push(file.breach(
                    1,
                    format!(
                        "the migration after number {} must begin with {next:04}_",
                        next - 1
                    ),
                ));
            }
            next += 1;
        }
    }
    found
}

fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        ["src", "lib.rs" | "main.rs" | "build.rs"]
            | ["src", "bin", _]
            | ["tests", _]
            | ["tests", _, "main.rs"]
            | ["tests", "bench", _]
            | ["tests", "bench", _, "main.rs"]
    )
}

/// The paths that the file's `mod` declarations and `include!`s may mean.
fn children(file: &File) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let below = match name {
        "mod.rs" => folder.to_owned(),
        _ if is_root(&file.path) => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    let mut found = included(file, "include");
    for (at, three) in file.tokens.windows(3).enumerate() {
        let [keyword, name, end] = three else {
            continue;
        };
        let (Some("mod"), Some(name), true) = (keyword.word(), name.word(), end.is(";")) else {
            continue;
        };
        match path_attribute(&file.tokens[..at]) {
            Some(path) => found.push(beside(file, path)),
            None => found.extend([
                format!("{below}/{name}.rs"),
                format!("{below}/{name}/mod.rs"),
            ]),
        }
    }
    found
}

/// The value of a `#[path = "…"]` that ends these tokens, a `pub` or `pub(crate)` behind it allowed.
fn path_attribute(before: &[Token]) -> Option<&str> {
    let visibility = before
        .iter()
        .rev()
        .take_while(|token| token.word().is_some() || token.is("(") || token.is(")"))
        .count();
    match &before[..before.len() - visibility] {
        [.., path, equals, value, close]
            if path.word() == Some("path") && equals.is("=") && close.is("]") =>
        {
            value.text()
        }
        _ => None,
    }
}

/// The files named by `name!("…")`.
fn included(file: &File, name: &str) -> Vec<String> {
    let calls = file.tokens.windows(4).filter_map(|four| match four {
        [word, bang, open, text] if word.word() == Some(name) && bang.is("!") && open.is("(") => {
            text.text()
        }
        _ => None,
    });
    calls.map(|path| beside(file, path)).collect()
}

/// What a path written in `file` means.
fn beside(file: &File, path: &str) -> String {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    normal(&format!("{folder}/{path}"))
}

/// The path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(violations: Vec<Violation>) -> Vec<String> {
        violations
            .into_iter()
            .map(|violation| violation.path)
            .collect()
    }

    #[test]
    fn files_outside_the_module_tree_are_found() {
        let tree = Tree::sample(&[
            (
                "src/lib.rs",
                "pub mod db; mod kit; // mod attic;\n#[path = \"odd/place.rs\"] pub(crate) mod odd;",
            ),
            ("src/db/mod.rs", "mod tx; include!(\"generated.rs\");"),
            ("src/db/tx.rs", "mod inner;"),
            ("src/db/tx/inner.rs", ""),
            ("src/db/generated.rs", ""),
            ("src/db/old.rs", ""),
            ("src/kit.rs", ""),
            ("src/odd/place.rs", ""),
            ("src/attic.rs", ""),
            ("tests/it/main.rs", "mod jobs;"),
            ("tests/it/jobs.rs", ""),
            ("tests/it/forgotten.rs", ""),
            ("tests/tidy.rs", ""),
        ]);
        assert_eq!(
            paths(unreached_modules(&tree)),
            ["src/attic.rs", "src/db/old.rs", "tests/it/forgotten.rs"]
        );
    }

    #[test]
    fn scripts_that_nobody_includes_are_found() {
        let tree = Tree::sample(&[
            (
                "src/queue/redis.rs",
                "const OFFER: &str = include_str!(\"scripts/offer.lua\");",
            ),
            ("src/queue/scripts/offer.lua", ""),
            ("src/queue/scripts/old.lua", ""),
            (
                "src/state/redis.rs",
                "m! { \"take.lua\" } include_str!(concat!(\"redis/\", $file))",
            ),
            ("src/state/redis/take.lua", ""),
            ("src/state/redis/unused.lua", ""),
        ]);
        assert_eq!(
            paths(unnamed_scripts(&tree)),
            ["src/queue/scripts/old.lua", "src/state/redis/unused.lua"]
        );
    }

    #[test]
    fn migrations_without_a_twin_or_out_of_order_are_found() {
        let tree = Tree::sample(&[
            ("src/db/migrations/postgres/0001_core.sql", ""),
            ("src/db/migrations/postgres/0002_search.sql", ""),
            ("src/db/migrations/sqlite/0001_core.sql", ""),
            ("src/db/migrations/sqlite/0003_other.sql", ""),
        ]);
        let (postgres, sqlite) = (
            "src/db/migrations/postgres/0002_search.sql",
            "src/db/migrations/sqlite/0003_other.sql",
        );
        assert_eq!(
            paths(one_sided_migrations(&tree)),
            [postgres, sqlite, sqlite]
        );
    }
}
