//! Header names of the specification and of Docker, and small readers of the common ones.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use storage_layout::Digest;

use super::error::{ApiError, ErrorCode};

pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Makes a value of what is known to be visible ASCII: names, tags, digests, numbers and what is put together from them.
pub(super) fn value(text: impl AsRef<str>) -> HeaderValue {
    HeaderValue::from_str(text.as_ref()).expect("checked names, digests and numbers make a valid header value")
}

/// Returns the entity tag of content with this digest.
pub(super) fn etag(digest: &Digest) -> HeaderValue {
    value(format!("\"{digest}\""))
}

/// Returns a header's value as text. One that is not visible ASCII counts as absent.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the length that a body was announced with, in bytes.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    let junk =
        || ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, "Content-Length is not a number of bytes");
    length.map(Some).ok_or_else(junk)
}

/// Returns the media type of a body, without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, header::CONTENT_TYPE)?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    (!media_type.is_empty()).then_some(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_content_type_are_ignored() {
        for (given, expected) in
            [("a/b", Some("a/b")), ("a/b; charset=utf-8", Some("a/b")), ("a/b ;x", Some("a/b")), (";", None)]
        {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(given))]);
            assert_eq!(content_type(&headers), expected, "{given:?}");
        }
        assert_eq!(content_type(&HeaderMap::new()), None);
    }
}
