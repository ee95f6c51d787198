//! Where tests get real services from: the environment, else the file that `scripts/services up` wrote. A service
//! that is missing fails the test: a test that skips itself proves nothing.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// The Redis server, as `redis://…`.
pub fn redis_url() -> String {
    service("SPHEROCTL_TEST_REDIS_URL")
}

/// The PostgreSQL server, as `postgres://…` with a user who may create databases. Tests take [`postgres_database`].
pub fn postgres_url() -> String {
    service("SPHEROCTL_TEST_POSTGRES_URL")
}

/// The Kafka brokers, as `host:port`, separated by commas.
pub fn kafka_bootstrap() -> String {
    service("SPHEROCTL_TEST_KAFKA_BOOTSTRAP")
}

/// A number that the environment may give, such as how long a proof lasts; `usual` where it does not.
pub fn number(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number"))
    })
}

/// MLServer with the model `otsu`.
pub fn mlserver_url() -> String {
    service("SPHEROCTL_TEST_MLSERVER_URL")
}

/// KServe with the models `otsu` and `otsu-soft`.
pub fn kserve_url() -> String {
    service("SPHEROCTL_TEST_KSERVE_URL")
}

/// The service of SpheroSeg's protocol that can misbehave.
pub fn spheroseg_url() -> String {
    service("SPHEROCTL_TEST_SPHEROSEG_URL")
}

/// A PostgreSQL database that one test has for itself; dropped with this value.
pub struct TestDatabase {
    server: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// The address of this database, as `postgres://…`.
    pub fn url(&self) -> String {
        address(&self.server, &self.name)
    }
}

impl Drop for TestDatabase {
    /// Waits for the server, on a thread of its own because the test's runtime may be the one that drops. A failure
    /// is only printed: the next run drops what is left ([`drop_leftovers`]).
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut admin = connect(&server).await?;
                drop_database(&mut admin, &name).await
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("the test database {} was not dropped", self.name);
        }
    }
}

/// A fresh database with the schema that `migrate` (called with an address) makes. The schema is made once per
/// server, set of migration files and function, in a template; each call copies the template.
pub async fn postgres_database<M: AsyncFnOnce(&str)>(migrate: M) -> TestDatabase {
    let server = PgConnectOptions::from_str(&postgres_url())
        .expect("the address of PostgreSQL is well formed");
    let version = schema_version(&migrations(), std::any::type_name::<M>());
    let mut admin = connect(&server).await.expect("PostgreSQL answers");
    let template = format!("spheroctl_template_{version}");
    ensure_template(&mut admin, &server, &template, migrate)
        .await
        .expect("the template database can be made");
    let name = copy_template(&mut admin, &template)
        .await
        .expect("the template database can be copied");
    TestDatabase { server, name }
}

/// What decides whether an existing template is still right: names and contents of the files in `folder`, and which
/// function applies them.
pub fn schema_version(folder: &Path, function: &str) -> String {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.expect("a migration can be listed").path())
            .collect(),
        Err(error) => panic!("the migrations in {}: {error}", folder.display()),
    };
    files.sort();
    let mut hash = Sha256::new_with_prefix(function);
    for file in files {
        let content = std::fs::read(&file).expect("a migration can be read");
        for part in [
            file.file_name()
                .expect("a listed file has a name")
                .as_encoded_bytes(),
            &content,
        ] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn migrations() -> PathBuf {
    repository().join("src/db/migrations/postgres")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// === Addresses ===

fn service(variable: &str) -> String {
    if let Some(value) = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
    {
        return value;
    }
    let script = if ML_SERVICES.contains(&variable) {
        "ml-services"
    } else {
        "services"
    };
    let file = env_file(script);
    std::fs::read_to_string(&file)
        .ok()
        .and_then(|lines| exported(&lines, variable))
        .unwrap_or_else(|| {
            panic!(
                "{variable} is not set and {} does not name it; run: scripts/{script} up",
                file.display()
            )
        })
}

/// What `scripts/ml-services` starts; all others are those of `scripts/services`.
const ML_SERVICES: &[&str] = &[
    "SPHEROCTL_TEST_MLSERVER_URL",
    "SPHEROCTL_TEST_KSERVE_URL",
    "SPHEROCTL_TEST_SPHEROSEG_URL",
];

fn env_file(script: &str) -> PathBuf {
    let folder = match std::env::var_os("SPHEROCTL_SERVICES_DIR") {
        Some(folder) => repository().join(folder),
        None => repository().join("services"),
    };
    match script {
        "ml-services" => folder.join("ml/env"),
        _ => folder.join("env"),
    }
}

/// The value of `variable` in lines such as `export NAME=value`, where a backslash stands before special characters.
pub fn exported(lines: &str, variable: &str) -> Option<String> {
    let value = lines.lines().find_map(|line| {
        line.strip_prefix("export ")?
            .strip_prefix(variable)?
            .strip_prefix('=')
    })?;
    Some(value.replace('\\', "")).filter(|value| !value.is_empty())
}

fn address(server: &PgConnectOptions, database: &str) -> String {
    server.clone().database(database).to_url_lossy().into()
}

// === Databases ===

/// How long one statement may take, waiting for another process's template included.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// Test databases that a killed run left behind are dropped at this age, this many at a time.
const LEFTOVER_AGE_S: i64 = 3_600;
const LEFTOVERS_PER_TEMPLATE: i64 = 100;
/// The advisory lock under which templates are made: one maker among all processes on the server.
pub const TEMPLATE_LOCK: i64 = 0x7370_6865_726f;

async fn connect(server: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let limit = format!("{}ms", STATEMENT_LIMIT.as_millis());
    PgConnection::connect_with(&server.clone().options([("statement_timeout", limit)])).await
}

/// A template is complete when it is marked as one; one that is not marked was begun by a process that died.
async fn ensure_template(
    admin: &mut PgConnection,
    server: &PgConnectOptions,
    template: &str,
    migrate: impl AsyncFnOnce(&str),
) -> sqlx::Result<()> {
    if is_template(admin, template).await? {
        return Ok(());
    }
    sqlx::query("select pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut *admin)
        .await?;
    if !is_template(admin, template).await? {
        drop_leftovers(admin).await?;
        drop_database(admin, template).await?;
        run(admin, format!("create database {template}")).await?;
        migrate(&address(server, template)).await;
        seal(admin, template).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(admin)
        .await?;
    Ok(())
}

async fn is_template(admin: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from pg_database where datname = $1 and datistemplate)",
    )
    .bind(name)
    .fetch_one(admin)
    .await
}

/// Nobody may be connected to a database that is copied: whoever migrated is sent away and nobody is let in again.
async fn seal(admin: &mut PgConnection, template: &str) -> sqlx::Result<()> {
    run(
        admin,
        format!("alter database {template} with allow_connections false"),
    )
    .await?;
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
        .bind(template)
        .execute(&mut *admin)
        .await?;
    run(
        admin,
        format!("alter database {template} with is_template true"),
    )
    .await
}

/// The name carries the server's time in seconds, by which [`drop_leftovers`] knows the age.
async fn copy_template(admin: &mut PgConnection, template: &str) -> sqlx::Result<String> {
    let now: i64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::bigint")
        .fetch_one(&mut *admin)
        .await?;
    let name = format!("spheroctl_test_{now}_{}", uuid::Uuid::new_v4().simple());
    run(admin, format!("create database {name} template {template}")).await?;
    Ok(name)
}

/// Drops the test databases of runs that were killed; the caller holds [`TEMPLATE_LOCK`].
pub async fn drop_leftovers(admin: &mut PgConnection) -> sqlx::Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        "select datname from pg_database
         where datname ~ '^spheroctl_test_[0-9]+_'
           and split_part(datname, '_', 3)::bigint < extract(epoch from clock_timestamp()) - $1
         limit $2",
    )
    .bind(LEFTOVER_AGE_S)
    .bind(LEFTOVERS_PER_TEMPLATE)
    .fetch_all(&mut *admin)
    .await?;
    for name in names {
        drop_database(admin, &name).await?;
    }
    Ok(())
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    run(
        admin,
        format!("drop database if exists {name} with (force)"),
    )
    .await
}

/// Runs a statement that takes no parameters; its names are of our making.
async fn run(admin: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(admin)
        .await?;
    Ok(())
}
