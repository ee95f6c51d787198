//! Settings as an operator meets them: the built executable with an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use spheroctl::settings::ALIASES;

const CANARY: &str = "c4n4ry";

fn spheroctl(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spheroctl"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the executable starts")
}

/// `config show --json --origin` with these arguments and variables.
fn shown(arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let arguments = [&["config", "show", "--json", "--origin"], arguments].concat();
    let output = spheroctl(&arguments, environment);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// Value and origin of `key`.
fn setting(shown: &Value, key: &str) -> (Value, String) {
    let (section, name) = key.split_once('.').unwrap();
    let entry = &shown[section][name];
    let origin = entry["origin"].as_str().expect(key).to_owned();
    (entry["value"].clone(), origin)
}

/// Standard error of a command that must end with 78.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = spheroctl(arguments, environment);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{arguments:?}: {text}");
    text
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let first = file(
        folder.path(),
        "first.toml",
        "[http]\nport = 1\nhost = \"::1\"\n",
    );
    let second = file(folder.path(), "second.toml", "[http]\nport = 2\n");
    let port = |arguments: &[&str], environment: &[(&str, &str)]| {
        setting(&shown(arguments, environment), "http.port")
    };
    assert_eq!(port(&[], &[]), (8080.into(), "default".into()));
    let one = ["--config", &first];
    assert_eq!(port(&one, &[]), (1.into(), format!("file {first}")));
    let both = ["--config", &first, "--config", &second];
    assert_eq!(port(&both, &[]), (2.into(), format!("file {second}")));
    let alias = [("PORT", "3")];
    assert_eq!(
        port(&both, &alias),
        (3.into(), "environment variable PORT".into())
    );
    let environment = [("PORT", "3"), ("SPHEROCTL__HTTP__PORT", "4")];
    let origin = "environment variable SPHEROCTL__HTTP__PORT";
    assert_eq!(port(&both, &environment), (4.into(), origin.into()));
    let flags = [&both[..], &["--set", "http.port=5"]].concat();
    assert_eq!(
        port(&flags, &environment),
        (5.into(), "command line".into())
    );
    let named = ["--log-format", "json", "--set", "log.format=text"];
    assert_eq!(setting(&shown(&named, &[]), "log.format").0, "json");
    // What a later layer does not name is kept.
    assert_eq!(setting(&shown(&both, &[]), "http.host").0, "::1");
}

/// Variable, its text, the key, the value as JSON.
const ALIAS_CASES: &str = r#"
DATABASE_URL postgres://db/lab database.url "postgres://db/lab"
DATABASE_PRIMARY_URL postgres://db/lab database.url "postgres://db/lab"
DATABASE_REPLICA_URL postgres://replica/lab database.replica_url "postgres://replica/lab"
DATABASE_POOL_MAX 7 database.pool_max 7
DATABASE_POOL_IDLE_TIMEOUT 45000 database.pool_idle_timeout_ms 45000
REDIS_URL redis://cache:1 redis.url "redis://cache:1"
REDIS_URL redis://cache:1 redis.enabled true
REDIS_HOST cache redis.url "redis://cache:6379"
REDIS_HOST cache redis.enabled true
REDIS_PORT 7000 redis.url "redis://127.0.0.1:7000"
REDIS_ENABLED true redis.enabled true
KAFKA_BOOTSTRAP_SERVERS a:1,b:2 kafka.bootstrap_servers "a:1,b:2"
KAFKA_GROUP_ID lab kafka.group_prefix "lab."
QUEUE_CONCURRENCY 9 worker.concurrency 9
ENABLE_QUEUE false queue.enabled false
QUEUE_PRIORITY_ENABLED false queue.priority_enabled false
INSTANCE_ID backend-1 instance.id "backend-1"
PORT 5000 http.port 5000
SERVER_PORT 8082 http.port 8082
ML_SERVICE_URL http://ml:5002 ml.url "http://ml:5002"
ML_SERVICE_TIMEOUT 200000 ml.timeout_ms 200000
ML_PROTOCOL spheroseg ml.segmenter "spheroseg"
SERVER_PORT 8082 realtime.port 8082
PORT 5000 realtime.port 5000
"#;

#[test]
fn every_alias_sets_its_key() {
    for case in ALIAS_CASES.trim().lines() {
        let [variable, text, key, value] = case.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{case}");
        };
        let value: Value = serde_json::from_str(value).unwrap();
        // A replica is refused beside SQLite, which is the default.
        let primary = ("SPHEROCTL__DATABASE__URL", "postgres://primary/lab");
        let environment = match variable {
            "DATABASE_REPLICA_URL" => vec![(variable, text), primary],
            // A protocol alone names no service.
            "ML_PROTOCOL" => vec![(variable, text), ("ML_SERVICE_URL", "http://ml:5002")],
            _ => vec![(variable, text)],
        };
        let (found, origin) = setting(&shown(&[], &environment), key);
        assert_eq!(found, value, "{case}");
        assert_eq!(origin, format!("environment variable {variable}"));
    }
    for alias in ALIASES {
        let covered = |key: &&str| {
            ALIAS_CASES.lines().any(|case| {
                case.starts_with(&format!("{} ", alias.variable))
                    && case.contains(&format!(" {key} "))
            })
        };
        assert!(alias.keys.iter().all(covered), "{alias:?}");
    }
}

#[test]
fn a_variable_that_is_not_used_is_named() {
    let output = spheroctl(
        &["config", "check"],
        &[("REDIS_URL", "redis://cache"), ("REDIS_HOST", "other")],
    );
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("REDIS_HOST is not used"), "{text}");
}

/// Text of a settings file, and words of the error.
const UNKNOWN_KEYS: &str = r#"
[http] prot=1 => http.prot here.toml first_byte_timeout_ms
[htpt] port=1 => htpt.port here.toml realtime
port=1 => port here.toml
[nonsense] => nonsense here.toml
[http.deeper] port=1 => http.deeper here.toml
"#;

#[test]
fn unknown_keys_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let has = |text: String, words: &str| {
        for word in words.split(' ') {
            assert!(text.contains(word), "{word} in {text}");
        }
    };
    for case in UNKNOWN_KEYS.trim().lines() {
        let (text, words) = case.split_once(" => ").unwrap();
        let path = file(folder.path(), "here.toml", &text.replace("] ", "]\n"));
        has(refused(&["config", "check", "--config", &path], &[]), words);
    }
    let flag = ["config", "check", "--set", "http.prot=1"];
    has(refused(&flag, &[]), "http.prot command line");
    for variable in ["SPHEROCTL__HTTP__PROT", "SPHEROCTL__PORT"] {
        has(refused(&["config", "check"], &[(variable, "1")]), variable);
    }
}

#[test]
fn a_section_may_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "empty.toml", "[http]\n# port = 1\n");
    shown(&["--config", &path], &[]);
}

#[test]
fn a_secret_comes_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://lab:{CANARY}@db/lab\n");
    let secret = file(folder.path(), "url", &url);
    let variable = ("SPHEROCTL__DATABASE__URL_FILE", secret.as_str());
    let (value, origin) = setting(&shown(&[], &[variable]), "database.url");
    assert_eq!(value, "postgres://lab:***@db/lab");
    assert!(origin.contains(&secret), "{origin}");
    let both = [variable, ("SPHEROCTL__DATABASE__URL", "sqlite:x")];
    let text = refused(&["config", "check"], &both);
    assert!(
        text.contains("SPHEROCTL__DATABASE__URL_FILE both set database.url"),
        "{text}"
    );
    let gone = [("SPHEROCTL__REDIS__URL_FILE", "/nowhere/url")];
    assert!(refused(&["config", "check"], &gone).contains("/nowhere/url"));
}

#[test]
fn no_output_holds_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let broken = file(
        folder.path(),
        "broken.toml",
        &format!("[database]\nurl = \"postgres://lab:{CANARY}@db\n"),
    );
    let wrong_type = file(
        folder.path(),
        "type.toml",
        &format!("[redis]\nurl = [\"redis://:{CANARY}@cache\"]\n"),
    );
    let url = format!("postgres://lab:{CANARY}@db/lab");
    let bad_url = format!("mysql://lab:{CANARY}@db/lab");
    let redis = format!("redis.url=redis://:{CANARY}@cache");
    for (arguments, value) in [
        (vec!["config", "show"], url.as_str()),
        (vec!["config", "show", "--origin", "--redacted"], &url),
        (vec!["config", "show", "--json"], &url),
        (vec!["config", "check"], &bad_url),
        (vec!["config", "check", "--role", "serve"], &url),
        (vec!["config", "check", "--config", &broken], &url),
        (vec!["config", "check", "--config", &wrong_type], &url),
        (vec!["config", "check", "--set", &redis], &url),
        (vec!["serve"], &url),
    ] {
        let output = spheroctl(&arguments, &[("SPHEROCTL__DATABASE__URL", value)]);
        let text = format!("{output:?}");
        assert!(!text.contains(CANARY), "{arguments:?}: {text}");
    }
}

/// A variable or `--set` flag, and what the error says.
const BAD_VALUES: &str = r#"
SPHEROCTL__HTTP__PORT=web => http.port = "web" (environment variable SPHEROCTL__HTTP__PORT): expected a whole number
PORT=70000 => http.port = 70000 (environment variable PORT): expected 0 to 65535
QUEUE_CONCURRENCY=0 => worker.concurrency = 0 (environment variable QUEUE_CONCURRENCY): expected 1 to 1000
REDIS_ENABLED=perhaps => expected true or false
log.format=xml => log.format = "xml" (command line): expected text or json
queue.lease_ms=3000 => at least 2 × queue.renew_interval_ms, that is 6000
"#;

#[test]
fn bad_values_are_named_with_origin_and_what_is_expected() {
    for case in BAD_VALUES.trim().lines() {
        let (given, expected) = case.split_once(" => ").unwrap();
        let text = match given.split_once('=').unwrap() {
            (key, _) if key.contains('.') => refused(&["config", "check", "--set", given], &[]),
            variable => refused(&["config", "check"], &[variable]),
        };
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let quoted = file(folder.path(), "quoted.toml", "[http]\nport = \"8080\"\n");
    let text = refused(&["config", "check", "--config", &quoted], &[]);
    assert!(
        text.contains("quoted.toml): expected a whole number"),
        "{text}"
    );
    let text = refused(&["config", "check", "--config", "/nowhere.toml"], &[]);
    assert!(text.contains("file /nowhere.toml"), "{text}");
}

#[test]
fn a_role_of_its_own_without_redis_says_what_is_missing() {
    for role in ["serve", "worker", "realtime"] {
        let text = refused(&[role], &[]);
        for word in [
            "redis.enabled",
            "redis.url",
            "SPHEROCTL__REDIS__URL",
            "`spheroctl standalone`",
            role,
        ] {
            assert!(text.contains(word), "{word} in {text}");
        }
        let check = ["config", "check", "--role", role];
        assert_eq!(refused(&check, &[]), text);
        assert!(
            spheroctl(&check, &[("REDIS_HOST", "cache")])
                .status
                .success()
        );
    }
}

#[test]
fn postgres_without_kafka_is_refused_with_the_reason() {
    let environment = [
        ("DATABASE_URL", "postgres://db/lab"),
        ("REDIS_URL", "redis://cache"),
    ];
    for role in ["serve", "worker", "migrate"] {
        let text = refused(&[role], &environment);
        assert!(
            text.contains("kafka.bootstrap_servers") && text.contains("SQLite"),
            "{text}"
        );
    }
}

#[test]
fn every_shipped_settings_file_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_of(&root.join("config"), "toml");
    files.retain(|path| !path.ends_with("nextest.toml"));
    assert!(files.iter().any(|path| path.ends_with("default.toml")));
    for path in files {
        let path = path.to_str().unwrap();
        let output = spheroctl(&["config", "check", "--config", path], &[]);
        assert!(output.status.success(), "{path}: {}", stderr(&output));
    }
    for path in files_of(&root.join("compose"), "env") {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let environment: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
        let output = spheroctl(&["config", "check"], &environment);
        assert!(
            output.status.success(),
            "{}: {}",
            path.display(),
            stderr(&output)
        );
    }
}

fn files_of(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for line in [
        &[][..],
        &["sreve"],
        &["serve", "--port", "x"],
        &["--set", "nothing", "serve"],
        &["segment", "--out", "here"],
        &["user", "set-password", "a@b", "--password", "secret"],
    ] {
        assert_eq!(spheroctl(line, &[]).status.code(), Some(2), "{line:?}");
    }
}

#[test]
fn nobody_at_the_probe_is_unhealthy() {
    // Nobody listens on port 1.
    let output = spheroctl(&["health", "--url", "http://127.0.0.1:1/livez"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("http://127.0.0.1:1/livez"));
}

#[test]
fn completions_need_no_good_settings() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = spheroctl(&["completions", shell], &[("SPHEROCTL__NO", "1")]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(script.contains("standalone"), "{shell}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for arguments in [&["config", "show"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_spheroctl"))
            .args(arguments)
            .env_clear()
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    }
}
