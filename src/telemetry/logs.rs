//! Log lines: one event, one line, as text for a person or as JSON for a collector.
//!
//! Both carry the instant (RFC 3339, UTC), level, target and message, the event's fields, and those of the spans round
//! it; JSON also says which instance and role wrote the line. Control characters are escaped, so that nobody who can
//! put text into a log can forge a line of it.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt};

pub use super::line::Form;
use super::line::Line;

use crate::kit::clock::SharedClock;

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Roles: whoever starts them collects their output.
    Stdout,
    /// Commands, whose standard output is their result.
    Stderr,
}

/// When levels are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>).
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What the lines of a process look like and say about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// How lines look.
    pub form: Form,
    /// Where lines go.
    pub destination: Destination,
    /// Which events become lines, such as `info,spheroctl::worker=debug`.
    pub filter: String,
    /// Name and boot of this process.
    pub instance: String,
    /// Its role.
    pub role: &'static str,
    /// Where instants come from.
    pub clock: SharedClock,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be understood.
    #[error("log filter {filter:?}: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else has taken the process's log before.
    #[error("the log of this process is taken: {0}")]
    Taken(String),
}

impl Colour {
    /// Whether `destination` gets colours; `no_color` is the value of the variable `NO_COLOR`.
    pub fn applies(self, destination: Destination, no_color: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => no_color.is_none_or(str::is_empty) && destination.is_terminal(),
        }
    }
}

impl Destination {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => std::io::stdout().is_terminal(),
            Self::Stderr => std::io::stderr().is_terminal(),
        }
    }
}

/// Sends every event of the process, and every line of the `log` crate, to its log.
///
/// # Errors
/// A filter that cannot be understood; a log that is taken.
pub fn init(options: Options) -> Result<(), Error> {
    let taken = |error: tracing_subscriber::util::TryInitError| Error::Taken(error.to_string());
    match options.destination {
        Destination::Stdout => subscriber(options, std::io::stdout)?
            .try_init()
            .map_err(taken),
        Destination::Stderr => subscriber(options, std::io::stderr)?
            .try_init()
            .map_err(taken),
    }
}

fn subscriber<W>(options: Options, writer: W) -> Result<impl Subscriber + Send + Sync, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&options.filter).map_err(|error| Error::Filter {
        filter: options.filter.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .fmt_fields(JsonFields::new())
        .event_format(Line {
            form: options.form,
            instance: options.instance,
            role: options.role,
            clock: options.clock,
        })
        .with_filter(filter);
    Ok(tracing_subscriber::registry().with(lines))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use chrono::DateTime;
    use parking_lot::Mutex;

    use super::*;
    use crate::kit::clock::ManualClock;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, filter: &str) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let options = Options {
            form,
            destination: Destination::Stderr,
            filter: filter.into(),
            instance: "lab-0badcafe".into(),
            role: "worker",
            clock: Arc::new(ManualClock::at(DateTime::UNIX_EPOCH)),
        };
        let subscriber = subscriber(options, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("job", job_id = 7, role = "mine");
            let _inside = span.enter();
            tracing::warn!(file = "a\nb.tif", size = 3.5, "bad\r\nfile\x1b[31m {}", "a");
            tracing::debug!("not asked for");
        });
        let bytes = kept.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_one_line_without_control_characters() {
        let target = "spheroctl::telemetry::logs::tests";
        assert_eq!(
            logged(Form::Text { colour: false }, "info"),
            format!(
                "1970-01-01T00:00:00.000000Z  WARN {target}: bad\\r\\nfile\\u{{1b}}[31m a \
                 file=\"a\\nb.tif\" size=3.5 job_id=7 role=mine\n"
            )
        );
    }

    #[test]
    fn json_has_the_agreed_fields_and_no_name_twice() {
        let line = logged(Form::Json, "info");
        assert!(line.starts_with(r#"{"timestamp":"1970-01-01T00:00:00.000000Z","level":"WARN","#));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["msg"], "bad\r\nfile\u{1b}[31m a");
        assert_eq!(value["instance"], "lab-0badcafe");
        assert_eq!(
            (&value["role"], &value["role_"]),
            (&"worker".into(), &"mine".into())
        );
        assert_eq!((&value["job_id"], &value["size"]), (&7.into(), &3.5.into()));
        assert_eq!(line.lines().count(), 1, "{line}");
    }

    #[test]
    fn colours_mark_the_level_alone() {
        let line = logged(Form::Text { colour: true }, "info");
        assert!(line.contains("\x1b[33m WARN\x1b[0m"), "{line}");
    }

    #[test]
    fn the_filter_decides() {
        assert_eq!(logged(Form::Json, "error"), "");
        assert_eq!(logged(Form::Json, "debug").lines().count(), 2);
    }

    #[test]
    fn no_color_counts_only_when_it_is_not_empty() {
        assert!(!Colour::Auto.applies(Destination::Stderr, Some("1")));
        assert!(Colour::Always.applies(Destination::Stderr, Some("1")));
        assert!(!Colour::Never.applies(Destination::Stderr, None));
    }
}
