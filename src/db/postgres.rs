//! PostgreSQL: one pool, through PgBouncer in transaction mode or direct.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

use super::{Error, PoolStatistics, Tx, migrate};
use crate::settings;

/// Connections kept open while nobody asks, so that the first request after a quiet spell does not wait for a
/// handshake.
const IDLE_MIN: u32 = 2;

/// A connection is replaced after this: a new primary behind the same name, new settings and memory that a back end
/// does not give back all reach every copy within it.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Begins a transaction with its limits: 30 s for a statement, 3 s for a lock, 60 s of silence in between. They hold
/// for this transaction alone, since a pooler lends the session to another client afterwards; the same in the
/// start-up packet is refused by PgBouncer. One message, hence one round trip.
const BEGIN: &str = "begin; set local statement_timeout = '30s'; set local lock_timeout = '3s'; \
                     set local idle_in_transaction_session_timeout = '60s'";

/// Limits a statement outside a transaction. Only for sessions that no pooler lends on; behind one, the operator sets
/// the limit on the role.
const LIMIT_SESSION: &str = "set statement_timeout = '30s'";

const PING: &str = "select 1";

/// The pool of one PostgreSQL database.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    primary: PgPool,
    /// The database without a pooler in between.
    direct_url: SecretString,
    acquire_timeout: Duration,
}

impl Postgres {
    pub(super) async fn open(settings: &settings::Database) -> Result<Self, Error> {
        let options = options("database.url", &settings.url)?.log_slow_statements(
            "warn".parse().expect("log knows the level warn"),
            Duration::from_millis(settings.slow_query_ms),
        );
        let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
        // Once without the pool, which would hide the cause: it takes a refused connection for a database that is
        // starting, tries again, and answers with a time-out.
        connect(&options, acquire_timeout).await?.close().await?;
        let pooled = !settings.direct_url.expose_secret().is_empty();
        let primary = PgPoolOptions::new()
            .max_connections(settings.pool_max.max(1))
            .min_connections(IDLE_MIN.min(settings.pool_max.max(1)))
            .idle_timeout(Duration::from_millis(settings.pool_idle_timeout_ms))
            .max_lifetime(LIFETIME)
            // Covers waiting and connecting. No shorter time-out may be wrapped around: a cancelled acquisition gives
            // its half-made connection up, and under load nobody would get one (sqlx issues 3315, 3132).
            .acquire_timeout(acquire_timeout)
            .test_before_acquire(true)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !pooled {
                        sqlx::query(LIMIT_SESSION).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Ok(Self {
            primary,
            direct_url: if pooled {
                &settings.direct_url
            } else {
                &settings.url
            }
            .clone(),
            acquire_timeout,
        })
    }

    pub(super) async fn reader(&self) -> Result<Tx, Error> {
        Ok(self.acquire().await?.into())
    }

    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        let transaction = self.primary.begin_with(BEGIN).await;
        Ok(transaction.map_err(|error| self.cause(error))?.into())
    }

    pub(super) async fn migrate(&self) -> Result<(), Error> {
        let name = "database.direct_url or database.url";
        let options = options(name, &self.direct_url)?;
        let mut connection = connect(&options, self.acquire_timeout).await?;
        let mut second = connect(&options, self.acquire_timeout).await?;
        migrate::refuse_pooler(&mut connection, &mut second).await?;
        second.close().await?;
        migrate::postgres(&mut connection).await?;
        // A session that ends for any other reason gives its lock up as well.
        connection.close().await.map_err(Error::from)
    }

    pub(super) async fn pending(&self) -> Result<Vec<String>, Error> {
        migrate::pending_postgres(&mut *self.acquire().await?).await
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let mut connection = self.acquire().await?;
        let answer = sqlx::query(PING).execute(&mut *connection);
        match tokio::time::timeout(self.acquire_timeout, answer).await {
            Ok(answer) => answer.map(drop).map_err(Error::from),
            Err(_) => {
                // The answer may still come: nobody else may get this connection.
                drop(connection.detach());
                Err(Error::Unavailable(Arc::new(sqlx::Error::PoolTimedOut)))
            }
        }
    }

    pub(super) fn pool(&self) -> PoolStatistics {
        PoolStatistics {
            size: self.primary.size(),
            idle: u32::try_from(self.primary.num_idle()).unwrap_or(u32::MAX),
            max: self.primary.options().get_max_connections(),
        }
    }

    pub(super) async fn close(&self) {
        self.primary.close().await;
    }

    async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, Error> {
        let connection = self.primary.acquire().await;
        connection.map_err(|error| self.cause(error))
    }

    /// The pool times out in two ways: all connections are in use, or no new one can be made.
    fn cause(&self, error: sqlx::Error) -> Error {
        let statistics = self.pool();
        match error {
            sqlx::Error::PoolTimedOut if statistics.size < statistics.max => {
                Error::Unavailable(Arc::new(error))
            }
            error => error.into(),
        }
    }
}

fn options(name: &str, url: &SecretString) -> Result<PgConnectOptions, Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(|error| Error::Settings(format!("{name}: {error}")))?;
    Ok(options
        .application_name("spheroctl")
        // PgBouncer refuses start-up parameters that it does not know; PostgreSQL 12 and later print floats exactly
        // without this one.
        .extra_float_digits(None))
}

async fn connect(options: &PgConnectOptions, limit: Duration) -> Result<sqlx::PgConnection, Error> {
    let timed_out = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(limit, options.connect())
        .await
        .unwrap_or_else(|_| Err(timed_out()))
        .map_err(|cause| Error::Unreachable {
            at: format!(
                "postgres://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or(options.get_username()),
            ),
            cause: Arc::new(cause),
        })
}
