//! The command line: commands, flags, and the settings that flags stand for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::kit::clock::SystemClock;
use crate::kit::instance::InstanceId;
use crate::roles;
use crate::roles::args::*;
use crate::roles::dlq::args::DlqArgs;
use crate::roles::lb_check::LbCheckArgs;
use crate::roles::segment::SegmentArgs;
use crate::roles::sqlite_url::sqlite_url;
use crate::settings::{Loaded, LogFormat, Role, Settings, Sources, check_for};
use crate::telemetry::logs::{self, Colour, Destination, Form};

/// The whole command line.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "spheroctl",
    version,
    about = "The back end of a spheroid-image laboratory",
    before_help = EXAMPLES,
    after_help = LAYERS,
    max_term_width = 100
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// A settings file; of several, later ones win
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// One setting; wins over files and environment
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// Form of the log lines (log.format)
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormatName>,
    /// When log lines are coloured
    #[arg(long, global = true, value_enum, default_value_t = ColourName::Auto)]
    pub color: ColourName,
}

const EXAMPLES: &str = "\
Examples:
  spheroctl standalone                          everything in one process, nothing to install
  spheroctl segment *.tif --out results         measure images, no server
  REDIS_URL=redis://cache spheroctl serve       one of several copies behind a balancer
  spheroctl config show --origin                what is set, and where";

const LAYERS: &str = "\
Settings: defaults < --config FILE < SPHEROCTL__SECTION__KEY (SPHEROCTL__DATABASE__URL_FILE reads a secret from a file) \
< flags.
Exit status: 0 done, 1 failed, 2 wrong command line, 65 bad input, 66 no input, 69 a service is not available, \
70 internal error, 73 cannot write, 75 try later, 77 not permitted, 78 bad settings.";

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Answer HTTP: the API and the web page
    #[command(before_help = "Examples:\n  spheroctl serve --host 0.0.0.0 --port 8080")]
    Serve(ServeArgs),
    /// Run segmentation jobs, consume events, relay the outbox
    #[command(before_help = "Examples:\n  spheroctl worker --concurrency 5")]
    Worker(WorkerArgs),
    /// Push live updates over WebSockets
    #[command(before_help = "Examples:\n  spheroctl realtime --port 8081")]
    Realtime(RealtimeArgs),
    /// Bring database and event log to what this version needs
    #[command(before_help = "Examples:\n  spheroctl migrate\n  spheroctl migrate --check")]
    Migrate(MigrateArgs),
    /// Run all roles in one process, data in one folder
    #[command(
        before_help = "Examples:\n  spheroctl standalone\n  spheroctl standalone --data /srv/lab --port 8080"
    )]
    Standalone(StandaloneArgs),
    /// Segment and measure images with no server
    #[command(
        before_help = "Examples:\n  spheroctl segment plate1/*.tif --out results\n  spheroctl segment 'plates/**/*.tif' --out results --polarity dark --pixel-um 0.65\n  spheroctl segment plates --recursive --out results   # the same again goes on where it stopped\n  spheroctl segment --samples 12 --out try"
    )]
    Segment(SegmentArgs),
    /// Ask a probe; exit status 0 or 1
    #[command(
        before_help = "Examples:\n  spheroctl health\n  spheroctl health --url http://127.0.0.1:8080/livez"
    )]
    Health(HealthArgs),
    /// Prove from outside that a load balancer does its work
    #[command(
        before_help = "Examples:\n  spheroctl lb-check https://lab.example --expect-instances 3 --token-file token.txt\n  spheroctl lb-check http://127.0.0.1:8000 --rate-limit 100/m,burst=20 --json\n  spheroctl lb-check http://127.0.0.1:8000 --disruptive --fault-cmd 'kill -{signal} {pid}' --restore-cmd './start {name}'"
    )]
    LbCheck(Box<LbCheckArgs>),
    /// Accounts
    #[command(
        before_help = "Examples:\n  spheroctl user create ada@lab.example --role admin\n  spheroctl user sign-in-link ada@lab.example\n  spheroctl user set-password ada@lab.example < password.txt"
    )]
    User(UserArgs),
    /// API tokens
    #[command(
        before_help = "Examples:\n  spheroctl token create ada@lab.example --name plate-reader --expires-days 90\n  spheroctl token list"
    )]
    Token(TokenArgs),
    /// Dead letters: list, show, run again, remove
    #[command(
        before_help = "Examples:\n  spheroctl dlq jobs list --error-class storage\n  spheroctl dlq jobs replay --error-class storage\n  spheroctl dlq jobs purge --older-than-days 30 --yes\n  spheroctl dlq events list --group projector\n  spheroctl dlq events replay --all"
    )]
    Dlq(DlqArgs),
    /// Check and print the settings
    #[command(
        before_help = "Examples:\n  spheroctl config check --role serve\n  spheroctl config show --origin"
    )]
    Config(ConfigArgs),
    /// Print a shell's completion script
    #[command(
        before_help = "Examples:\n  spheroctl completions bash > ~/.local/share/bash-completion/completions/spheroctl"
    )]
    Completions(CompletionsArgs),
}

/// The choices of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatName {
    /// One line for a person
    Text,
    /// One JSON object per line
    Json,
}

/// The choices of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColourName {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl Cli {
    /// The outcome of a command that needs no settings, so that it works where they are bad; none for the others.
    pub fn run_without_settings(&self) -> Option<anyhow::Result<ExitCode>> {
        match &self.command {
            Command::Completions(args) => Some(roles::completions::run(args, Self::command())),
            _ => None,
        }
    }

    /// Where this command line takes its settings from.
    pub fn sources(&self, environment: BTreeMap<String, String>) -> Sources {
        Sources {
            files: self.config.clone(),
            environment,
            flags: self.flags(),
        }
    }

    /// Sends log lines where this command wants them.
    ///
    /// # Errors
    /// See [`logs::init`].
    pub fn init_logs(
        &self,
        settings: &Settings,
        no_color: Option<&str>,
    ) -> Result<(), logs::Error> {
        let destination = self.command.log_destination();
        let colour = match self.color {
            ColourName::Auto => Colour::Auto,
            ColourName::Always => Colour::Always,
            ColourName::Never => Colour::Never,
        };
        logs::init(logs::Options {
            form: match settings.log.format {
                LogFormat::Json => Form::Json,
                LogFormat::Text => Form::Text {
                    colour: colour.applies(destination, no_color),
                },
            },
            destination,
            filter: settings.log.filter.clone(),
            instance: InstanceId::for_this_boot(Some(&settings.instance.id))
                .name()
                .to_owned(),
            role: self.command.name(),
            clock: SystemClock::shared(),
        })
    }

    /// `--set` first: a flag with a name of its own says it more plainly.
    fn flags(&self) -> Vec<(String, String)> {
        let mut flags = self.set.clone();
        let format = self.log_format.map(|format| match format {
            LogFormatName::Text => "text",
            LogFormatName::Json => "json",
        });
        push(&mut flags, "log.format", format);
        match &self.command {
            Command::Serve(args) => {
                push(&mut flags, "http.host", args.host.as_ref());
                push(&mut flags, "http.port", args.port);
            }
            Command::Worker(args) => push(&mut flags, "worker.concurrency", args.concurrency),
            Command::Realtime(args) => {
                push(&mut flags, "realtime.host", args.host.as_ref());
                push(&mut flags, "realtime.port", args.port);
            }
            Command::Standalone(args) => {
                push(&mut flags, "http.host", args.host.as_ref());
                push(&mut flags, "http.port", args.port);
                if let Some(data) = &args.data {
                    push(
                        &mut flags,
                        "database.url",
                        Some(sqlite_url(&data.join("spheroctl.sqlite"))),
                    );
                    push(&mut flags, "files.dir", Some(data.join("files").display()));
                }
            }
            Command::Segment(args) => push(&mut flags, "worker.concurrency", args.concurrency),
            _ => {}
        }
        flags
    }
}

impl Command {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// Whatever the command could not do; `roles::exit` says which exit code that is.
    pub async fn run(self, loaded: Loaded) -> anyhow::Result<ExitCode> {
        if let Some(role) = self.role() {
            check_for(role, &loaded.settings)?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
        }
        let settings = loaded.settings.clone();
        match self {
            Self::Serve(args) => roles::serve::run(args, settings).await,
            Self::Worker(args) => roles::worker::run(args, settings).await,
            Self::Realtime(args) => roles::realtime::run(args, settings).await,
            Self::Migrate(args) => roles::migrate::run(args, settings).await,
            Self::Standalone(args) => roles::standalone::run(args, settings).await,
            Self::Segment(args) => roles::segment::run(args, settings).await,
            Self::Health(args) => roles::health::run(args, settings).await,
            Self::LbCheck(args) => roles::lb_check::run(*args).await,
            Self::User(args) => roles::user::run(args, settings).await,
            Self::Token(args) => roles::token::run(args, settings).await,
            Self::Dlq(args) => roles::dlq::run(args, settings).await,
            Self::Config(args) => roles::config::run(&args, &loaded),
            Self::Completions(args) => roles::completions::run(&args, Cli::command()),
        }
    }

    /// The role whose needs the settings must meet; none for commands that open no backend.
    const fn role(&self) -> Option<Role> {
        match self {
            Self::Serve(_) => Some(Role::Serve),
            Self::Worker(_) => Some(Role::Worker),
            Self::Realtime(_) => Some(Role::Realtime),
            Self::Migrate(_) => Some(Role::Migrate),
            Self::Standalone(_) => Some(Role::Standalone),
            Self::Segment(_) => Some(Role::Segment),
            Self::User(_) | Self::Token(_) => Some(Role::Accounts),
            Self::Dlq(_) => Some(Role::DeadLetters),
            Self::Health(_) | Self::LbCheck(_) | Self::Config(_) | Self::Completions(_) => None,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Health(_) => "health",
            Self::LbCheck(_) => "lb-check",
            Self::Config(_) => "config",
            Self::Completions(_) => "completions",
            command => match command.role() {
                Some(role) => role.name(),
                None => "",
            },
        }
    }

    /// Roles log to standard output, as whoever starts them expects; commands keep it for their result.
    const fn log_destination(&self) -> Destination {
        match self {
            Self::Serve(_) | Self::Worker(_) | Self::Realtime(_) => Destination::Stdout,
            _ => Destination::Stderr,
        }
    }
}

fn push(flags: &mut Vec<(String, String)>, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        flags.push((key.to_owned(), value.to_string()));
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected SECTION.KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags_of(line: &[&str]) -> Vec<(String, String)> {
        Cli::try_parse_from(line).unwrap().flags()
    }

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_named_flag_comes_after_set() {
        let line = ["spheroctl", "serve", "--port", "2", "--set", "http.port=1"];
        let flags = flags_of(&line);
        assert_eq!(flags.last().unwrap(), &("http.port".into(), "2".into()));
    }

    #[test]
    fn a_data_folder_names_database_and_files() {
        let flags = flags_of(&["spheroctl", "standalone", "--data", "/srv/50 %?"]);
        let value = |key: &str| &flags.iter().find(|(found, _)| found == key).unwrap().1;
        assert_eq!(
            value("database.url"),
            "sqlite:/srv/50 %25%3F/spheroctl.sqlite"
        );
        assert_eq!(value("files.dir"), "/srv/50 %?/files");
    }

    #[test]
    fn segment_needs_files_or_samples() {
        let parse = |line: &[&str]| Cli::try_parse_from(line);
        assert!(parse(&["spheroctl", "segment", "--out", "o"]).is_err());
        assert!(parse(&["spheroctl", "segment", "--out", "o", "--samples", "3"]).is_ok());
    }

    #[test]
    fn every_help_begins_with_examples() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_help().to_string();
            assert!(help.starts_with("Examples:\n  spheroctl"), "{help}");
        }
    }
}
