//! Keeps the house tidy: who may import whom, where statements and backend crates live, no file that nothing
//! reaches, no metric without a line in the documentation. The rules stand here as data; each checker is a function
//! from the tree to a list of violations and is tested on a sample that breaks its rule.

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/metrics.rs"]
mod metrics;
#[path = "tidy/reach.rs"]
mod reach;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/statements.rs"]
mod statements;
#[path = "tidy/tokens.rs"]
mod tokens;
#[path = "tidy/tree.rs"]
mod tree;

use crates::Fence;
use tree::{Tree, Violation};

/// The rooms by layer, lowest first. A room imports from lower layers only: not from above, not from its own layer.
const LAYERS: &[&[&str]] = &[
    &["kit"],
    &["settings", "health", "telemetry"],
    &["db", "state", "files", "http", "segment", "lb_check"],
    &["queue", "events"],
    &["domain"],
    &["app"],
    &["api", "realtime", "worker", "ops", "web"],
    &["roles"],
    &["cli", "main", "lib", "build"],
];

/// Lower rooms that a room must not import all the same.
const NEVER: &[(&str, &[&str])] = &[
    ("lb_check", &["settings", "health", "telemetry"]),
    ("queue", &["db", "files", "http", "segment", "lb_check"]),
    ("events", &["state", "files", "http", "segment", "lb_check"]),
    ("domain", &["http", "lb_check"]),
    // A job is claimed, renewed and finished by domain::jobs, which keeps the queue and the row in step.
    ("api", &["queue"]),
    ("worker", &["queue"]),
];

/// Rooms that speak no HTTP.
const NO_HTTP: &[&str] = &[
    "settings",
    "health",
    "telemetry",
    "queue",
    "events",
    "domain",
];

/// Where in `src` a crate or type may be named: only in files whose path begins like one of these, or never in these
/// rooms.
const FENCES: &[Fence] = &[
    Fence::only("rdkafka", &["src/events/log/kafka"]),
    Fence::only("fred", &["src/state/redis", "src/queue/redis"]),
    Fence::only("reqwest", &["src/segment/remote", "src/worker/deliveries"]),
    Fence::only("sqlx", &["src/db/", "src/events/", tree::STORES]),
    Fence::never("axum", NO_HTTP),
    Fence::never("hyper", NO_HTTP),
    Fence::never("StatusCode", NO_HTTP),
    Fence::never("TcpStream", &["queue", "domain"]),
    Fence::never("TcpListener", &["queue", "domain"]),
];

/// Where SQL may be written.
const STATEMENTS: &[&str] = &["src/db/", "src/events/", tree::STORES];

/// Names under which everything and nothing is found.
const NAMELESS: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

/// Lines of a file in `src`; one that is longer holds two concepts.
const LINES_MAX: usize = 500;

const METRICS: &str = "src/kit/metrics.rs";
const METRICS_DOCUMENTATION: &str = "docs/metrics.md";
const ALERTS: &str = "compose/alerts.yml";

#[test]
fn rooms_import_from_lower_layers_only() {
    report(layers::check(&Tree::of_this_repository(), LAYERS, NEVER));
}

#[test]
fn backend_crates_stay_behind_their_seams() {
    report(crates::check(&Tree::of_this_repository(), FENCES));
}

#[test]
fn every_file_is_reached() {
    let tree = Tree::of_this_repository();
    report(reach::unreached_modules(&tree));
    report(reach::unnamed_scripts(&tree));
    report(reach::one_sided_migrations(&tree));
}

#[test]
fn statements_stand_in_stores() {
    report(statements::check(&Tree::of_this_repository(), STATEMENTS));
}

#[test]
fn metrics_and_their_documentation_agree() {
    let tree = Tree::of_this_repository();
    report(metrics::check(&tree, METRICS, METRICS_DOCUMENTATION));
    report(metrics::unknown(&tree, METRICS, ALERTS));
}

#[test]
fn files_are_short_and_rooms_have_names() {
    let tree = Tree::of_this_repository();
    report(shape::nameless_rooms(&tree, NAMELESS));
    report(shape::long_files(&tree, LINES_MAX));
}

fn report(violations: Vec<Violation>) {
    let lines: String = violations
        .iter()
        .map(|violation| format!("\n  {violation}"))
        .collect();
    assert!(
        violations.is_empty(),
        "{} violation(s):{lines}",
        violations.len()
    );
}
