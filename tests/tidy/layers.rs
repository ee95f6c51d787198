//! Who may import whom. Every path that begins at the crate's root, by `crate::` or by enough `super::`, is followed.

use crate::tokens::{Token, without_tests};
use crate::tree::{File, Tree, Violation};

/// The imports of product code that point up, sideways, or into a room that `never` closes; of one noun of the
/// domain into another's store; and the rooms that stand in no layer.
pub fn check(tree: &Tree, layers: &[&[&str]], never: &[(&str, &[&str])]) -> Vec<Violation> {
    tree.product()
        .flat_map(|file| check_file(file, layers, never))
        .collect()
}

fn check_file(file: &File, layers: &[&[&str]], never: &[(&str, &[&str])]) -> Vec<Violation> {
    let room = file.room().expect("product code lies in src");
    let Some(own) = layer(layers, room) else {
        return vec![file.breach(
            1,
            format!("the room `{room}` stands in no layer of tests/tidy.rs"),
        )];
    };
    let code = without_tests(&file.tokens);
    let mut found = Vec::new();
    for Path { line, segments } in rooted_paths(&code, &file.module_path()) {
        let [target, ..] = &segments[..] else {
            continue;
        };
        let Some(other) = layer(layers, target) else {
            continue;
        };
        if target != room && other >= own {
            found.push(file.breach(
                line,
                format!("`{room}` (layer {own}) imports from `{target}` (layer {other})"),
            ));
        } else if never
            .iter()
            .any(|(from, to)| *from == room && to.contains(&&target[..]))
        {
            found.push(file.breach(line, format!("`{room}` must not know `{target}`")));
        }
    }
    // A group in braces names its room once for each thing it imports.
    found.dedup();
    found.extend(foreign_stores(file, &code));
    found
}

fn layer(layers: &[&[&str]], room: &str) -> Option<usize> {
    layers.iter().position(|rooms| rooms.contains(&room))
}

/// `users::store` anywhere below `domain` but in `domain/users`: the nouns meet through their `mod.rs`.
fn foreign_stores(file: &File, code: &[Token]) -> Vec<Violation> {
    let ["domain", noun, ..] = file.module_path()[..] else {
        return Vec::new();
    };
    let near = code.windows(3).filter_map(|three| match three {
        [other, colons, store] if colons.is("::") && store.word() == Some("store") => {
            Some((other.line, other.word()?.to_owned()))
        }
        _ => None,
    });
    let rooted = rooted_paths(code, &file.module_path())
        .into_iter()
        .filter_map(|path| match &path.segments[..] {
            [domain, other, store, ..] if domain == "domain" && store == "store" => {
                Some((path.line, other.clone()))
            }
            _ => None,
        });
    let mut found: Vec<_> = near
        .chain(rooted)
        .filter(|(_, other)| !["self", "super", noun].contains(&&other[..]))
        .collect();
    found.sort();
    found.dedup();
    found
        .into_iter()
        .map(|(line, other)| file.breach(line, format!("`{noun}` uses the store of `{other}`")))
        .collect()
}

struct Path {
    line: usize,
    /// From the crate's root.
    segments: Vec<String>,
}

/// Every path that starts with `crate::` or `super::`, groups in braces spread out.
fn rooted_paths(code: &[Token], module: &[&str]) -> Vec<Path> {
    let mut found = Vec::new();
    for at in 0..code.len() {
        let begins = at == 0 || !code[at - 1].is("::");
        if begins && matches!(code[at].word(), Some("crate" | "super")) {
            let mut inside = Vec::new();
            spread(code, at, &mut Vec::new(), &mut inside);
            found.extend(inside.into_iter().filter_map(|path| resolve(path, module)));
        }
    }
    found
}

/// Reads a path or use tree at `at`; adds the full paths below `prefix` and returns the place behind it.
fn spread(code: &[Token], mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<Path>) -> usize {
    let (line, depth) = (code[at].line, prefix.len());
    while let Some(word) = code.get(at).and_then(Token::word) {
        prefix.push(word.to_owned());
        at += 1;
        if !code.get(at).is_some_and(|token| token.is("::")) {
            break;
        }
        at += 1;
    }
    if code.get(at).is_some_and(|token| token.is("{")) && code[at - 1].is("::") {
        at += 1;
        while at < code.len() && !code[at].is("}") {
            at = if code[at].word().is_some() {
                spread(code, at, prefix, found)
            } else {
                at + 1
            };
        }
        at += 1;
    } else {
        found.push(Path {
            line,
            segments: prefix.clone(),
        });
    }
    prefix.truncate(depth);
    at
}

/// The path from the crate's root, or none where it stays below the file's own room.
fn resolve(path: Path, module: &[&str]) -> Option<Path> {
    let Path { line, segments } = path;
    if segments[0] == "crate" {
        return Some(Path {
            line,
            segments: segments[1..].to_vec(),
        });
    }
    let climbs = segments
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let above = module.get(..module.len().checked_sub(climbs)?)?;
    let whole = above
        .iter()
        .map(|segment| segment.to_string())
        .chain(segments.into_iter().skip(climbs));
    Some(Path {
        line,
        segments: whole.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: &[&[&str]] = &[
        &["kit"],
        &["db", "state"],
        &["queue"],
        &["domain"],
        &["api", "worker"],
    ];
    const NEVER: &[(&str, &[&str])] = &[("queue", &["db"])];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::sample(&[(path, text)]), LAYERS, NEVER)
            .iter()
            .map(|violation| violation.line)
            .collect()
    }

    #[test]
    fn down_and_within_a_room_is_allowed() {
        let text = "use crate::kit::clock;\nuse crate::db::{Tx, error::Error};\nfn f() { super::g(); crate::on_tx!(a); }";
        assert_eq!(lines("src/db/tx.rs", text), []);
    }

    #[test]
    fn up_and_sideways_is_not_in_any_spelling() {
        assert_eq!(lines("src/kit/clock.rs", "\nuse crate::db::Tx;"), [2]);
        assert_eq!(
            lines(
                "src/db/mod.rs",
                "use crate::{kit::clock,\n state::{self, Redis}};"
            ),
            [2]
        );
        assert_eq!(
            lines(
                "src/db/tx.rs",
                "fn f() {\n  crate::domain::jobs::submit() }"
            ),
            [2]
        );
        assert_eq!(
            lines("src/db/tx.rs", "use super::super::state::Redis;"),
            [1]
        );
        assert_eq!(
            lines("src/api/jobs.rs", "pub use crate::worker::Loop;"),
            [1]
        );
    }

    #[test]
    fn a_lower_room_can_be_closed() {
        assert_eq!(
            lines(
                "src/queue/mod.rs",
                "use crate::state::Redis;\nuse crate::db::Tx;"
            ),
            [2]
        );
    }

    #[test]
    fn tests_and_comments_are_free() {
        let text = "// crate::api::routes\n/// [`crate::api`]\n#[cfg(test)]\nmod tests { use crate::api::routes; }";
        assert_eq!(lines("src/kit/clock.rs", text), []);
        assert_eq!(lines("src/kit/tests.rs", "use crate::api::routes;"), []);
    }

    #[test]
    fn a_room_without_a_layer_is_named() {
        assert_eq!(lines("src/attic/mod.rs", ""), [1]);
    }

    #[test]
    fn a_noun_keeps_out_of_anothers_store() {
        let ways = [
            "crate::domain::users::store::find()",
            "users::store::find()",
            "super::users::store::find()",
        ];
        for way in ways {
            assert_eq!(
                lines("src/domain/jobs.rs", &format!("fn f() {{ {way} }}")),
                [1],
                "{way}"
            );
        }
        assert_eq!(
            lines(
                "src/domain/jobs/mod.rs",
                "use crate::domain::{users::{self, store}};"
            ),
            [1]
        );
        assert_eq!(
            lines(
                "src/domain/jobs/mod.rs",
                "use super::jobs::store; use crate::domain::jobs::store::Row; self::store::f()"
            ),
            []
        );
    }
}
