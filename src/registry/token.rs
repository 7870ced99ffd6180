//! The secret that a client of this run shows.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

/// A user name and a password made for one run, so that no other program on the machine can use its registry.
///
/// Both are letters, digits and hyphens: what encodes alike in every flavour of Base64, as the Docker daemon decodes another
/// one than its clients write.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Makes a new one from the system's random numbers.
    pub fn generate() -> Self {
        Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// Returns the user name, the same for every token.
    pub fn username(&self) -> &'static str {
        "oci-store"
    }

    /// Returns the password.
    pub fn password(&self) -> &str {
        &self.0
    }

    /// Tells whether the value of an `Authorization` header shows this token.
    pub(super) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, credentials)) = authorization.split_at_checked("Basic ".len()) else {
            return false;
        };
        let Ok(shown) = BASE64_STANDARD.decode(credentials.trim_ascii()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Basic ") && self.equals(&shown)
    }

    /// Compares in a time that tells nothing of where the two differ.
    fn equals(&self, shown: &[u8]) -> bool {
        let expected = format!("{}:{}", self.username(), self.password());
        let differences = expected.bytes().zip(shown).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        std::hint::black_box(differences) == 0 && expected.len() == shown.len()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(text)).into_bytes()
    }

    #[test]
    fn only_its_own_credentials_are_good() {
        let token = Token::generate();
        let (good, password) = (format!("oci-store:{}", token.password()), token.password());
        assert!(token.is_shown_by(&basic(&good)));
        assert!(token.is_shown_by(&[b"basic ", &basic(&good)[6..]].concat()));
        for bad in ["", "oci-store:", &good[..good.len() - 1], &format!("{good}0"), password, &format!("x:{password}")]
        {
            assert!(!token.is_shown_by(&basic(bad)), "{bad:?} was accepted");
        }
        for bad in ["", "Basic", "Basic ", "Basic !", &format!("Bearer {password}"), "é"] {
            assert!(!token.is_shown_by(bad.as_bytes()), "{bad:?} was accepted");
        }
        assert!(!Token::generate().is_shown_by(&basic(&good)));
    }

    #[test]
    fn it_is_long_plain_and_never_printed() {
        let token = Token::generate();
        assert_eq!(token.password().len(), 64);
        assert!(token.password().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(!format!("{token:?}").contains(token.password()));
    }
}
