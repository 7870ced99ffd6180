//! The distribution API over a bucket, as an axum router:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.
//!
//! The router opens no socket and ends with the process: upload sessions are in memory, and what became of the requests is
//! written into a [`Journal`] that whoever started it reads. Names in a path contain slashes, which axum's patterns cannot
//! hold, so one fallback takes every request and `Route` takes the path apart.

mod access;
mod blobs;
mod dispatch;
mod error;
mod headers;
mod journal;
mod linger;
mod manifests;
mod pagination;
mod query;
mod range;
mod referrers;
mod route;
mod sessions;
mod tags;
mod token;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use storage_layout::Store;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::transfer::Reporter;

pub use access::Access;
pub use journal::Journal;
pub use token::Token;

/// How long a client may send nothing in the middle of a body.
const BODY_STALL: Duration = Duration::from_mins(5);

/// How a registry behaves.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Who may ask, and for what.
    pub access: Access,
    /// Whether a blob that another repository of the bucket has is answered for, and linked, when a client looks for it. That
    /// spares the upload.
    pub adopt_blobs: bool,
    /// Tells which failures of the bucket pass: after those a client is asked to come again.
    pub passes: fn(&object_store::Error) -> bool,
    /// Hears of blobs that come and go.
    pub reporter: Arc<dyn Reporter>,
    /// Where what happened is written down.
    pub journal: Arc<Journal>,
}

/// Returns the registry of everything in `store`.
pub fn router(store: Store, options: RegistryOptions) -> Router {
    Router::new()
        .fallback(dispatch::answer)
        .with_state(Arc::new(dispatch::RegistryState::new(store, options)))
        .layer(axum::middleware::from_fn(linger::after_refusing))
        .layer(RequestBodyTimeoutLayer::new(BODY_STALL))
        .layer(CatchPanicLayer::custom(error::answer_panic))
}
