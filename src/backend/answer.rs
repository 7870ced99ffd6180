//! What a store's refusal says: its status, its code, its words.

use std::fmt;

use super::error::Kind;

/// How much of a store's own message is quoted, in characters.
const QUOTED: usize = 300;

/// An answer with which a store refuses a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status; absent where only the code is known.
    pub(super) status: Option<u16>,
    /// The store's own word, such as `NoSuchBucket`; absent if the answer had no body, or not an S3 one.
    pub(super) code: Option<String>,
    /// The store's explanation.
    pub(super) message: Option<String>,
    /// The region that the request should have gone to.
    pub(super) region: Option<String>,
}

impl Answer {
    /// Reads the text of the error that a refused request leaves.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("Server returned non-2xx status code: ") {
            let (status, body) = rest.split_once(": ").unwrap_or((rest, ""));
            let status = status.split(' ').next().and_then(|status| status.parse().ok());
            return Some(Self { status, ..Self::from_body(body) });
        }
        if let Some(body) = text.strip_prefix("Server returned error response: ") {
            return Some(Self::from_body(body));
        }
        // One key of a bulk delete.
        let (_, rest) = text.strip_prefix("DeleteObjects request failed for key ")?.rsplit_once(" (code: ")?;
        Some(Self { code: Some(rest.trim_end_matches(')').to_owned()), ..Self::default() })
    }

    /// Reads a refusal.
    pub(super) fn new(status: u16, body: &str) -> Self {
        Self { status: Some(status), ..Self::from_body(body) }
    }

    fn from_body(body: &str) -> Self {
        if let Ok(serde_json::Value::Object(body)) = serde_json::from_str(body) {
            return Self::from_json(&body);
        }
        Self {
            status: None,
            code: element(body, "Code"),
            message: element(body, "Message"),
            region: element(body, "Region"),
        }
    }

    /// Reads what login services answer: the words of OAuth, or Google's own.
    fn from_json(body: &serde_json::Map<String, serde_json::Value>) -> Self {
        let text = |value: Option<&serde_json::Value>| value?.as_str().map(printable).filter(|text| !text.is_empty());
        let nested = body.get("error").and_then(serde_json::Value::as_object);
        let (code, message) = match nested {
            Some(error) => (text(error.get("status").or(error.get("code"))), text(error.get("message"))),
            None => (text(body.get("error")), text(body.get("error_description"))),
        };
        Self { code, message, ..Self::default() }
    }

    /// Returns the answer as one line, which begins with who gave it.
    pub(super) fn told_by(&self, who: &str) -> String {
        let mut text = format!("{who} answered");
        for (before, part) in [
            (" ", self.status.map(|status| status.to_string())),
            (" ", self.code.clone()),
            (": ", self.message.clone()),
        ] {
            if let Some(part) = part {
                text.push_str(before);
                text.push_str(&part);
            }
        }
        text
    }

    pub(super) fn kind(&self) -> Kind {
        if let Some(kind) = self.code.as_deref().and_then(code_kind) {
            return kind;
        }
        match self.status {
            Some(401) => Kind::Credentials,
            Some(403) => Kind::Denied,
            Some(507) => Kind::NoSpace,
            Some(408 | 429 | 500..=599) => Kind::Unavailable,
            _ => Kind::Other,
        }
    }
}

/// What is refused to a request of our own; those of `object_store` leave texts.
impl std::error::Error for Answer {}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told_by("the store"))
    }
}

/// What the error codes of the stores mean. S3 and what speaks its language:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList>; Google:
/// <https://cloud.google.com/storage/docs/xml-api/reference-status>; Azure:
/// <https://learn.microsoft.com/en-us/rest/api/storageservices/common-rest-api-error-codes> and
/// <https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes>.
fn code_kind(code: &str) -> Option<Kind> {
    Some(match code {
        "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" => Kind::NotFound,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed"
        | "InvalidSecurity"
        | "AuthorizationHeaderMalformed"
        | "RequestExpired"
        | "AuthenticationRequired"
        | "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "NoAuthenticationInformation" => Kind::Credentials,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "NotSignedUp"
        | "UnauthorizedAccess"
        | "UserProjectAccessDenied"
        | "UserProjectAccountProblem"
        | "UserProjectMissing"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "AuthorizationProtocolMismatch"
        | "AuthorizationResourceTypeMismatch"
        | "AuthorizationServiceMismatch"
        | "AuthorizationSourceIPMismatch"
        | "InsufficientAccountPermissions"
        | "KeyBasedAuthenticationNotPermitted"
        | "PublicAccessNotPermitted"
        | "AccountIsDisabled"
        | "ContainerDisabled" => Kind::Denied,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException"
        | "InvalidBucketName"
        | "InvalidResourceName"
        | "UserProjectInvalid" => Kind::Usage,
        "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "ServiceUnavailable" | "InternalError" | "RequestTimeout"
        | "ServerBusy" | "OperationTimedOut" => Kind::Unavailable,
        "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "InsufficientStorage" => {
            Kind::NoSpace
        }
        _ => return None,
    })
}

pub(super) fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&apos;", "'").replace("&#39;", "'").replace("&quot;", "\"").replace("&#34;", "\"");
    let text = printable(text.trim());
    (!text.is_empty()).then_some(text)
}

/// A store's words are not ours: they are cut, and cannot steer a terminal.
pub(super) fn printable(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}
