//! What an error of `object_store` means.
//!
//! Its variants tell little: whatever is not a 404, 403 or the like is `Generic`, and a refused listing is so as well. The
//! status and the store's own code are only in the text of an error that is not exported, so they are read from there.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use object_store::client::HttpError;

use super::answer::{Answer, printable};
use super::error::Kind;

/// How advice begins that says where credentials were looked for.
pub const LOOKED_AT: &str = "looked at, in this order: ";

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure<'a> {
    /// The store refused it.
    Answered(Answer),
    /// The store sent it elsewhere without saying where: the region is wrong.
    Redirected,
    /// No answer came.
    Unanswered(&'a HttpError),
    /// There are no credentials to sign it with.
    NoCredentials(&'a NoCredentials),
    /// The file system refused it.
    Io(&'a io::Error),
    /// Anything else.
    Other(&'a object_store::Error),
}

/// Credentials could not be obtained.
#[derive(Debug, thiserror::Error)]
#[error("no credentials: {reason}")]
pub(super) struct NoCredentials {
    /// What it means that there are none.
    pub(super) kind: Kind,
    /// Why, as far as the last source tells.
    pub(super) reason: String,
    /// Where they were looked for, in order, as advice.
    pub(super) tried: Vec<String>,
}

impl<'a> Failure<'a> {
    pub(super) fn of(error: &'a object_store::Error) -> Self {
        for cause in chain(error) {
            if let Some(missing) = cause.downcast_ref() {
                return Self::NoCredentials(missing);
            }
            if let Some(answer) = cause.downcast_ref::<Answer>() {
                return Self::Answered(answer.clone());
            }
            if let Some(http) = cause.downcast_ref() {
                return Self::Unanswered(http);
            }
            if let Some(io) = cause.downcast_ref() {
                return Self::Io(io);
            }
            let text = cause.to_string();
            if text.starts_with("Received redirect without LOCATION") {
                return Self::Redirected;
            }
            if let Some(answer) = Answer::parse(&text) {
                return Self::Answered(answer);
            }
        }
        Self::Other(error)
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Answered(answer) => answer.kind(),
            Self::Redirected => Kind::Usage,
            Self::Unanswered(_) => Kind::Unavailable,
            Self::NoCredentials(missing) => missing.kind,
            Self::Other(object_store::Error::Unauthenticated { .. }) => Kind::Credentials,
            Self::Io(error) => io_kind(error.kind()),
            Self::Other(object_store::Error::PermissionDenied { .. }) => Kind::Denied,
            Self::Other(_) => Kind::Other,
        }
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(answer) => answer.fmt(f),
            Self::Redirected => f.write_str("the store sent the request elsewhere, without saying where"),
            Self::Unanswered(error) => f.write_str(&joined(error.source().unwrap_or(*error))),
            Self::NoCredentials(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Other(error) => f.write_str(&joined(*error)),
        }
    }
}

/// What is kept of an `object_store` error as the source of ours: what was refused and why, on one line.
///
/// The error itself repeats each text once per layer and quotes the answer's body, in which AWS returns the request with
/// its session token.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Cause(String);

impl Cause {
    pub(super) fn of(error: &object_store::Error) -> Self {
        Self(describe(error))
    }
}

/// Returns what an error that a store gave after it was opened means.
///
/// [`Kind::NotFound`] is the bucket only. An object that is missing is [`Kind::Other`]: what that means is known to the one
/// who asked for it.
pub fn classify(error: &object_store::Error) -> Kind {
    match Failure::of(error) {
        // The local store's way to say that an object is missing.
        Failure::Io(_) if matches!(error, object_store::Error::NotFound { .. }) => Kind::Other,
        failure => failure.kind(),
    }
}

/// Tells whether an error that a store gave may be gone by itself when the same is tried again later.
pub fn passes(error: &object_store::Error) -> bool {
    classify(error) == Kind::Unavailable
}

/// Returns an error of a store as one line for people: the reason only, with no repetition and nothing secret.
pub fn describe(error: &object_store::Error) -> String {
    Failure::of(error).to_string()
}

/// Returns what an error of the file system means.
pub(super) fn io_kind(kind: io::ErrorKind) -> Kind {
    match kind {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Kind::NoSpace,
        io::ErrorKind::TimedOut | io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::HostUnreachable => {
            Kind::Unavailable
        }
        _ => Kind::Other,
    }
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Returns the texts of an error and its sources, without those that a text before them repeats.
pub(super) fn joined(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error) {
        let next = cause.to_string();
        if !text.contains(&next) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&next);
        }
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpErrorKind;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Text(String);

    fn generic(source: impl StdError + Send + Sync + 'static) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: Box::new(source) }
    }

    fn answered(status: &str, body: &str) -> object_store::Error {
        generic(Text(format!("Server returned non-2xx status code: {status}: {body}")))
    }

    #[test]
    fn an_error_is_classified_by_what_is_deepest_in_it() {
        let cases = [
            (answered("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>"), Kind::NotFound),
            (answered("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"), Kind::Other),
            (answered("403 Forbidden", ""), Kind::Denied),
            (answered("403 Forbidden", "<Code>AccessDenied</Code>"), Kind::Denied),
            (answered("403 Forbidden", "<Code>SignatureDoesNotMatch</Code>"), Kind::Credentials),
            (answered("400 Bad Request", "<Code>ExpiredToken</Code>"), Kind::Credentials),
            (answered("401 Unauthorized", ""), Kind::Credentials),
            (answered("503 Service Unavailable", "<Code>SlowDown</Code>"), Kind::Unavailable),
            (answered("502 Bad Gateway", "<html>"), Kind::Unavailable),
            (answered("404 Not Found", "<Code>ContainerNotFound</Code>"), Kind::NotFound),
            (answered("404 Not Found", "<Code>BlobNotFound</Code>"), Kind::Other),
            (answered("403 Forbidden", "<Code>AuthenticationFailed</Code>"), Kind::Credentials),
            (answered("403 Forbidden", "<Code>AuthorizationFailure</Code>"), Kind::Denied),
            (answered("503 Service Unavailable", "<Code>ServerBusy</Code>"), Kind::Unavailable),
            (answered("507 Insufficient Storage", "<Code>XMinioStorageFull</Code>"), Kind::NoSpace),
            (answered("418 I'm a teapot", ""), Kind::Other),
            (generic(Text("Server returned error response: <Code>InternalError</Code>".into())), Kind::Unavailable),
            (generic(Text("DeleteObjects request failed for key a (b): no (code: AccessDenied)".into())), Kind::Denied),
            (generic(HttpError::new(HttpErrorKind::Connect, Text("refused".into()))), Kind::Unavailable),
            (generic(io::Error::from(io::ErrorKind::StorageFull)), Kind::NoSpace),
            (generic(io::Error::from(io::ErrorKind::QuotaExceeded)), Kind::NoSpace),
            (generic(io::Error::from(io::ErrorKind::PermissionDenied)), Kind::Denied),
            (
                generic(NoCredentials { kind: Kind::Credentials, reason: String::new(), tried: Vec::new() }),
                Kind::Credentials,
            ),
            (
                object_store::Error::NotFound {
                    path: "a".into(),
                    source: io::Error::from(io::ErrorKind::NotFound).into(),
                },
                Kind::Other,
            ),
            (
                object_store::Error::PermissionDenied { path: "a".into(), source: Text(String::new()).into() },
                Kind::Denied,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(classify(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_description_is_short_and_holds_no_request() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>It\n does not</Message>\
                    <CanonicalRequest>x-amz-security-token:TOKEN</CanonicalRequest></Error>";
        let text = describe(&answered("403 Forbidden", body));
        assert_eq!(text, "the store answered 403 SignatureDoesNotMatch: It  does not");
        let oauth = r#"{"error":"invalid_client","error_description":"No such\nsecret.","access_token":"TOKEN"}"#;
        let text = describe(&answered("401 Unauthorized", oauth));
        assert_eq!(text, "the store answered 401 invalid_client: No such secret.");
        let google = r#"{"error":{"code":403,"message":"No.","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(describe(&answered("403 Forbidden", google)), "the store answered 403 PERMISSION_DENIED: No.");
    }
}
