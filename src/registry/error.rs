//! Errors as the specification words them: a status, a code and a message.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use storage_layout::Error;

/// The specification's codes, and those that Docker's registry has for its own failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    Unknown,
    Unavailable,
}

/// Why a request was not served.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    /// Never the code's stock text. Docker's daemon drops an error that has it and tries again for 50 seconds.
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What failed on our side, for the journal. The client is told what was attempted, not what the store said: that may
    /// quote signatures and account names.
    failure: Option<Arc<Error>>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), failure: None }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Asks the client to come again.
    pub(super) fn come_again(self) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from_static("10"))
    }

    /// Says so where the bucket failed in a way that passes.
    pub(super) fn or_come_again(self, passes: fn(&object_store::Error) -> bool) -> Self {
        match self.failure.as_deref() {
            Some(Error::Store { source, .. }) if passes(source) => {
                let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable);
                Self { status, code, ..self }.come_again()
            }
            _ => self,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn failure(&self) -> Option<&Arc<Error>> {
        self.failure.as_ref()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::DigestInvalid(_) | Error::DigestMismatch { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid)
            }
            Error::NameInvalid(_) => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
            Error::TagInvalid(_) | Error::ManifestInvalid(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
            Error::BlobUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
            Error::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            Error::ManifestBlobUnknown { .. } => (StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown),
            Error::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
            Error::SizeMismatch { .. } => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
            Error::Body(_) => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
            Error::Corrupt { .. } | Error::Spool { .. } | Error::Store { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown)
            }
        };
        let mut answer = Self::new(status, code, error.to_string());
        if status.is_server_error() {
            answer.message = format!("the bucket cannot be used: {error}");
            answer.failure = Some(Arc::new(error));
        }
        answer
    }
}

#[derive(Serialize)]
struct Document<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: ErrorCode,
    message: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let document = Document { errors: [Entry { code: self.code, message: &self.message }] };
        let text = serde_json::to_vec(&document).expect("a struct of strings can be written as JSON");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

/// Answers for a handler that panicked, so that its client sees more than a closed connection.
#[expect(clippy::needless_pass_by_value, reason = "a panic is handed over in its box")]
pub(super) fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("without a message"), "a request handler panicked");
    let message = "a fault in oci-store itself, please report it";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, message).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::Request;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_answer() {
        async fn handler() -> &'static str {
            panic!("made up for a test")
        }
        let router: Router = Router::new().fallback(handler).layer(CatchPanicLayer::custom(answer_panic));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let expected = r#"{"errors":[{"code":"UNKNOWN","message":"a fault in oci-store itself, please report it"}]}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn what_the_store_said_goes_to_the_journal_only() {
        let source = object_store::Error::Generic { store: "S3", source: "AKIA-secret".into() };
        let answer = ApiError::from(Error::Store { attempted: "reading", key: "a/b".to_owned(), source });
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.message(), "the bucket cannot be used: reading a/b");
        assert!(answer.failure().is_some());
    }
}
