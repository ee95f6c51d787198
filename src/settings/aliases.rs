//! The variable names that deployments of earlier systems have in their files, with those systems' units. They stand
//! below `SPHEROCTL__…`: a deployment can move over one variable at a time.

use std::collections::BTreeMap;

use config::Value;

use super::error::Error;
use super::layers::Layer;
use super::schema::{Raw, schema};

/// A variable and what it sets.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// Name of the variable.
    pub variable: &'static str,
    /// The keys that it sets.
    pub keys: &'static [&'static str],
    /// How its text becomes the value.
    reading: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As it is; milliseconds stay milliseconds.
    AsIs,
    /// The group's id is the prefix of our groups' ids, with a dot between.
    GroupPrefix,
    /// A protocol of a remote segmenter, `oip2` for short.
    Protocol,
    /// A host: the URL is made of it and `REDIS_PORT`.
    RedisHost,
    /// A port: the URL is made of it and `REDIS_HOST`.
    RedisPort,
}

/// Every alias. Of two that set one key, both may be given only where they agree.
pub const ALIASES: &[Alias] = &[
    as_is("DATABASE_URL", &["database.url"]),
    as_is("DATABASE_PRIMARY_URL", &["database.url"]),
    as_is("DATABASE_REPLICA_URL", &["database.replica_url"]),
    as_is("DATABASE_POOL_MAX", &["database.pool_max"]),
    as_is(
        "DATABASE_POOL_IDLE_TIMEOUT",
        &["database.pool_idle_timeout_ms"],
    ), // ms
    as_is("REDIS_URL", &["redis.url"]),
    Alias {
        variable: "REDIS_HOST",
        keys: &["redis.url"],
        reading: Reading::RedisHost,
    },
    Alias {
        variable: "REDIS_PORT",
        keys: &["redis.url"],
        reading: Reading::RedisPort,
    },
    as_is("REDIS_ENABLED", &["redis.enabled"]),
    as_is("KAFKA_BOOTSTRAP_SERVERS", &["kafka.bootstrap_servers"]),
    Alias {
        variable: "KAFKA_GROUP_ID",
        keys: &["kafka.group_prefix"],
        reading: Reading::GroupPrefix,
    },
    as_is("QUEUE_CONCURRENCY", &["worker.concurrency"]),
    as_is("ENABLE_QUEUE", &["queue.enabled"]),
    as_is("QUEUE_PRIORITY_ENABLED", &["queue.priority_enabled"]),
    as_is("ML_SERVICE_URL", &["ml.url"]),
    as_is("ML_SERVICE_TIMEOUT", &["ml.timeout_ms"]), // ms
    Alias {
        variable: "ML_PROTOCOL",
        keys: &["ml.segmenter"],
        reading: Reading::Protocol,
    },
    as_is("INSTANCE_ID", &["instance.id"]),
    // The public port of whichever role the process has.
    as_is("PORT", &["http.port", "realtime.port"]),
    as_is("SERVER_PORT", &["http.port", "realtime.port"]),
];

const fn as_is(variable: &'static str, keys: &'static [&'static str]) -> Alias {
    Alias {
        variable,
        keys,
        reading: Reading::AsIs,
    }
}

/// The values that the aliases give. An empty variable counts as absent: compose files write `${NAME:-}`.
pub(super) fn layer(environment: &BTreeMap<String, String>) -> (Layer, Vec<Error>) {
    let mut found = Found {
        environment,
        layer: Layer::default(),
        given: BTreeMap::new(),
        problems: Vec::new(),
    };
    for alias in ALIASES {
        found.take(alias);
    }
    found.redis_enabled();
    found.segmenter();
    (found.layer, found.problems)
}

struct Found<'a> {
    environment: &'a BTreeMap<String, String>,
    layer: Layer,
    /// Which variable gave a key, and what.
    given: BTreeMap<&'static str, (&'static str, String)>,
    problems: Vec<Error>,
}

impl Found<'_> {
    fn text(&self, variable: &str) -> Option<&str> {
        let text = self.environment.get(variable)?;
        (!text.is_empty()).then_some(text)
    }

    fn take(&mut self, alias: &Alias) {
        let Some(text) = self.text(alias.variable).map(str::to_owned) else {
            return;
        };
        let value = match alias.reading {
            Reading::AsIs => text,
            Reading::GroupPrefix => format!("{}.", text.trim_end_matches('.')),
            Reading::Protocol if text == "oip2" => "oip-v2".to_owned(),
            Reading::Protocol => text,
            Reading::RedisHost | Reading::RedisPort => match self.redis_url(alias, &text) {
                Some(url) => url,
                None => return,
            },
        };
        for key in alias.keys {
            self.set(alias.variable, key, value.clone());
        }
    }

    fn set(&mut self, variable: &'static str, key: &'static str, text: String) {
        if let Some((first, before)) = self.given.get(key) {
            if *before != text {
                self.problems.push(Error::Both {
                    first: (*first).to_owned(),
                    second: variable.to_owned(),
                    key: key.to_owned(),
                });
            }
            return;
        }
        let origin = format!("environment variable {variable}");
        match schema().typed(key, Raw::Text(text.clone()), &origin) {
            Ok(value) => {
                self.layer.values.insert(key.to_owned(), value);
                self.given.insert(key, (variable, text));
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    /// The URL of host and port; none (with a warning or a problem) where they do not count.
    fn redis_url(&mut self, alias: &Alias, text: &str) -> Option<String> {
        let variable = alias.variable;
        if self.text("REDIS_URL").is_some() {
            let warning = format!("{variable} is not used: REDIS_URL is given");
            self.layer.warnings.push(warning);
            return None;
        }
        // Kubernetes makes REDIS_PORT=tcp://10.0.0.1:6379 by itself for a service named redis.
        let port = self.text("REDIS_PORT").filter(|port| !port.contains("://"));
        let port = port.unwrap_or("6379").to_owned();
        if alias.reading == Reading::RedisPort && text.contains("://") {
            let warning = format!("{variable} is not used: it holds no port number");
            self.layer.warnings.push(warning);
            return None;
        }
        let host = self.text("REDIS_HOST").unwrap_or("127.0.0.1").to_owned();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if port.parse::<u16>().is_err() || !host.bytes().all(known) {
            self.problems.push(Error::Value {
                key: "redis.url".into(),
                found: format!("{text:?}"),
                origin: format!("environment variable {variable}"),
                expected: "a host name in REDIS_HOST and a port number in REDIS_PORT".into(),
            });
            return None;
        }
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        let host = if bare_v6 { format!("[{host}]") } else { host };
        Some(format!("redis://{host}:{port}"))
    }

    /// Whoever names a Redis wants it used, unless REDIS_ENABLED says otherwise. A port alone names none.
    fn redis_enabled(&mut self) {
        self.imply(&["REDIS_URL", "REDIS_HOST"], "redis.enabled", true);
    }

    /// Whoever names an ML service wants it used; without a protocol it is one of SpheroSeg's, whose variable it is.
    fn segmenter(&mut self) {
        self.imply(&["ML_SERVICE_URL"], "ml.segmenter", "spheroseg");
    }

    /// Gives `key` this value where one of the variables is given and none gives the key itself.
    fn imply(
        &mut self,
        variables: &[&str],
        key: &'static str,
        value: impl Into<config::ValueKind>,
    ) {
        if self.given.contains_key(key) {
            return;
        }
        if let Some(variable) = variables.iter().find(|name| self.text(name).is_some()) {
            let origin = format!("environment variable {variable}");
            let value = Value::new(Some(&origin), value.into());
            self.layer.values.insert(key.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer_of(pairs: &[(&str, &str)]) -> (Layer, Vec<Error>) {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        layer(&pairs.iter().map(own).collect())
    }

    fn text(layer: &Layer, key: &str) -> String {
        layer.values[key].clone().into_string().unwrap()
    }

    #[test]
    fn every_alias_sets_keys_that_exist() {
        for alias in ALIASES {
            let known = schema().defaults();
            assert!(
                alias.keys.iter().all(|key| known.contains_key(*key)),
                "{alias:?}"
            );
        }
    }

    #[test]
    fn host_and_port_make_a_url_and_enable_redis() {
        let (layer, _) = layer_of(&[("REDIS_HOST", "cache"), ("REDIS_PORT", "7000")]);
        assert_eq!(text(&layer, "redis.url"), "redis://cache:7000");
        assert_eq!(text(&layer, "redis.enabled"), "true");
        let (layer, _) = layer_of(&[("REDIS_HOST", "::1")]);
        assert_eq!(text(&layer, "redis.url"), "redis://[::1]:6379");
    }

    #[test]
    fn redis_enabled_has_the_last_word() {
        let (layer, _) = layer_of(&[("REDIS_URL", "redis://a"), ("REDIS_ENABLED", "false")]);
        assert_eq!(text(&layer, "redis.enabled"), "false");
    }

    #[test]
    fn a_service_variable_of_kubernetes_is_no_port() {
        let (layer, problems) = layer_of(&[("REDIS_PORT", "tcp://10.0.0.1:6379")]);
        assert!(
            problems.is_empty() && layer.values.is_empty(),
            "{problems:?}"
        );
        assert_eq!(layer.warnings.len(), 1);
    }

    #[test]
    fn two_names_of_one_key_must_agree() {
        let (_, problems) = layer_of(&[("PORT", "1"), ("SERVER_PORT", "1")]);
        assert!(problems.is_empty(), "{problems:?}");
        let (_, problems) = layer_of(&[("PORT", "1"), ("SERVER_PORT", "2")]);
        assert!(matches!(problems[0], Error::Both { .. }), "{problems:?}");
    }

    #[test]
    fn a_group_id_becomes_a_prefix() {
        let (layer, _) = layer_of(&[("KAFKA_GROUP_ID", "annotation-frontend-group")]);
        assert_eq!(
            text(&layer, "kafka.group_prefix"),
            "annotation-frontend-group."
        );
    }

    #[test]
    fn an_ml_service_is_used_by_the_protocol_that_is_given() {
        let service = ("ML_SERVICE_URL", "http://ml:8000");
        let (layer, _) = layer_of(&[service]);
        assert_eq!(text(&layer, "ml.segmenter"), "spheroseg");
        let (layer, problems) = layer_of(&[service, ("ML_PROTOCOL", "oip2")]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(text(&layer, "ml.segmenter"), "oip-v2");
    }
}
