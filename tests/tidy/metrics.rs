//! The list of metrics that people read names those that the process has, no more and no fewer.

use std::collections::BTreeMap;

use crate::tree::{Tree, Violation};

const PREFIX: &str = "spheroctl_";
/// What the exposition adds to the name of a histogram.
const SERIES: &[&str] = &["_bucket", "_sum", "_count"];

/// What the file `user` asks for and the file `code` does not declare.
pub fn unknown(tree: &Tree, code: &str, user: &str) -> Vec<Violation> {
    let breaches = check(tree, code, user);
    breaches
        .into_iter()
        .filter(|breach| breach.path == user)
        .collect()
}

/// The metrics of the file `code` that `documentation` does not name, and the other way round.
pub fn check(tree: &Tree, code: &str, documentation: &str) -> Vec<Violation> {
    let declared = tree.get(code).map(|file| {
        names(
            file.tokens
                .iter()
                .filter_map(|token| Some((token.line, token.text()?))),
        )
    });
    let described = tree.get(documentation).map(|file| {
        names(
            file.text
                .lines()
                .enumerate()
                .map(|(at, line)| (at + 1, line)),
        )
    });
    let (declared, described) = (declared.unwrap_or_default(), described.unwrap_or_default());
    let silent = declared
        .iter()
        .filter(|(name, _)| !described.contains_key(*name));
    let invented = described
        .iter()
        .filter(|(name, _)| !declared.contains_key(*name) && !is_series(name, &declared));
    let silent = silent.map(|(name, line)| {
        breach(
            code,
            *line,
            format!("{documentation} does not name `{name}`"),
        )
    });
    let invented = invented.map(|(name, line)| {
        breach(
            documentation,
            *line,
            format!("{code} does not declare `{name}`"),
        )
    });
    silent.chain(invented).collect()
}

/// Each name with the first line that holds it.
fn names<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (number, line) in lines {
        for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.len() > PREFIX.len() && word.starts_with(PREFIX) {
                found.entry(word.to_owned()).or_insert(number);
            }
        }
    }
    found
}

fn is_series(name: &str, declared: &BTreeMap<String, usize>) -> bool {
    SERIES.iter().any(|series| {
        name.strip_suffix(series)
            .is_some_and(|base| declared.contains_key(base))
    })
}

fn breach(path: &str, line: usize, what: String) -> Violation {
    Violation {
        path: path.to_owned(),
        line,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str, documentation: &str) -> Vec<String> {
        let tree = Tree::sample(&[
            ("src/kit/metrics.rs", code),
            ("docs/metrics.md", documentation),
        ]);
        check(&tree, "src/kit/metrics.rs", "docs/metrics.md")
            .iter()
            .map(Violation::to_string)
            .collect()
    }

    #[test]
    fn both_directions_are_checked() {
        let code = "counter!(\"spheroctl_a_total\");\nhistogram!(\"spheroctl_b_seconds\"); // \"spheroctl_c\"";
        assert_eq!(
            found(
                code,
                "| `spheroctl_a_total` |\nrate(spheroctl_b_seconds_bucket[5m]) of spheroctl_b_seconds"
            ),
            [""; 0]
        );
        assert_eq!(
            found(code, "`spheroctl_a_total`\n\n`spheroctl_d`"),
            [
                "src/kit/metrics.rs:2: docs/metrics.md does not name `spheroctl_b_seconds`",
                "docs/metrics.md:3: src/kit/metrics.rs does not declare `spheroctl_d`",
            ]
        );
    }

    #[test]
    fn a_missing_list_is_a_breach_unless_there_is_nothing_to_list() {
        let tree = Tree::sample(&[("src/kit/metrics.rs", "\"spheroctl_a\"")]);
        assert_eq!(
            check(&tree, "src/kit/metrics.rs", "docs/metrics.md").len(),
            1
        );
        assert_eq!(
            check(&Tree::sample(&[]), "src/kit/metrics.rs", "docs/metrics.md"),
            []
        );
    }

    #[test]
    fn what_is_asked_for_must_be_there_but_not_all_is_asked_for() {
        let tree = Tree::sample(&[
            ("src/kit/metrics.rs", "\"spheroctl_a\" \"spheroctl_b\""),
            (
                "compose/alerts.yml",
                "expr: spheroctl_a > 1\nexpr: spheroctl_c",
            ),
        ]);
        let found = unknown(&tree, "src/kit/metrics.rs", "compose/alerts.yml");
        let texts: Vec<String> = found.iter().map(Violation::to_string).collect();
        assert_eq!(
            texts,
            ["compose/alerts.yml:2: src/kit/metrics.rs does not declare `spheroctl_c`"]
        );
    }
}
