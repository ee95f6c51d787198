//! Connecting, reconnecting, closing, and what an error of the client means to the room.

use std::time::Duration;

use fred::clients::{Pool, SubscriberClient};
use fred::error::ErrorKind;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, RespVersion};
use secrecy::ExposeSecret;

use crate::settings;
use crate::state::Error;

/// First wait before a lost connection is made again; doubles up to the cap, for as long as the process lives.
const RECONNECT_BASE_MS: u32 = 100;

/// Longest wait before a lost connection is made again.
const RECONNECT_CAP_MS: u32 = 2_000;

/// Messages of all channels together that wait for being handed on inside the process.
const PUBLISHED_WAITING_MAX: usize = 16_384;

/// Commands that wait for one connection; more are refused.
const COMMANDS_WAITING_MAX: usize = 65_536;

/// How often a connection is looked at that owes an answer.
const UNRESPONSIVE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Connected {
    pub(super) pool: Pool,
    pub(super) subscriber: SubscriberClient,
    /// `host:port`, separated by commas.
    pub(super) address: String,
}

pub(super) async fn connect(settings: &settings::Redis) -> Result<Connected, Error> {
    let limit = Duration::from_millis(settings.command_timeout_ms);
    // The error of the parser is not shown: it may quote the URL, which may hold a password.
    let mut config = Config::from_url(settings.url.expose_secret())
        .map_err(|_| Error::Unavailable("redis.url is not the address of a Redis".to_owned()))?;
    // RESP3 sends published messages apart from answers, so that the subscriber connection answers a ping.
    config.version = RespVersion::RESP3;
    let hosts = config.server.hosts();
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let address = hosts.join(",");

    let builder = builder(config, limit);
    let pool = builder.build_pool(settings.pool_size.max(1));
    let pool = pool.map_err(|cause| error(&address, &cause))?;
    let subscriber = builder.build_subscriber_client();
    let subscriber = subscriber.map_err(|cause| error(&address, &cause))?;

    let connecting = async { tokio::try_join!(pool.init(), subscriber.init()) };
    let outcome = match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(_)) => {
            return Ok(Connected {
                pool,
                subscriber,
                address,
            });
        }
        Ok(Err(cause)) => error(&address, &cause),
        Err(_) => Error::Unavailable(format!(
            "{address}: no connection within {} ms",
            limit.as_millis()
        )),
    };
    close(&pool, &subscriber).await;
    Err(outcome)
}

fn builder(config: Config, limit: Duration) -> Builder {
    let mut builder = Builder::from_config(config);
    builder
        .with_performance_config(|performance| {
            performance.default_command_timeout = limit;
            performance.broadcast_channel_capacity = PUBLISHED_WAITING_MAX;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = limit;
            connection.internal_command_timeout = limit;
            connection.max_command_attempts = 1;
            connection.max_command_buffer_len = COMMANDS_WAITING_MAX;
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(limit * 2),
                interval: UNRESPONSIVE_INTERVAL,
            };
        })
        // 0: no limit on attempts; every command has its own.
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            RECONNECT_BASE_MS,
            RECONNECT_CAP_MS,
            2,
        ));
    builder
}

/// Says goodbye to the server. The client waits for the answer no longer than for that of any command; a connection
/// that is already gone has nothing to say.
pub(super) async fn close(pool: &Pool, subscriber: &SubscriberClient) {
    let (pooled, subscribed) = tokio::join!(pool.quit(), subscriber.quit());
    for goodbye in [pooled, subscribed] {
        if let Err(error) = goodbye {
            tracing::debug!(%error, "a connection to the state store was closed without an answer: {error}");
        }
    }
}

/// What the client's error is to our callers. The server's complaints about a command begin with `ERR`; its other words
/// (`LOADING`, `READONLY`, `CLUSTERDOWN`, `OOM` …) and all that the client reports about connections say "not now".
pub(super) fn error(address: &str, cause: &fred::error::Error) -> Error {
    let text = format!("{address}: {}", cause.details());
    match cause.kind() {
        ErrorKind::InvalidCommand
        | ErrorKind::InvalidArgument
        | ErrorKind::Parse
        | ErrorKind::Protocol
        | ErrorKind::NotFound => Error::Unexpected(text),
        ErrorKind::Unknown if cause.details().starts_with("ERR") => Error::Unexpected(text),
        _ => Error::Unavailable(text),
    }
}
