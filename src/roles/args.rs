//! What each command is told; `segment` has a file of its own. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::kit::id::TokenId;
use crate::roles::password::PasswordArgs;

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address to listen on (http.host)
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one (http.port)
    #[arg(long)]
    pub port: Option<u16>,
}

/// Arguments of `worker`.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// Jobs that run at once in this process (worker.concurrency)
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u16>,
}

/// Arguments of `realtime`.
#[derive(Debug, Clone, Args)]
pub struct RealtimeArgs {
    /// Address to listen on (realtime.host)
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one (realtime.port)
    #[arg(long)]
    pub port: Option<u16>,
}

/// Arguments of `migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    /// Only report what is pending; exit status 1 when something is
    #[arg(long)]
    pub check: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `standalone`.
#[derive(Debug, Clone, Args)]
pub struct StandaloneArgs {
    /// Folder of the database and the files (database.url, files.dir)
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on (http.host)
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one (http.port)
    #[arg(long)]
    pub port: Option<u16>,
    /// Print address and sign-in link as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// What to ask; /livez on the operator listener of this machine where it is left out
    #[arg(long)]
    pub url: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `user`.
#[derive(Debug, Clone, Args)]
pub struct UserArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: UserAction,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `user` does.
#[derive(Debug, Clone, Subcommand)]
pub enum UserAction {
    /// Make an account
    Create {
        /// E-mail address: the account's name at sign-in
        email: String,
        /// Name that others see; the part before the @ where it is left out
        #[arg(long)]
        name: Option<String>,
        /// What the account may do
        #[arg(long, value_enum, default_value_t = UserRole::User)]
        role: UserRole,
        /// The password; without one the account signs in by link or token.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List the accounts
    List,
    /// Refuse an account from now on and end its sessions
    Disable {
        /// E-mail address of the account
        email: String,
    },
    /// Give an account another password (read from standard input, or --password-file)
    SetPassword {
        /// E-mail address of the account
        email: String,
        /// Where the new password is read from; standard input where nothing is said.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Print a link that signs an account in once
    SignInLink {
        /// E-mail address of the account
        email: String,
    },
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserRole {
    /// Work in the projects of which it is a member
    User,
    /// The same with a higher priority
    Premium,
    /// Everything
    Admin,
}

impl UserRole {
    /// The word that stands in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Premium => "premium",
            Self::Admin => "admin",
        }
    }
}

/// Arguments of `token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: TokenAction,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `token` does.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenAction {
    /// Make an API token; it is printed once and never again
    Create {
        /// E-mail address of the account that the token acts for
        email: String,
        /// What the token is for
        #[arg(long)]
        name: String,
        /// Days after which it ends; never where it is left out
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_days: Option<u32>,
    },
    /// List the tokens, without their secrets
    List {
        /// Only those of this account (e-mail address)
        email: Option<String>,
    },
    /// End a token
    Revoke {
        /// Its id, from `token list`
        id: TokenId,
    },
}

/// Arguments of `config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `config` does.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigAction {
    /// Say whether the settings are good; exit status 78 when they are not
    Check {
        /// Also check what this command needs
        #[arg(long, value_enum, value_name = "COMMAND")]
        role: Option<RoleName>,
    },
    /// Print every setting; secrets are always redacted
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        /// Redact secrets; always on, accepted so that a script can say what it means
        #[arg(long)]
        redacted: bool,
    },
}

/// A role whose needs `config check` can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// HTTP API and web page
    Serve,
    /// Jobs, consumers, outbox relay
    Worker,
    /// WebSocket gateway
    Realtime,
    /// Schema and topics
    Migrate,
    /// All in one process
    Standalone,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
