//! From a request to the handler of its endpoint, and from what that returns to an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use storage_layout::{BlobStat, Digest, Repository, RepositoryName, Store};

use super::access::{Access, not_allowed};
use super::error::{ApiError, ErrorCode};
use super::query::Query;
use super::route::Route;
use super::sessions::Sessions;
use super::{Journal, RegistryOptions, blobs, headers, manifests, referrers, tags, uploads};
use crate::transfer::{BlobProgress, Label, Reporter};

/// What all requests share.
#[derive(Debug)]
pub(super) struct RegistryState {
    pub(super) store: Store,
    pub(super) access: Access,
    pub(super) adopt_blobs: bool,
    passes: fn(&object_store::Error) -> bool,
    pub(super) journal: Arc<Journal>,
    pub(super) sessions: Sessions,
    reporter: Arc<dyn Reporter>,
    /// How many uploads began without saying what they are, to tell them apart.
    nameless: AtomicU64,
}

impl RegistryState {
    pub(super) fn new(store: Store, options: RegistryOptions) -> Self {
        let RegistryOptions { access, adopt_blobs, passes, reporter, journal } = options;
        let (sessions, nameless) = (Sessions::default(), AtomicU64::new(0));
        Self { store, access, adopt_blobs, passes, journal, sessions, reporter, nameless }
    }

    pub(super) fn repository(&self, name: &RepositoryName) -> Repository {
        self.store.repository(name)
    }

    /// Tells the reporter that a blob begins to travel. Its digest is not known yet when Docker compresses on the way.
    pub(super) fn report_start(&self, digest: Option<&Digest>, size: Option<u64>) -> Box<dyn BlobProgress> {
        if let Some(digest) = digest {
            return self.reporter.blob_started(Label::Digest(digest), size);
        }
        let number = self.nameless.fetch_add(1, Ordering::Relaxed) + 1;
        self.reporter.blob_started(Label::Unknown(&format!("layer {number}")), size)
    }

    /// Tells the reporter of a blob that was answered for, unless it came from this client in the first place.
    pub(super) fn report_existing(&self, stat: &BlobStat) {
        if self.journal.add_existing(&stat.digest) {
            self.reporter.blob_exists(Label::Digest(&stat.digest), stat.size);
        }
    }

    /// Notes a blob that was stored.
    pub(super) fn report_stored(&self, digest: &Digest, size: u64, progress: &dyn BlobProgress) {
        self.journal.add_sent(digest, size);
        progress.finished(digest);
    }
}

/// A request, after its path was read and without its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) state: Arc<RegistryState>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
}

/// Answers every request.
pub(super) async fn answer(State(state): State<Arc<RegistryState>>, request: Request) -> Response {
    state.journal.count_request();
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let mut response = match serve(&state, parts, body).await.map_err(|error| error.or_come_again(state.passes)) {
        Ok(response) => response,
        Err(error) => {
            if let Some(failure) = error.failure() {
                tracing::error!(%method, path, failure = &**failure as &dyn std::error::Error, "a request failed");
                state.journal.add_failure(Arc::clone(failure));
            } else {
                tracing::debug!(%method, path, status = error.status().as_u16(), reason = error.message(), "refused");
            }
            error.into_response()
        }
    };
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    response.headers_mut().insert(headers::DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn serve(state: &Arc<RegistryState>, parts: Parts, body: Body) -> Result<Response, ApiError> {
    let route = state.access.check(&parts, Route::parse(parts.uri.path()))?;
    if let Route::Manifest(_, reference) = &route
        && state.journal.is_probe(reference)
    {
        let message = "this tag is only looked for, to learn whether this registry can be reached";
        return Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, message));
    }
    let methods = route.methods();
    let Parts { method, headers, uri, .. } = parts;
    let call = Call { state: Arc::clone(state), query: Query::parse(uri.query()), headers };
    match (method, route) {
        (Method::GET | Method::HEAD, Route::Base) => Ok(base()),
        (Method::GET, Route::Catalog) => tags::catalog(&call).await,
        (Method::GET, Route::Tags(name)) => tags::list(&call, &name).await,
        (Method::GET, Route::Manifest(name, reference)) => manifests::get(&call, &name, &reference).await,
        (Method::HEAD, Route::Manifest(name, reference)) => manifests::head(&call, &name, &reference).await,
        (Method::PUT, Route::Manifest(name, reference)) => manifests::put(&call, body, &name, &reference).await,
        (Method::DELETE, Route::Manifest(name, reference)) => manifests::delete(&call, &name, &reference).await,
        (Method::GET, Route::Blob(name, digest)) => blobs::get(&call, &name, &digest).await,
        (Method::HEAD, Route::Blob(name, digest)) => blobs::head(&call, &name, &digest).await,
        (Method::DELETE, Route::Blob(name, digest)) => blobs::delete(&call, &name, &digest).await,
        (Method::POST, Route::Uploads(name)) => uploads::begin(&call, body, &name).await,
        (Method::GET, Route::Upload(name, id)) => uploads::status(&call, &name, id),
        (Method::PATCH, Route::Upload(name, id)) => uploads::append(&call, body, &name, id).await,
        (Method::PUT, Route::Upload(name, id)) => uploads::finish(&call, body, &name, id).await,
        (Method::DELETE, Route::Upload(name, id)) => uploads::cancel(&call, &name, id),
        (Method::GET, Route::Referrers(name, digest)) => referrers::list(&call, &name, &digest).await,
        (method, _) => Err(not_allowed(format!("{method} is not for this path; it knows {methods}"), methods)),
    }
}

/// GET base, end-1: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#determining-support>
fn base() -> Response {
    json(StatusCode::OK, "application/json", &serde_json::json!({}))
}

/// Makes an answer of a JSON document.
pub(super) fn json(status: StatusCode, media_type: &'static str, document: &serde_json::Value) -> Response {
    let content_type = [(axum::http::header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    (status, content_type, document.to_string()).into_response()
}

/// Makes an answer without a body.
pub(super) fn empty<const N: usize>(
    status: StatusCode,
    headers: [(axum::http::HeaderName, HeaderValue); N],
) -> Response {
    (status, axum::response::AppendHeaders(headers)).into_response()
}
