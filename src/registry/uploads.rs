//! Uploads of blobs: at once, in chunks, or as a stream of unknown length.
//!
//! Where the digest is known before the bytes come, they go straight to the blob's place in the bucket. Where it is learnt
//! last, as when Docker compresses while it sends, a session spools them.

use std::io;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use storage_layout::{Algorithm, BlobStat, Digest, Error, RepositoryName};

use super::dispatch::{Call, RegistryState, empty};
use super::error::{ApiError, ErrorCode};
use super::headers;
use super::range;
use super::sessions::{Lease, Session, UploadId};

/// POST upload, end-4 and end-11:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs>
///
/// Without `mount` or `digest` the answer is never 201: Docker's daemon crashes on it or loses the blob.
pub(super) async fn begin(call: &Call, body: Body, name: &RepositoryName) -> Result<Response, ApiError> {
    if let Some(digest) = call.query.get("mount") {
        let digest: Digest = digest.parse()?;
        if let Some(stat) = mount(call, name, &digest).await? {
            call.state.report_existing(&stat);
            return Ok(stored(name, &digest));
        }
    }
    if let Some(digest) = call.query.get("digest") {
        let digest: Digest = digest.parse()?;
        let length = headers::content_length(&call.headers)?;
        // Some clients name the digest here and send the bytes later.
        if length != Some(0) || digest.is_of_nothing() {
            return store(call, body, name, &digest).await;
        }
    }
    let algorithm: Algorithm = call.query.get("digest-algorithm").map(str::parse).transpose()?.unwrap_or_default();
    let upload = call.state.repository(name).begin_upload(algorithm);
    let id = call.state.sessions.begin(upload, name)?;
    Ok(progressed(StatusCode::ACCEPTED, name, id, 0))
}

async fn mount(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Option<BlobStat>, Error> {
    let repository = call.state.repository(name);
    // In the registry of one run `from` is a guess of the daemon's, from a run before under the same address.
    let from: Option<RepositoryName> = match call.state.access.repository {
        None => call.query.get("from").and_then(|from| from.parse().ok()),
        Some(_) => None,
    };
    if let Some(from) = from {
        match repository.mount_blob(digest, Some(&from)).await {
            Ok(stat) => return Ok(Some(stat)),
            Err(Error::BlobUnknown(_) | Error::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match repository.mount_blob(digest, None).await {
        Ok(stat) => Ok(Some(stat)),
        Err(Error::BlobUnknown(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a body whose digest is known.
async fn store(call: &Call, body: Body, name: &RepositoryName, digest: &Digest) -> Result<Response, ApiError> {
    let state = &call.state;
    let length = headers::content_length(&call.headers)?;
    let progress = state.report_start(Some(digest), length);
    let body = bytes_of(body).inspect_ok(|bytes| progress.advanced(bytes.len() as u64));
    let size = state.repository(name).put_blob(digest, length, body).await?;
    state.report_stored(digest, size, &*progress);
    Ok(stored(name, digest))
}

/// PATCH upload, end-5:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks>
pub(super) async fn append(call: &Call, body: Body, name: &RepositoryName, id: UploadId) -> Result<Response, ApiError> {
    let state = &call.state;
    let mut lease = state.sessions.take(id, name)?;
    let chunk = match Chunk::of(&call.headers, lease.session().upload.offset()) {
        Ok(chunk) => chunk,
        Err(refused) => return refused.answer(lease, name, id),
    };
    receive(state, lease.session(), chunk, body).await?;
    let offset = lease.session().upload.offset();
    lease.give_back()?;
    Ok(progressed(StatusCode::ACCEPTED, name, id, offset))
}

/// PUT upload, end-6, with the last chunk, the whole blob, or nothing more:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#post-then-put>
pub(super) async fn finish(call: &Call, body: Body, name: &RepositoryName, id: UploadId) -> Result<Response, ApiError> {
    let Some(digest) = call.query.get("digest") else {
        let message = "an upload ends with the digest of the whole blob, as the parameter digest";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid, message));
    };
    let digest: Digest = digest.parse()?;
    let state = &call.state;
    let mut lease = state.sessions.take(id, name)?;
    let chunk = match Chunk::of(&call.headers, lease.session().upload.offset()) {
        Ok(chunk) => chunk,
        Err(refused) => return refused.answer(lease, name, id),
    };
    if lease.session().upload.offset() == 0 {
        drop(lease.finish());
        return store(call, body, name, &digest).await;
    }
    receive(state, lease.session(), chunk, body).await?;
    let Session { upload, progress } = lease.finish();
    let size = upload.commit(&digest).await?;
    let progress = progress.unwrap_or_else(|| state.report_start(Some(&digest), Some(size)));
    state.report_stored(&digest, size, &*progress);
    Ok(stored(name, &digest))
}

/// What a request says of the bytes that it carries.
#[derive(Debug)]
struct Chunk {
    /// How many they are, where that is said.
    length: Option<u64>,
}

/// Why a chunk is not taken.
#[derive(Debug)]
enum Refused {
    OutOfOrder,
    Invalid(ApiError),
}

impl Chunk {
    /// Reads the headers of a chunk that is to be appended at `offset`.
    fn of(headers: &axum::http::HeaderMap, offset: u64) -> Result<Self, Refused> {
        let length = headers::content_length(headers).map_err(Refused::Invalid)?;
        let Some(range) = headers.get(header::CONTENT_RANGE) else {
            return Ok(Self { length });
        };
        let invalid = |code, message| Refused::Invalid(ApiError::new(StatusCode::BAD_REQUEST, code, message));
        let range = range.to_str().ok().and_then(range::parse_content_range).ok_or_else(|| {
            invalid(
                ErrorCode::BlobUploadInvalid,
                "Content-Range is not the first and the last byte of the chunk, as 0-99",
            )
        })?;
        if *range.start() != offset {
            return Err(Refused::OutOfOrder);
        }
        let announced = (range.end() - range.start()).saturating_add(1);
        if length.is_some_and(|length| length != announced) {
            return Err(invalid(ErrorCode::SizeInvalid, "Content-Range and Content-Length disagree"));
        }
        Ok(Self { length: Some(announced) })
    }
}

impl Refused {
    /// Answers for a chunk of which nothing was read, so the upload is as good as before.
    fn answer(self, mut lease: Lease<'_>, name: &RepositoryName, id: UploadId) -> Result<Response, ApiError> {
        let offset = lease.session().upload.offset();
        lease.give_back()?;
        match self {
            Self::Invalid(error) => Err(error),
            Self::OutOfOrder => {
                let message = format!("{offset} bytes came so far, and the next chunk has to begin there");
                let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid, message);
                let mut response = error.into_response();
                response.headers_mut().extend(progressed(StatusCode::OK, name, id, offset).headers().clone());
                Ok(response)
            }
        }
    }
}

/// Appends a body to a session. When this fails the session is of no more use.
async fn receive(state: &RegistryState, session: &mut Session, chunk: Chunk, body: Body) -> Result<(), ApiError> {
    let (start, mut body) = (session.upload.offset(), bytes_of(body));
    while let Some(bytes) = body.try_next().await.map_err(Error::Body)? {
        let progress = session.progress.get_or_insert_with(|| state.report_start(None, None));
        progress.advanced(bytes.len() as u64);
        session.upload.write(bytes).await?;
    }
    let received = session.upload.offset() - start;
    if let Some(announced) = chunk.length.filter(|&announced| announced != received) {
        let message = format!("the chunk has {received} bytes, and {announced} were announced");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, message));
    }
    Ok(())
}

fn bytes_of(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
    body.into_data_stream().map_err(io::Error::other)
}

/// GET upload, end-13:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks>
pub(super) fn status(call: &Call, name: &RepositoryName, id: UploadId) -> Result<Response, ApiError> {
    let offset = call.state.sessions.offset(id, name)?;
    Ok(progressed(StatusCode::NO_CONTENT, name, id, offset))
}

/// DELETE upload, end-14:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#cancel-a-blob-upload>
pub(super) fn cancel(call: &Call, name: &RepositoryName, id: UploadId) -> Result<Response, ApiError> {
    call.state.sessions.cancel(id, name)?;
    Ok(empty(StatusCode::NO_CONTENT, []))
}

/// Says where an upload goes on and how much of it came. Docker takes a layer's size from the range.
fn progressed(status: StatusCode, name: &RepositoryName, id: UploadId, offset: u64) -> Response {
    // Relative, so that credentials are sent along whatever name the client has for this registry.
    let location = headers::value(format!("/v2/{name}/blobs/uploads/{id}"));
    let range = headers::value(range::received(offset));
    let id = headers::value(id.to_string());
    empty(status, [(header::LOCATION, location), (header::RANGE, range), (headers::DOCKER_UPLOAD_UUID, id)])
}

fn stored(name: &RepositoryName, digest: &Digest) -> Response {
    let location = headers::value(format!("/v2/{name}/blobs/{digest}"));
    let digest = headers::value(digest.as_str());
    empty(StatusCode::CREATED, [(header::LOCATION, location), (headers::DOCKER_CONTENT_DIGEST, digest)])
}
