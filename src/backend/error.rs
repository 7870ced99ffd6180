//! Why a bucket could not be opened, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::location::InvalidLocation;

/// What a failure means to the person or script that has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The bucket, or the folder that stands for one, does not exist.
    NotFound,
    /// There are no credentials, or the store does not accept them.
    Credentials,
    /// The credentials are good but lack a right.
    Denied,
    /// The store cannot be reached or does not answer; the same again may work.
    Unavailable,
    /// A setting is wrong: a name, an address, a region, a file.
    Usage,
    /// The store is full or a quota is used up.
    NoSpace,
    /// Anything else.
    Other,
}

/// A bucket could not be opened.
///
/// The message names the bucket and the place that was asked; neither it nor its source ever holds a secret.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), source: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(super) fn with_hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    pub(super) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what the failure means.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what to do about it: one piece of advice each, the most likely first.
    pub fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

/// Bounds the opening of `place`: whatever hangs, the user hears of it while still looking.
pub(super) async fn in_time<T>(
    limit: Duration,
    place: &str,
    opening: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| {
        let message = format!("{place} did not answer within {} seconds", limit.as_secs());
        Err(Error::new(Kind::Unavailable, message)
            .with_hint("check the address, the network and the proxy, then try again"))
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<InvalidLocation> for Error {
    fn from(invalid: InvalidLocation) -> Self {
        Self::usage(invalid.to_string())
    }
}
