//! Backend crates and the types of a protocol stay behind their seams.

use crate::tokens::{Token, without_tests};
use crate::tree::{Tree, Violation};

/// Where a crate or type may be named.
pub struct Fence {
    name: &'static str,
    /// Beginnings of paths; empty for everywhere.
    only: &'static [&'static str],
    never: &'static [&'static str],
}

impl Fence {
    pub const fn only(name: &'static str, beginnings: &'static [&'static str]) -> Self {
        Self {
            name,
            only: beginnings,
            never: &[],
        }
    }

    pub const fn never(name: &'static str, rooms: &'static [&'static str]) -> Self {
        Self {
            name,
            only: &[],
            never: rooms,
        }
    }
}

/// The places in product code that name something behind a fence.
pub fn check(tree: &Tree, fences: &[Fence]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.product() {
        let code = without_tests(&file.tokens);
        for fence in fences {
            let inside = fence.only.is_empty() || file.begins_like_one_of(fence.only);
            let kept_out = file.room().is_some_and(|room| fence.never.contains(&room));
            if !inside || kept_out {
                let lines = uses(&code, fence.name);
                found.extend(lines.map(|line| {
                    file.breach(line, format!("`{}` is not to be known here", fence.name))
                }));
            }
        }
    }
    found
}

/// A crate is named as the head of a path or by `use`; a type anywhere. A local variable or field is neither.
fn uses<'a>(code: &'a [Token], name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_type = name.starts_with(char::is_uppercase);
    (0..code.len())
        .filter(move |&at| code[at].word() == Some(name))
        .filter_map(move |at| {
            let before = at.checked_sub(1).map(|at| &code[at]);
            let within_path = before.is_some_and(|token| token.is("::"));
            // A leading `::`, as in `use ::fred`, follows no name; in `state::redis::fred` it does.
            let below = within_path
                && at
                    .checked_sub(2)
                    .and_then(|at| code[at].word())
                    .is_some_and(|word| word != "use");
            let heads_path = code.get(at + 1).is_some_and(|token| token.is("::"));
            let used = before
                .and_then(Token::word)
                .is_some_and(|word| word == "use" || word == "crate");
            (is_type || (!below && (heads_path || used))).then_some(code[at].line)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCES: &[Fence] = &[
        Fence::only("fred", &["src/state/redis"]),
        Fence::never("StatusCode", &["domain"]),
    ];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::sample(&[(path, text)]), FENCES)
            .iter()
            .map(|violation| violation.line)
            .collect()
    }

    #[test]
    fn a_crate_is_found_in_every_spelling() {
        for text in [
            "use fred::prelude::*;",
            "fn f(c: fred::Client) {}",
            "use ::fred::Client;",
            "use fred;",
            "#[fred::attr] fn f() {}",
        ] {
            assert_eq!(lines("src/db/mod.rs", text), [1], "{text}");
            assert_eq!(lines("src/state/redis/pool.rs", text), [], "{text}");
            assert_eq!(lines("src/state/redis.rs", text), [], "{text}");
        }
    }

    #[test]
    fn names_that_only_look_alike_are_free() {
        for text in [
            "let fred = 1;",
            "use state::fred::X;",
            "// fred::Client",
            "\"fred::Client\"",
            "fredo::x()",
        ] {
            assert_eq!(lines("src/db/mod.rs", text), [], "{text}");
        }
    }

    #[test]
    fn a_type_can_be_kept_out_of_a_room() {
        assert_eq!(
            lines("src/domain/jobs/mod.rs", "\nuse http::{StatusCode};"),
            [2]
        );
        assert_eq!(lines("src/api/jobs.rs", "use http::StatusCode;"), []);
    }
}
