//! Exit codes (sysexits.h), and the one place that says which error ends with which.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::{db, events, settings, state, telemetry};

/// How a command ends. A wrong command line ends with 2 (clap), a panic with 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// It did what it was asked to.
    Success = 0,
    /// It could not, for a reason that has no code of its own.
    Failure = 1,
    /// The input is bad (an image that cannot be read).
    Data = 65,
    /// An input file does not exist or cannot be opened.
    NoInput = 66,
    /// A service (database, Redis, Kafka, an address) is not available.
    Unavailable = 69,
    /// A defect of this program or of stored data.
    Internal = 70,
    /// An output file cannot be made.
    CantCreate = 73,
    /// It may succeed later as it is.
    Temporary = 75,
    /// The operating system refuses.
    Permission = 77,
    /// The settings are bad.
    Config = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Gives an error the code that it ends the command with.
pub trait WithCode<T> {
    /// The same result; its error ends the command with `code`.
    ///
    /// # Errors
    /// The error of `self`.
    fn or_exit(self, code: Code) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithCode<T> for Result<T, E> {
    fn or_exit(self, code: Code) -> anyhow::Result<T> {
        self.map_err(|error| {
            anyhow::Error::new(Coded {
                code,
                error: error.into(),
            })
        })
    }
}

/// Says on standard error why the command failed, and returns its code. A reader that went away (`spheroctl … | head`)
/// is no failure and is not worth a word.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let code = code_of(error);
    if code != Code::Success {
        // Nothing is left to be done when standard error is closed too.
        let _ = writeln!(io::stderr(), "spheroctl: {error:#}");
    }
    code.into()
}

/// The code that `error` ends a command with: that of the outermost cause which has one.
pub fn code_of(error: &anyhow::Error) -> Code {
    error
        .chain()
        .find_map(code_of_cause)
        .unwrap_or(Code::Failure)
}

fn code_of_cause(cause: &(dyn StdError + 'static)) -> Option<Code> {
    if let Some(coded) = cause.downcast_ref::<Coded>() {
        return Some(coded.code);
    }
    if cause.is::<settings::Error>() || cause.is::<telemetry::logs::Error>() {
        return Some(Code::Config);
    }
    if let Some(error) = cause.downcast_ref::<db::Error>() {
        return Some(of_database(error));
    }
    if let Some(error) = cause.downcast_ref::<state::Error>() {
        return Some(match error {
            state::Error::Unavailable(_) => Code::Unavailable,
            state::Error::Unexpected(_) => Code::Internal,
        });
    }
    if let Some(error) = cause.downcast_ref::<events::log::Error>() {
        return Some(of_log(error));
    }
    cause
        .downcast_ref::<io::Error>()
        .and_then(|error| of_io(error.kind()))
}

fn of_database(error: &db::Error) -> Code {
    match error {
        db::Error::PoolExhausted | db::Error::Unavailable(_) | db::Error::Unreachable { .. } => {
            Code::Unavailable
        }
        // Schema: another process may be bringing it up to date just now.
        db::Error::Conflict(_) | db::Error::Migration(_) => Code::Temporary,
        db::Error::Settings(_) => Code::Config,
        db::Error::Inconsistent { .. } | db::Error::Other(_) => Code::Internal,
        _ => Code::Failure,
    }
}

fn of_log(error: &events::log::Error) -> Code {
    match error {
        events::log::Error::Unavailable(_) => Code::Unavailable,
        events::log::Error::UnknownTopic(_) | events::log::Error::Fenced(_) => Code::Temporary,
        _ => Code::Failure,
    }
}

fn of_io(kind: ErrorKind) -> Option<Code> {
    match kind {
        ErrorKind::BrokenPipe => Some(Code::Success),
        ErrorKind::PermissionDenied => Some(Code::Permission),
        ErrorKind::AddrInUse
        | ErrorKind::AddrNotAvailable
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Some(Code::Unavailable),
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => {
            Some(Code::Temporary)
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
            Some(Code::CantCreate)
        }
        _ => None,
    }
}

/// An error with a code; it reads as the error alone.
#[derive(Debug)]
struct Coded {
    code: Code,
    error: anyhow::Error,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain: `source` stays empty, so that nothing is said twice.
        write!(f, "{:#}", self.error)
    }
}

impl StdError for Coded {}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn failed(kind: ErrorKind) -> anyhow::Error {
        anyhow::Error::new(io::Error::from(kind)).context("while at it")
    }

    #[test]
    fn a_cause_below_the_context_decides() {
        assert_eq!(code_of(&failed(ErrorKind::AddrInUse)), Code::Unavailable);
        assert_eq!(code_of(&failed(ErrorKind::BrokenPipe)), Code::Success);
        assert_eq!(code_of(&failed(ErrorKind::NotFound)), Code::Failure);
        let state = anyhow::Error::new(state::Error::Unavailable("gone".into()));
        assert_eq!(code_of(&state), Code::Unavailable);
    }

    #[test]
    fn a_given_code_wins_and_does_not_change_the_text() {
        let error: anyhow::Result<()> = Err(failed(ErrorKind::PermissionDenied));
        let error = error.or_exit(Code::NoInput).context("a.tif").unwrap_err();
        assert_eq!(code_of(&error), Code::NoInput);
        assert_eq!(
            format!("{error:#}"),
            "a.tif: while at it: permission denied"
        );
    }
}
