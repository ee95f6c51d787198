//! Which backends a role needs. The rules are the product's: the in-process state store cannot be shared, and the
//! embedded event log is a table of the SQLite database.

use secrecy::ExposeSecret;

use super::environment::variable;
use super::error::Error;
use super::sections::Settings;

/// What a process is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// HTTP API and web page.
    Serve,
    /// Segmentation jobs, consumer groups, outbox relay.
    Worker,
    /// WebSocket gateway.
    Realtime,
    /// Brings the backends up to date.
    Migrate,
    /// All roles in one process.
    Standalone,
    /// The main job with no server.
    Segment,
    /// Accounts and API tokens.
    Accounts,
    /// Dead letters.
    DeadLetters,
}

impl Role {
    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Worker => "worker",
            Self::Realtime => "realtime",
            Self::Migrate => "migrate",
            Self::Standalone => "standalone",
            Self::Segment => "segment",
            Self::Accounts => "accounts",
            Self::DeadLetters => "dlq",
        }
    }

    /// Whether it works beside other processes and so shares state with them.
    const fn shares_state(self) -> bool {
        matches!(self, Self::Serve | Self::Worker | Self::Realtime)
    }

    /// Whether it opens the event log.
    const fn opens_log(self) -> bool {
        self.shares_state() || matches!(self, Self::Migrate | Self::Standalone | Self::DeadLetters)
    }
}

/// Refuses settings with which `role` would lose data or hide it from the other processes.
///
/// # Errors
/// [`Error::NeedsRedis`] and [`Error::UnsafeMix`], each naming the settings to change.
pub fn check_for(role: Role, settings: &Settings) -> Result<(), Error> {
    let mut problems = Vec::new();
    if role.shares_state() && !settings.redis.enabled {
        problems.push(needs_redis(role));
    }
    problems.extend(unsafe_mix(role, settings).map(Error::UnsafeMix));
    Error::all(problems)
}

fn needs_redis(role: Role) -> Error {
    let missing = format!(
        "redis.enabled = true and redis.url (variables {} and {}, or REDIS_URL alone)",
        variable("redis.enabled"),
        variable("redis.url"),
    );
    Error::NeedsRedis {
        role: role.name(),
        missing,
    }
}

fn unsafe_mix(role: Role, settings: &Settings) -> Option<String> {
    let database = settings.database.url.expose_secret();
    let sqlite = database.starts_with("sqlite:");
    if role.opens_log() && !sqlite && settings.kafka.bootstrap_servers.is_empty() {
        return Some(format!(
            "database.url is PostgreSQL but kafka.bootstrap_servers is empty: the embedded event log is a table of the \
             SQLite database, so with PostgreSQL there is none. Set kafka.bootstrap_servers ({} or \
             KAFKA_BOOTSTRAP_SERVERS), or use a SQLite database",
            variable("kafka.bootstrap_servers"),
        ));
    }
    let in_memory = sqlite && (database.contains(":memory:") || database.contains("mode=memory"));
    (in_memory && role.shares_state()).then(|| {
        "database.url is a SQLite database in memory: every process would have one of its own. Name a file, or use \
         PostgreSQL"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, load};

    fn outcome(role: Role, environment: &[(&str, &str)]) -> Result<(), Error> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let sources = Sources {
            environment: environment.iter().map(own).collect(),
            ..Sources::default()
        };
        check_for(role, &load(&sources).unwrap().settings)
    }

    const POSTGRES: (&str, &str) = ("DATABASE_URL", "postgres://db/lab");
    const REDIS: (&str, &str) = ("REDIS_URL", "redis://cache");
    const KAFKA: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "log:9092");

    #[test]
    fn a_process_of_its_own_needs_redis_and_standalone_does_not() {
        for role in [Role::Serve, Role::Worker, Role::Realtime] {
            assert!(matches!(outcome(role, &[]), Err(Error::NeedsRedis { .. })));
            outcome(role, &[REDIS]).unwrap();
        }
        for role in [
            Role::Standalone,
            Role::Segment,
            Role::Migrate,
            Role::Accounts,
        ] {
            outcome(role, &[]).unwrap();
        }
    }

    #[test]
    fn postgres_needs_kafka_and_kafka_does_not_need_postgres() {
        for role in [Role::Serve, Role::Migrate, Role::Standalone] {
            let error = outcome(role, &[POSTGRES, REDIS]);
            assert!(matches!(error, Err(Error::UnsafeMix(_))), "{error:?}");
            outcome(role, &[POSTGRES, REDIS, KAFKA]).unwrap();
            outcome(role, &[REDIS, KAFKA]).unwrap();
        }
    }

    #[test]
    fn a_database_in_memory_is_not_shared() {
        let error = outcome(Role::Serve, &[REDIS, ("DATABASE_URL", "sqlite::memory:")]);
        assert!(matches!(error, Err(Error::UnsafeMix(_))), "{error:?}");
    }
}
