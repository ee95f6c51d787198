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

/// The limits of a session: 30 s for a statement, 3 s for a lock, 60 s of silence inside a transaction. Not in the
/// start-up packet, where PgBouncer refuses them.
const LIMIT_SESSION: &str = "set statement_timeout = '30s'; set lock_timeout = '3s'; \
                             set idle_in_transaction_session_timeout = '60s'";

/// Begins a transaction in a session with its limits.
const BEGIN: &str = "begin";

/// Begins a transaction behind a pooler, which lends the session to another client afterwards: the same limits hold for
/// this transaction alone, and on other statements the operator sets them, on the role. One message, hence one round
/// trip.
const BEGIN_LIMITED: &str = "begin; set local statement_timeout = '30s'; set local lock_timeout = '3s'; \
                             set local idle_in_transaction_session_timeout = '60s'";

/// A connection that answered so lately is not asked again before it is used: a transaction takes as many questions as it
/// has statements, and half as many again where each connection is asked first.
const FRESH: Duration = Duration::from_secs(1);

const PING: &str = "select 1";

/// The pool of one PostgreSQL database.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    primary: PgPool,
    /// A pooler stands in between.
    is_pooled: bool,
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
            .test_before_acquire(false)
            .before_acquire(|connection, of| {
                Box::pin(async move {
                    if of.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !pooled {
                        sqlx::raw_sql(LIMIT_SESSION).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Ok(Self {
            primary,
            is_pooled: pooled,
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
        Ok(self.answering().await?.into())
    }

    /// A connection that was lost since it was last used is found out by the message that begins: nothing was done on it,
    /// and another takes its place.
    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        let begin = match self.is_pooled {
            true => BEGIN_LIMITED,
            false => BEGIN,
        };
        let mut idle = self.primary.num_idle();
        loop {
            let begun = self.primary.begin_with(begin).await;
            match begun.map_err(|error| self.cause(error)) {
                Err(Error::Unavailable(_)) if idle > 0 => idle -= 1,
                begun => return Ok(begun?.into()),
            }
        }
    }

    /// For one statement, which is a transaction by itself. One that meets a connection that was lost since it was last
    /// used fails: nobody can know whether it was done.
    pub(super) async fn begin_one(&self) -> Result<Tx, Error> {
        match self.is_pooled {
            true => self.begin().await,
            false => Ok(Tx::of_one_statement(self.acquire().await?)),
        }
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
        migrate::pending_postgres(&mut *self.answering().await?).await
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

    /// A connection that answers now.
    async fn answering(&self) -> Result<PoolConnection<sqlx::Postgres>, Error> {
        let mut idle = self.primary.num_idle();
        loop {
            let mut connection = self.acquire().await?;
            match connection.ping().await {
                Err(_) if idle > 0 => idle -= 1,
                answer => return answer.map(|()| connection).map_err(Error::from),
            }
        }
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
