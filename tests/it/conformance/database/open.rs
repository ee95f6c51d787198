//! Opening: what is made, and what is said when it fails.

use std::time::Duration;

use spheroctl::db::{Db, Error, Tx, on_tx};

use super::{Backend, settings};

#[tokio::test]
async fn a_scheme_that_is_unknown_is_named_and_the_rest_is_not() {
    let error = Db::open(&settings("mysql://ada:secret@db.example/lab"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Settings(_)), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("mysql") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_url_without_scheme_is_not_shown() {
    let error = Db::open(&settings("ada-secret")).await.unwrap_err();
    assert!(matches!(error, Error::Settings(_)), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for url in ["sqlite::memory:", "sqlite:a?mode=memory", "sqlite:"] {
        let error = Db::open(&settings(url)).await.unwrap_err();
        assert!(matches!(error, Error::Settings(_)), "{url}: {error}");
    }
}

/// Port 1 of the own machine: nobody listens.
#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let error = Db::open(&settings("postgres://ada:secret@127.0.0.1:1/lab"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("postgres://127.0.0.1:1/lab"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut settings = settings(&format!("postgres://ada:secret@127.0.0.1:{port}/lab"));
    settings.acquire_timeout_ms = 100;
    let opened = tokio::time::timeout(Duration::from_secs(5), Db::open(&settings)).await;
    let error = opened.expect("within its limit").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "these are notes, not a database\n".repeat(100)).unwrap();
    let url = format!("sqlite:{}", file.display());
    let error = Db::open(&settings(&url)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
}

/// The file holds password hashes.
#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let backend = Backend::sqlite().await;
    let file = backend.sqlite_options().get_filename().to_owned();
    for name in ["test.sqlite", "test.sqlite-wal"] {
        let metadata = std::fs::metadata(file.with_file_name(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn sqlite_is_set_to_lose_no_commit() {
    const SET: &str = "
        select journal_mode, synchronous, foreign_keys, timeout
        from pragma_journal_mode, pragma_synchronous, pragma_foreign_keys, pragma_busy_timeout";
    let backend = Backend::sqlite().await;
    let mut tx = backend.db.attempts("test").begin().await.unwrap();
    let set: (String, i64, i64, i64) =
        on_tx!(tx, |conn| sqlx::query_as(SET).fetch_one(conn).await).unwrap();
    // Write-ahead log, FULL, on, and what the settings of the tests say.
    assert_eq!(set, ("wal".to_owned(), 2, 1, 5_000));
}

#[tokio::test]
async fn a_reader_of_sqlite_cannot_write() {
    let backend = Backend::sqlite().await;
    let mut reader = backend.db.reader().await.unwrap();
    let outcome = on_tx!(reader, |conn| sqlx::query("delete from users")
        .execute(conn)
        .await
        .map(drop));
    assert!(outcome.unwrap_err().to_string().contains("readonly"));
}

/// A session that a pooler lends on keeps nothing of them.
#[tokio::test]
async fn every_transaction_of_postgres_has_its_limits() {
    let backend = Backend::postgres().await;
    let direct = backend.another(|settings| settings.pool_max = 1).await;
    let pooled = backend
        .another(|settings| {
            settings.pool_max = 1;
            settings.direct_url = settings.url.clone();
        })
        .await;
    for (db, outside) in [(direct, "30s 3s"), (pooled, "0 0")] {
        for attempts in [db.attempts("test"), db.one_statement().attempts("test")] {
            let mut attempts = attempts;
            assert_eq!(limits(&mut attempts.begin().await.unwrap()).await, "30s 3s");
        }
        assert_eq!(limits(&mut db.reader().await.unwrap()).await, outside);
    }
}

async fn limits(tx: &mut Tx) -> String {
    const LIMITS: &str =
        "select current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')";
    on_tx!(tx, |conn| sqlx::query_scalar(LIMITS).fetch_one(conn).await).unwrap()
}

#[tokio::test]
#[should_panic(expected = "a second statement")]
async fn a_second_statement_needs_a_transaction() {
    let backend = Backend::postgres().await;
    let db = backend.db.one_statement();
    let mut tx = db.attempts("test").begin().await.unwrap();
    limits(&mut tx).await;
    limits(&mut tx).await;
}

#[tokio::test]
async fn the_pool_tells_its_size() {
    for backend in [Backend::sqlite().await, Backend::postgres().await] {
        let held = backend.db.attempts("test").begin().await.unwrap();
        let statistics = backend.db.pool();
        drop(held);
        assert!(
            statistics.size >= 1 && statistics.size > statistics.idle,
            "{statistics:?}"
        );
        assert!(statistics.size <= statistics.max, "{statistics:?}");
    }
}
