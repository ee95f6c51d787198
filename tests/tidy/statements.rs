//! SQL is written in stores: a statement elsewhere escapes the check that prepares each on both dialects.

use crate::tokens::without_tests;
use crate::tree::{Tree, Violation};

/// What begins a statement, in lower case, and what must follow somewhere behind (English begins sentences with the
/// same words).
const BEGINNINGS: &[(&str, &str)] = &[
    ("select ", " from "),
    ("select ", "("),
    ("insert into ", ""),
    ("update ", " set "),
    ("delete from ", ""),
    ("create table ", ""),
    ("create index ", ""),
    ("create unique index ", ""),
    ("create temporary table ", ""),
    ("create database ", ""),
    ("create view ", ""),
    ("create function ", ""),
    ("alter table ", ""),
    ("drop table ", ""),
    ("truncate ", " cascade"),
    ("with ", " as (select "),
    ("with ", " as ( select "),
    ("pragma ", ""),
];

/// The string literals of product code outside `allowed` that are statements.
pub fn check(tree: &Tree, allowed: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree
        .product()
        .filter(|file| !file.begins_like_one_of(allowed))
    {
        let code = without_tests(&file.tokens);
        let statements = code
            .iter()
            .filter(|token| token.text().is_some_and(is_statement));
        found
            .extend(statements.map(|token| file.breach(token.line, "a statement outside a store")));
    }
    found
}

fn is_statement(text: &str) -> bool {
    // Line breaks, written as such or escaped, count as blanks.
    let plain = text.replace("\\n", " ").replace('\\', " ").to_lowercase();
    let plain = format!(
        "{} ",
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    BEGINNINGS.iter().any(|(start, behind)| {
        plain
            .strip_prefix(start)
            .is_some_and(|rest| format!(" {rest}").contains(behind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_known_by_their_form() {
        for text in [
            "select id from jobs",
            "SELECT\n  id\nFROM jobs",
            "\n  insert into jobs values ($1)",
            "update jobs\\n   set a = 1",
            "Delete From jobs",
            "create table a ()",
            "select now()",
            "with a as (select 1) delete from b",
        ] {
            assert!(is_statement(text), "{text}");
        }
        for text in [
            "select a folder",
            "update the settings",
            "delete the project",
            "create a token",
            "with care",
            "selection from",
        ] {
            assert!(!is_statement(text), "{text}");
        }
    }

    #[test]
    fn only_stores_and_tests_may_hold_them() {
        let text = "\nconst A: &str = r#\"select id from jobs\"#; // \"delete from jobs\"\n#[cfg(test)] mod tests { const B: &str = \"delete from jobs\"; }";
        let lines = |path| {
            let found = check(
                &Tree::sample(&[(path, text)]),
                &["src/db/", crate::tree::STORES],
            );
            found
                .iter()
                .map(|violation| violation.line)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("src/api/jobs.rs"), [2]);
        assert_eq!(lines("src/domain/jobs/mod.rs"), [2]);
        assert_eq!(lines("src/domain/jobs/store.rs"), []);
        assert_eq!(lines("src/db/partitions.rs"), []);
    }
}
