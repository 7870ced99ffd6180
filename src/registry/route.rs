//! Paths of the API, as typed values.

use axum::http::StatusCode;
use storage_layout::{Digest, Reference, RepositoryName};

use super::error::{ApiError, ErrorCode};
use super::query::decode_segment;
use super::sessions::UploadId;

/// What a path names. Every part was checked against its grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`, end-1.
    Base,
    /// `/v2/_catalog`, which is Docker's and not in the specification.
    Catalog,
    /// `/v2/<name>/tags/list`, end-8.
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`, end-3, end-7 and end-9.
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>`, end-2 and end-10.
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`, end-4 and end-11.
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`, end-5, end-6, end-13 and end-14.
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/referrers/<digest>`, end-12.
    Referrers(RepositoryName, Digest),
}

impl Route {
    /// Reads a path. A name may hold any word that is also a keyword, such as `app/tags/list`, so the keyword is looked for from
    /// the right.
    pub(super) fn parse(path: &str) -> Result<Self, ApiError> {
        let unknown = || {
            let message = "there is nothing at this path: the API is below /v2/<repository>/";
            ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, message)
        };
        let below = path.strip_prefix("/v2").ok_or_else(unknown)?;
        if below.is_empty() || below == "/" {
            return Ok(Self::Base);
        }
        let below = below.strip_prefix('/').ok_or_else(unknown)?;
        // Decoded after it was cut: an encoded slash is part of a segment, where no grammar allows it.
        let segments: Option<Vec<String>> = below.split('/').map(decode_segment).collect();
        let segments = segments.ok_or_else(unknown)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["_catalog"] => Ok(Self::Catalog),
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => Ok(Self::Upload(repository(name)?, UploadId::parse(id)?)),
            [name @ .., "manifests", reference] => Ok(Self::Manifest(repository(name)?, reference.parse()?)),
            [name @ .., "blobs", digest] => Ok(Self::Blob(repository(name)?, digest.parse()?)),
            [name @ .., "referrers", digest] => Ok(Self::Referrers(repository(name)?, digest.parse()?)),
            _ => Err(unknown()),
        }
    }

    /// Returns the repository that is asked.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }

    /// Returns the methods that the path knows, as they stand in an `Allow` header.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Base => "GET, HEAD",
            Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, PATCH, PUT, DELETE",
        }
    }
}

fn repository(segments: &[&str]) -> Result<RepositoryName, ApiError> {
    // A segment with a slash of its own would be two components once it is joined.
    let segments: Vec<String> = segments.iter().map(|segment| segment.replace('/', "%2F")).collect();
    Ok(segments.join("/").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn every_endpoint_is_found() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let id = UploadId::random();
        for (path, route) in [
            ("/v2".to_owned(), Route::Base),
            ("/v2/".to_owned(), Route::Base),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/app/tags/list".to_owned(), Route::Tags(name("app"))),
            ("/v2/a/tags/list/tags/list".to_owned(), Route::Tags(name("a/tags/list"))),
            (
                "/v2/a/manifests/b/manifests/v1".to_owned(),
                Route::Manifest(name("a/manifests/b"), "v1".parse().unwrap()),
            ),
            ("/v2/blobs/uploads/blobs/uploads/".to_owned(), Route::Uploads(name("blobs/uploads"))),
            ("/v2/app/blobs/uploads".to_owned(), Route::Uploads(name("app"))),
            (format!("/v2/app/blobs/uploads/{id}"), Route::Upload(name("app"), id)),
            (format!("/v2/a/b/blobs/sha256:{HEX}"), Route::Blob(name("a/b"), digest.clone())),
            (format!("/v2/a/b/blobs/sha256%3A{HEX}"), Route::Blob(name("a/b"), digest.clone())),
            (format!("/v2/a/referrers/{digest}"), Route::Referrers(name("a"), digest.clone())),
            (format!("/v2/a/manifests/{digest}"), Route::Manifest(name("a"), digest.into())),
        ] {
            assert_eq!(Route::parse(&path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        let long = "a".repeat(300);
        for path in [
            "",
            "/",
            "/v1/",
            "/v2x/app/tags/list",
            "/v2//",
            "/v2/tags/list",
            "/v2//tags/list",
            "/v2/a//b/tags/list",
            "/v2/../tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/a/%2e%2e/b/tags/list",
            "/v2/a%2fb/tags/list",
            "/v2/a%00/tags/list",
            "/v2/A/tags/list",
            "/v2/a/_layers/tags/list",
            "/v2/é/tags/list",
            "/v2/%ff/tags/list",
            "/v2/app/tags/list/",
            "/v2/app/manifests/",
            "/v2/app/manifests/..",
            "/v2/app/manifests/%2e%2e",
            "/v2/app/manifests/v%C3%A9",
            "/v2/app/manifests/a%2fb",
            "/v2/app/blobs/sha256:12",
            "/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            "/v2/app/blobs/uploads/..",
            "/v2/app/blobs/uploads/x",
            "/v2/app/referrers/v1",
            &format!("/v2/{long}/tags/list"),
            &format!("/v2/app/manifests/{long}"),
            &format!("/v2/app/blobs/sha256:{}", HEX.to_uppercase()),
        ] {
            let refused = Route::parse(path).unwrap_err();
            assert!(refused.status().is_client_error(), "{path}");
        }
    }
}
