//! Manifests: exact bytes in, exact bytes out.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use storage_layout::{Algorithm, Error, MAX_MANIFEST_SIZE, Manifest, Reference, RepositoryName, Tag};

use super::dispatch::{Call, empty};
use super::error::{ApiError, ErrorCode};
use super::headers;

/// GET manifest, end-3: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
pub(super) async fn get(call: &Call, name: &RepositoryName, reference: &Reference) -> Result<Response, ApiError> {
    let manifest = call.state.repository(name).get_manifest(reference).await?;
    let known = call.headers.get(header::IF_NONE_MATCH).is_some_and(|tag| *tag == headers::etag(manifest.digest()));
    if known {
        return Ok(described(StatusCode::NOT_MODIFIED, &manifest));
    }
    let mut response = described(StatusCode::OK, &manifest);
    *response.body_mut() = Body::from(manifest.bytes().clone());
    Ok(response)
}

/// HEAD manifest, end-3:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#checking-if-content-exists-in-the-registry>
pub(super) async fn head(call: &Call, name: &RepositoryName, reference: &Reference) -> Result<Response, ApiError> {
    let repository = call.state.repository(name);
    match repository.get_manifest(reference).await {
        Ok(manifest) => {
            if let Reference::Tag(tag) = reference {
                call.state.journal.add_answered(tag, manifest.descriptor());
            }
            Ok(described(StatusCode::OK, &manifest))
        }
        // A client that looks before it pushes gives up when it hears of damage, and mends it when it hears of nothing.
        Err(Error::Corrupt { key, found }) if !call.state.access.read_only => {
            tracing::warn!(key, found, "a damaged manifest is treated as missing");
            Err(Error::ManifestUnknown { repository: name.clone(), reference: reference.clone() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whatever a client says it accepts, it is told of what is stored: another document would have another digest.
fn described(status: StatusCode, manifest: &Manifest) -> Response {
    let content_type = headers::value(manifest.media_type());
    let digest = headers::value(manifest.digest().as_str());
    let mut described = vec![
        (header::CONTENT_TYPE, content_type),
        (headers::DOCKER_CONTENT_DIGEST, digest),
        (header::ETAG, headers::etag(manifest.digest())),
    ];
    if status == StatusCode::OK {
        described.push((header::CONTENT_LENGTH, manifest.size().into()));
    }
    let mut response = empty(status, []);
    response.headers_mut().extend(described);
    response
}

/// PUT manifest, end-7: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>
pub(super) async fn put(
    call: &Call,
    body: Body,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response, ApiError> {
    let Call { state, query, headers } = call;
    let (algorithm, tags): (Algorithm, Vec<Tag>) = match reference {
        Reference::Tag(tag) => (Algorithm::default(), vec![tag.clone()]),
        Reference::Digest(digest) => (digest.algorithm(), query.all("tag").map(str::parse).collect::<Result<_, _>>()?),
    };
    let bytes = read_body(headers::content_length(headers)?, body).await?;
    let manifest = Manifest::parse(bytes, algorithm, headers::content_type(headers))?;
    if let Reference::Digest(expected) = reference
        && expected != manifest.digest()
    {
        return Err(Error::DigestMismatch { expected: expected.clone(), actual: manifest.digest().clone() }.into());
    }
    state.repository(name).put_manifest(&manifest, &tags).await?;
    for tag in &tags {
        state.journal.add_tagged(tag, manifest.descriptor());
    }
    let mut response = empty(
        StatusCode::CREATED,
        [
            (header::LOCATION, headers::value(format!("/v2/{name}/manifests/{}", manifest.digest()))),
            (headers::DOCKER_CONTENT_DIGEST, headers::value(manifest.digest().as_str())),
        ],
    );
    if let Some(subject) = manifest.subject() {
        response.headers_mut().insert(headers::OCI_SUBJECT, headers::value(subject.digest.as_str()));
    }
    if matches!(reference, Reference::Digest(_)) {
        response.headers_mut().extend(tags.iter().map(|tag| (headers::OCI_TAG, headers::value(tag.as_str()))));
    }
    Ok(response)
}

/// Reads a manifest, and nothing beyond the size that one may have.
async fn read_body(length: Option<u64>, body: Body) -> Result<Bytes, ApiError> {
    let too_large = || Error::ManifestTooLarge { limit: MAX_MANIFEST_SIZE };
    if length.is_some_and(|length| length > MAX_MANIFEST_SIZE) {
        return Err(too_large().into());
    }
    let (mut bytes, mut body) = (BytesMut::new(), body.into_data_stream());
    let broken = |error: axum::Error| {
        let message = format!("the manifest did not come whole: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid, message)
    };
    while let Some(piece) = body.try_next().await.map_err(broken)? {
        if (bytes.len() + piece.len()) as u64 > MAX_MANIFEST_SIZE {
            return Err(too_large().into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// DELETE manifest or tag, end-9: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#content-management>
pub(super) async fn delete(call: &Call, name: &RepositoryName, reference: &Reference) -> Result<Response, ApiError> {
    let repository = call.state.repository(name);
    match reference {
        Reference::Tag(tag) => repository.delete_tag(tag).await?,
        Reference::Digest(digest) => repository.delete_manifest(digest).await?,
    }
    Ok(empty(StatusCode::ACCEPTED, []))
}
