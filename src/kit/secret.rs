//! Secrets that a client holds and we know only by their hash, so that whoever reads what we keep cannot use what it
//! finds. They are random, so that a plain hash is enough: there is nothing to guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use sha2::{Digest, Sha256};

/// Bytes of chance in a secret (256 bit: OWASP ASVS 5.0, 7.2.3, asks for 128 at least).
const SECRET_BYTES: usize = 32;

/// A new secret, in letters that fit into a URL and a cookie.
pub fn random() -> String {
    let mut bytes = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 of a secret: what is kept of it.
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_carry_256_bits() {
        let (first, second) = (random(), random());
        assert_ne!(first, second);
        assert_eq!(URL_SAFE_NO_PAD.decode(first).unwrap().len(), 32);
    }
}
