//! What can go wrong with a registry, by meaning.

use std::error::Error as StdError;
use std::fmt;

use serde::Deserialize;

use crate::transfer;

/// How much of an answer that is no registry's is quoted, in characters.
const QUOTED: usize = 200;

/// What a failure means to the person or script that has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The registry says that there is no such repository, manifest or blob.
    NotFound,
    /// Credentials are missing, wrong or not enough.
    Credentials,
    /// Bytes have another digest or size than they should.
    Integrity,
    /// The registry cannot be reached or does not answer as it should; the same again may work.
    Unavailable,
    /// What is sent is larger than the registry takes.
    TooLarge,
    /// A setting is wrong: a file, an address, a name.
    Usage,
    /// Anything else.
    Other,
}

/// What went wrong. Neither a message nor its cause ever holds a secret, a query or a redirect's target beyond its host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry answered, and refused.
    #[error("{attempted}: {answer}")]
    Refused {
        /// What was attempted, such as `reading the tag v1 of ghcr.io/org/app`.
        attempted: String,
        /// What the registry said.
        answer: Answer,
    },
    /// No answer came.
    #[error("{attempted}: {host} cannot be reached")]
    Unreachable {
        /// What was attempted.
        attempted: String,
        /// Who did not answer.
        host: String,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// The registry's certificate is not one that is trusted.
    #[error("{attempted}: the certificate of {host} is not trusted")]
    Certificate {
        /// What was attempted.
        attempted: String,
        /// Whose certificate.
        host: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The registry sends us where nothing of ours is to go.
    #[error("{attempted}: {registry} names {target}, which is not followed: {problem}")]
    Untrusted {
        /// What was attempted.
        attempted: String,
        /// Who names it.
        registry: String,
        /// What it names: scheme, host and port.
        target: String,
        /// What is wrong with it, as a clause.
        problem: String,
    },
    /// The registry names a token server that is not its own, and the credentials are not for that one.
    #[error("{attempted}: {registry} names the token server {server}, which is outside the registry's domain")]
    Stranger {
        /// What was attempted.
        attempted: String,
        /// Who names it.
        registry: String,
        /// Its host and port.
        server: String,
    },
    /// The answer is not what the registry was asked for, or is not whole.
    #[error("{attempted}: {problem}")]
    Damaged {
        /// What was attempted.
        attempted: String,
        /// What is wrong, as a clause.
        problem: String,
    },
    /// The answer follows no specification that we know.
    #[error("{attempted}: {problem}")]
    Unexpected {
        /// What was attempted.
        attempted: String,
        /// What is wrong, as a clause.
        problem: String,
    },
    /// Credentials could not be had from a file or a program.
    #[error("the credentials for {registry} cannot be had from {place}: {problem}")]
    Credentials {
        /// Whose credentials.
        registry: String,
        /// The file or program.
        place: String,
        /// What is wrong, as a clause.
        problem: String,
    },
    /// A setting cannot be used.
    #[error("{setting} cannot be used: {problem}")]
    Setting {
        /// Which one, such as `the CA file ca.pem`.
        setting: String,
        /// What is wrong, as a clause.
        problem: String,
    },
}

impl Error {
    /// Returns what the failure means.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { answer, .. } => answer.kind(),
            Self::Unreachable { .. } => Kind::Unavailable,
            Self::Certificate { .. } | Self::Untrusted { .. } | Self::Stranger { .. } | Self::Credentials { .. } => {
                Kind::Credentials
            }
            Self::Damaged { .. } => Kind::Integrity,
            Self::Unexpected { .. } => Kind::Other,
            Self::Setting { .. } => Kind::Usage,
        }
    }
}

impl From<Error> for transfer::Error {
    fn from(error: Error) -> Self {
        match error.kind() {
            Kind::NotFound => Self::NotFound(error.to_string()),
            _ => Self::Remote(Box::new(error)),
        }
    }
}

/// An answer with which a registry refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The registry's own words, of the specification's error document.
    pub messages: Vec<Message>,
    /// The beginning of an answer that is no such document.
    pub text: Option<String>,
}

/// One error of the specification's error document:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// The specification's word, such as `MANIFEST_UNKNOWN`.
    #[serde(default)]
    pub code: String,
    /// The registry's explanation.
    #[serde(default)]
    pub message: String,
    /// What it adds, in a form of its own.
    #[serde(default)]
    pub detail: serde_json::Value,
}

#[derive(Deserialize)]
struct Document {
    errors: Vec<Message>,
}

impl Answer {
    /// Reads an answer's body, or its beginning.
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        if let Ok(document) = serde_json::from_slice::<Document>(body) {
            return Self { status, messages: document.errors, text: None };
        }
        let text = String::from_utf8_lossy(body);
        let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // A web page says nothing that helps.
        if words.starts_with('<') {
            words.clear();
        }
        Self { status, messages: Vec::new(), text: (!words.is_empty()).then(|| words.chars().take(QUOTED).collect()) }
    }

    /// Tells whether the registry gave this code.
    pub(super) fn has_code(&self, codes: &[&str]) -> bool {
        self.messages.iter().any(|message| codes.contains(&message.code.as_str()))
    }

    fn kind(&self) -> Kind {
        match self.status {
            // What began is lost, which says nothing of what is there.
            404 if self.has_code(&["BLOB_UPLOAD_UNKNOWN"]) => Kind::Unavailable,
            404 => Kind::NotFound,
            401 | 403 => Kind::Credentials,
            413 => Kind::TooLarge,
            _ if self.has_code(&["DIGEST_INVALID", "SIZE_INVALID"]) => Kind::Integrity,
            408 | 429 | 500..=599 => Kind::Unavailable,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry answered {}", self.status)?;
        for (at, message) in self.messages.iter().enumerate() {
            f.write_str(if at == 0 { ": " } else { "; " })?;
            message.fmt(f)?;
        }
        self.text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.code.as_str(), self.message.as_str()];
        f.write_str(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))?;
        match &self.detail {
            serde_json::Value::Null => Ok(()),
            serde_json::Value::String(detail) => write!(f, " ({detail})"),
            detail => write!(f, " ({detail})"),
        }
    }
}

/// What is at the bottom of a failure of the HTTP client, whose own errors show the whole address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut deepest = error;
        while let Some(cause) = deepest.source() {
            deepest = cause;
        }
        Self(deepest.to_string())
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self(text)
    }
}
