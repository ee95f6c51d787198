//! Every statement of the product is understood by the database it is meant for. The statements are found in the
//! source: each is a constant `const NAME: &str = "…"` that begins with an SQL verb. A name that ends with `_POSTGRES`
//! or `_SQLITE`, or a file or folder named after one dialect, holds a statement of that dialect alone.

use std::fs;
use std::path::{Path, PathBuf};

use spheroctl::db::{Connection, Dialect, Error, Tx, run_tx};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use super::Backend;

/// Fewer statements than this mean that the search is broken.
const STATEMENTS_MIN: usize = 80;

const VERBS: [&str; 6] = ["select", "insert", "update", "delete", "with", "values"];

#[derive(Debug, PartialEq, Eq)]
struct Statement {
    place: String,
    text: String,
    only: Option<Dialect>,
}

pub async fn every_statement_prepares(backend: &Backend) {
    let statements = of_product();
    assert!(
        statements.len() >= STATEMENTS_MIN,
        "only {} statements found",
        statements.len()
    );
    let mut wrong = Vec::new();
    for statement in statements {
        let dialect = backend.db.dialect();
        if statement.only.is_none_or(|only| only == dialect) {
            // A failed statement ends PostgreSQL's transaction: each has its own.
            let outcome: Result<(), Error> =
                run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
                    Ok(prepare(tx, &statement.text).await?)
                });
            if let Err(error) = outcome {
                wrong.push(format!("{}: {error}", statement.place));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text of the statement at this place.
pub fn named(place: &str) -> String {
    let mut statements = of_product().into_iter();
    let found = statements.find(|statement| statement.place == place);
    found.expect("the statement is there").text
}

async fn prepare(tx: &mut Tx, text: &str) -> sqlx::Result<()> {
    let text = AssertSqlSafe(text.to_owned()).into_sql_str();
    match tx.connection() {
        Connection::Postgres(conn) => conn.prepare(text).await.map(drop),
        Connection::Sqlite(conn) => conn.prepare(text).await.map(drop),
    }
}

// === The search ===

fn of_product() -> Vec<Statement> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut statements = Vec::new();
    for file in rust_files(&source) {
        let content = fs::read_to_string(&file).expect("a source file can be read");
        let place = file.strip_prefix(&source).unwrap_or(&file);
        statements.extend(of_file(&place.display().to_string(), &content));
    }
    statements
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a source folder can be listed");
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("a source file can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The statements above the tests of one file.
fn of_file(place: &str, content: &str) -> Vec<Statement> {
    let product = content.split("#[cfg(test)]").next().unwrap_or_default();
    let constants = product.split("const ").skip(1);
    constants
        .filter_map(|after| {
            let (name, text) = text_constant(after)?;
            is_statement(&text).then(|| Statement {
                place: format!("{place}: {name}"),
                only: only(place, name),
                text,
            })
        })
        .collect()
}

/// Name and value of what follows `const`, where it is a text.
fn text_constant(after: &str) -> Option<(&str, String)> {
    let (name, rest) = after.split_once(':')?;
    let (kind, value) = rest.split_once('=')?;
    if !matches!(kind.trim(), "&str" | "&'static str") || name.trim().contains(char::is_whitespace)
    {
        return None;
    }
    let value = value.trim_start();
    let text = match value.strip_prefix("concat!(") {
        Some(parts) => concatenated(parts),
        None => literal(value).map(|(text, _)| text),
    };
    Some((name.trim(), text?))
}

fn concatenated(mut parts: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        parts = parts.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if parts.starts_with(')') {
            return Some(whole);
        }
        let (text, rest) = literal(parts)?;
        whole.push_str(&text);
        parts = rest;
    }
}

/// The text literal at the start, and what follows it.
fn literal(source: &str) -> Option<(String, &str)> {
    if let Some(raw) = source.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let body = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let (text, rest) = body.split_once(&end)?;
        return Some((text.to_owned(), rest));
    }
    let body = source.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = body.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((text, &body[index + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                // A line that goes on: its indentation does not belong to the text.
                '\n' => {
                    let rest = characters.as_str().trim_start();
                    let (more, rest) = literal_from(rest)?;
                    return Some((text + &more, rest));
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

/// The rest of a plain literal whose quotation mark stands before `source`.
fn literal_from(source: &str) -> Option<(String, &str)> {
    let quoted = format!("\"{source}");
    let (text, rest) = literal(&quoted)?;
    Some((text, &source[source.len() - rest.len()..]))
}

fn is_statement(text: &str) -> bool {
    let verb = text.split_whitespace().next().unwrap_or_default();
    VERBS.contains(&verb.to_lowercase().as_str())
}

fn only(place: &str, name: &str) -> Option<Dialect> {
    let inside = |room: &str| place.split(['/', '.']).any(|part| part == room);
    if name.ends_with("_POSTGRES") || inside("postgres") {
        Some(Dialect::Postgres)
    } else if name.ends_with("_SQLITE") || inside("sqlite") {
        Some(Dialect::Sqlite)
    } else {
        None
    }
}

// === The search itself is tested ===

#[test]
fn the_search_reads_every_form_of_text() {
    let source = r##"
        const PLAIN: &str = "select \"a\" \
                             from t";
        pub const RAW_POSTGRES: &'static str = r#"insert into "t" values ('x')"#;
        const JOINED_SQLITE: &str = concat!("update t ", "set a = 1", );
        const LIMIT: usize = 3;
        const PATH: &str = "selection/of/files";
        const MARK: &str = "\n    delete from t";
        #[cfg(test)]
        const TEST: &str = "select 2";
    "##;
    let found: Vec<_> = of_file("events/store.rs", source)
        .into_iter()
        .map(|it| (it.place, it.text, it.only))
        .collect();
    let expected = [
        ("PLAIN", "select \"a\" from t", None),
        (
            "RAW_POSTGRES",
            "insert into \"t\" values ('x')",
            Some(Dialect::Postgres),
        ),
        ("JOINED_SQLITE", "update t set a = 1", Some(Dialect::Sqlite)),
        ("MARK", "\n    delete from t", None),
    ]
    .map(|(name, text, only)| (format!("events/store.rs: {name}"), text.to_owned(), only));
    assert_eq!(found, expected);
}

#[test]
fn a_place_named_after_a_dialect_is_for_it_alone() {
    for place in [
        "db/sqlite.rs",
        "events/log/sqlite/group.rs",
        "events/log/sqlite/mod.rs",
    ] {
        let found = of_file(place, "const NEXT: &str = \"select 1\";");
        assert_eq!(found[0].only, Some(Dialect::Sqlite), "{place}");
    }
}

/// A text written in place would escape the search.
#[test]
fn every_statement_is_a_constant() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut in_place = Vec::new();
    for file in rust_files(&source) {
        let content = fs::read_to_string(&file).expect("a source file can be read");
        let product = content.split("#[cfg(test)]").next().unwrap_or_default();
        let queries = product.split("sqlx::query").skip(1);
        let queries = queries.filter_map(|after| Some(after.split_once('(')?.1));
        // The first argument of these is the transaction.
        let executions = product.split("execute!(").skip(1);
        let executions = executions.filter_map(|after| Some(after.split_once(',')?.1));
        for arguments in queries.chain(executions).map(str::trim_start) {
            if ["\"", "r\"", "r#"]
                .iter()
                .any(|text| arguments.starts_with(text))
            {
                let start: String = arguments.chars().take(60).collect();
                in_place.push(format!("{}: {start}", file.display()));
            }
        }
    }
    assert!(
        in_place.is_empty(),
        "name these in constants:\n{}",
        in_place.join("\n")
    );
}
