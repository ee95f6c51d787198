//! Password hashes: Argon2id with OWASP's smallest parameters (19 MiB, 2 passes, 1 lane), about 50 ms of a core each.
//! Without a bound on how many are computed at once, sign-in would be the way to stop the server.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::Error;

/// OWASP Password Storage Cheat Sheet: m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Shortest and longest password in characters (ASVS 5.0, 6.2.1 and 6.2.9).
const CHARS_MIN: usize = 8;
const CHARS_MAX: usize = 256;

/// Hashes and verifies, a bounded number at once, off the runtime's threads.
#[derive(Debug, Clone)]
pub struct Passwords {
    at_once: Arc<Semaphore>,
    /// Verified where there is no account, so that the answer takes the same time.
    decoy: Arc<str>,
}

impl Passwords {
    /// Computes at most `at_once` hashes at the same time.
    ///
    /// # Errors
    /// Only when Argon2 refuses its own parameters.
    pub fn new(at_once: usize) -> Result<Self, Error> {
        let decoy = hash("nobody has this password")?.into();
        Ok(Self {
            at_once: Arc::new(Semaphore::new(at_once.max(1))),
            decoy,
        })
    }

    /// The PHC string of a password.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is too short or too long.
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        let chars = password.chars().count();
        if !(CHARS_MIN..=CHARS_MAX).contains(&chars) {
            return Err(Error::invalid(
                "password",
                format!("{CHARS_MIN} to {CHARS_MAX} characters are expected, not {chars}"),
            ));
        }
        let password = password.to_owned();
        self.run(move || hash(&password)).await?
    }

    /// Whether the password fits the hash; false, after the same time, where there is no hash.
    ///
    /// # Errors
    /// Only when the computation itself is lost.
    pub async fn verify(&self, password: &str, phc: Option<&str>) -> Result<bool, Error> {
        if password.chars().count() > CHARS_MAX {
            return Ok(false);
        }
        let known = phc.is_some();
        let phc = phc.unwrap_or(&self.decoy).to_owned();
        let password = password.to_owned();
        let fits = self
            .run(move || {
                PasswordHash::new(&phc).is_ok_and(|parsed| {
                    argon2id()
                        .verify_password(password.as_bytes(), &parsed)
                        .is_ok()
                })
            })
            .await?;
        Ok(fits && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _permit = self
            .at_once
            .acquire()
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Internal(error.to_string()))
    }
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> Result<String, Error> {
    let salt = SaltString::encode_b64(uuid::Uuid::new_v4().as_bytes())
        .map_err(|error| Error::Internal(error.to_string()))?;
    argon2id()
        .hash_password(password.as_bytes(), &salt)
        .map(|phc| phc.to_string())
        .map_err(|error| Error::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_fits() {
        let passwords = Passwords::new(2).unwrap();
        let phc = passwords.hash("correct horse").await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify("correct horse", Some(&phc)).await.unwrap());
        assert!(!passwords.verify("wrong horse", Some(&phc)).await.unwrap());
        assert!(
            !passwords
                .verify("nobody has this password", None)
                .await
                .unwrap()
        );
        assert!(passwords.hash("short").await.is_err());
    }
}
