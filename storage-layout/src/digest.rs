//! Content digests: the address of everything in the bucket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::Error;

/// A hash function that a [`Digest`] may be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// SHA-256, what nearly all images use.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Returns the name as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Returns the digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut digester = Digester::new(self);
        digester.update(bytes);
        digester.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(Error::DigestInvalid(text.to_owned())),
        }
    }
}

/// `sha256:` or `sha512:` followed by lowercase hexadecimal of the right length.
///
/// Checked once, when it is made: a value of this type is safe as part of an object key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    text: Box<str>,
    algorithm: Algorithm,
}

impl Digest {
    /// Returns the hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// Returns the beginning of the hexadecimal part, enough for people to tell digests apart.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// Returns the whole digest as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Makes a digest from an algorithm and its hexadecimal part, as they stand in a key.
    ///
    /// # Errors
    /// [`Error::DigestInvalid`] if `hex` is not lowercase hexadecimal of the right length.
    pub fn from_parts(algorithm: &str, hex: &str) -> Result<Self, Error> {
        format!("{algorithm}:{hex}").parse()
    }

    /// Tells whether this is the digest of no bytes at all.
    pub fn is_of_nothing(&self) -> bool {
        *self == self.algorithm.digest(b"")
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::DigestInvalid(shortened(text));
        let (algorithm, hex) = text.split_once(':').ok_or_else(invalid)?;
        let algorithm: Algorithm = algorithm.parse().map_err(|_| invalid())?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(is_hex) {
            return Err(invalid());
        }
        Ok(Self { text: text.into(), algorithm })
    }
}

/// Returns text from outside as an error may quote it: cut and escaped, so that it can neither flood a log nor steer a terminal.
pub fn shortened(text: &str) -> String {
    const QUOTED: usize = 150;
    let mut short: String = text.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text.into()
    }
}

/// Computes a [`Digest`] of bytes that arrive in pieces.
#[derive(Clone, Debug)]
pub struct Digester {
    state: State,
    length: u64,
}

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// Starts with no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state, length: 0 }
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns how many bytes were added, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Returns the digest of all bytes added.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let hash: &[u8] = match self.state {
            State::Sha256(state) => &state.finalize(),
            State::Sha512(state) => &state.finalize(),
        };
        let mut text = String::with_capacity(8 + hash.len() * 2);
        text.push_str(algorithm.as_str());
        text.push(':');
        for byte in hash {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
            }
        }
        Digest { text: text.into(), algorithm }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn hashes_as_the_standard_says() {
        assert_eq!(Algorithm::Sha256.digest(b"hello").as_str(), HELLO);
        assert!(Algorithm::Sha512.digest(b"abc").as_str().starts_with("sha512:ddaf35a193617aba"));
    }

    #[test]
    fn rejects_what_the_grammar_forbids() {
        let hex = &HELLO[7..];
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            hex,
            &HELLO.to_uppercase(),
            &HELLO[..70],
            &format!("{HELLO}0"),
            &format!("md5:{}", &hex[..32]),
            &format!("foo:{hex}"),
            &format!("sha512:{hex}"),
            &format!("sha256:../{}", &hex[3..]),
            &format!("{HELLO}\n"),
            &format!("sha256:é{}", &hex[2..]),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn knows_the_digest_of_nothing() {
        assert!(Algorithm::Sha256.digest(b"").is_of_nothing());
        assert!(!HELLO.parse::<Digest>().unwrap().is_of_nothing());
    }

    proptest! {
        #[test]
        fn pieces_hash_like_the_whole(bytes: Vec<u8>, cut in 0usize..64) {
            let mut digester = Digester::new(Algorithm::Sha256);
            for piece in bytes.chunks(cut + 1) {
                digester.update(piece);
            }
            prop_assert_eq!(digester.length(), bytes.len() as u64);
            prop_assert_eq!(digester.finish(), Algorithm::Sha256.digest(&bytes));
        }

        #[test]
        fn text_survives(bytes: Vec<u8>) {
            let digest = Algorithm::Sha512.digest(&bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }
    }
}
