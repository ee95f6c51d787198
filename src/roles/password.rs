//! Where a password is read from: never a flag, which every user of the machine could read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

/// Longest password in bytes; a longer file is not a password.
const BYTES_MAX: u64 = 1_024;

/// Where a password is read from.
#[derive(Debug, Clone, Default, Args)]
pub struct PasswordArgs {
    /// Read the password from this file (its line break at the end is dropped)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    pub password_stdin: bool,
}

impl PasswordArgs {
    /// The password that was asked for; none where neither file nor standard input was named.
    ///
    /// # Errors
    /// A source that cannot be read, is empty, is not UTF-8 or is longer than 1,024 bytes.
    pub fn read(&self) -> io::Result<Option<SecretString>> {
        match &self.password_file {
            Some(path) => {
                let named = |error: io::Error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                };
                password(File::open(path).map_err(named)?)
                    .map_err(named)
                    .map(Some)
            }
            None if self.password_stdin => self.read_or_stdin().map(Some),
            None => Ok(None),
        }
    }

    /// The password, from standard input where nothing else was named.
    ///
    /// # Errors
    /// As [`Self::read`]; a terminal, which would show what is typed.
    pub fn read_or_stdin(&self) -> io::Result<SecretString> {
        if self.password_file.is_some()
            && let Some(secret) = self.read()?
        {
            return Ok(secret);
        }
        if io::stdin().is_terminal() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a terminal would show the password: pipe it in, or use --password-file",
            ));
        }
        password(io::stdin().lock())
    }
}

fn password(source: impl Read) -> io::Result<SecretString> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason);
    let mut text = String::new();
    source.take(BYTES_MAX + 3).read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.len() as u64 {
        0 => Err(invalid("the password is empty")),
        bytes if bytes > BYTES_MAX => Err(invalid("the password is longer than 1,024 bytes")),
        _ => Ok(SecretString::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn only_the_last_line_break_is_dropped() {
        let read = |text: &str| password(text.as_bytes()).map(|it| it.expose_secret().to_owned());
        assert_eq!(read(" two words \r\n").unwrap(), " two words ");
        assert_eq!(read("\n").unwrap_err().to_string(), "the password is empty");
        assert!(read(&"x".repeat(1_025)).is_err());
        assert!(read(&"x".repeat(1_024)).is_ok());
    }
}
