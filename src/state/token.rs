//! Secrets that a client holds and the store knows only by their hash, so that whoever reads the store cannot use what
//! it finds. They are random, so that a plain hash is enough: there is nothing to guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use sha2::{Digest, Sha256};

/// Bytes of chance in a token (256 bit: OWASP ASVS 5.0, 7.2.3, asks for 128 at least).
const TOKEN_BYTES: usize = 32;

/// A new secret, in letters that fit into a URL and a cookie.
pub(super) fn random_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 of a secret in hexadecimal.
pub(super) fn hash(token: &str) -> String {
    format!("{:x}", Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_carry_256_bits() {
        let (first, second) = (random_token(), random_token());
        assert_ne!(first, second);
        assert_eq!(URL_SAFE_NO_PAD.decode(first).unwrap().len(), 32);
    }
}
