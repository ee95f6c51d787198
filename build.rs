//! Rebuilds when a migration is added: `sqlx::migrate!` sees only the files that existed at the last build.

fn main() {
    println!("cargo::rerun-if-changed=src/db/migrations");
}
