//! `serve`: the same registry, for as long as the user likes.

use std::net::SocketAddr;
use std::sync::Arc;

use storage_layout::{Store, StoreOptions};

use super::Context;
use crate::backend::{self, BackendConfig, Intent};
use crate::registry::{Access, Journal, RegistryOptions, router};
use crate::server::Bound;
use crate::transfer::Reporter;
use crate::ui::{CommandError, Format};

/// What to serve, and where.
#[derive(Debug)]
pub struct Request {
    /// The storage.
    pub backend: BackendConfig,
    /// The bucket.
    pub bucket: String,
    /// The loopback address to listen on.
    pub listen: SocketAddr,
    /// Whether whatever would change the bucket is refused.
    pub read_only: bool,
    /// Whether images are accepted whose layers are not all there.
    pub allow_sparse: bool,
}

/// Serves a bucket until the user stops it.
///
/// # Errors
/// If the bucket cannot be opened or the port is taken.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let attempted = format!("cannot serve {}://{}", request.backend.scheme(), request.bucket);
    let intent = if request.read_only { Intent::Read } else { Intent::Write };
    let objects = context.unless_stopped("serving".to_owned(), async {
        let objects = Box::pin(request.backend.connect(&request.bucket, intent)).await;
        objects.map_err(|error| CommandError::because(attempted.clone(), error))
    });
    let options = StoreOptions { allow_missing_blobs: request.allow_sparse, ..context.store_options() };
    let store = Store::new(objects.await?, options);
    let bound = Bound::new(request.listen).await.map_err(|error| {
        CommandError::because(format!("{attempted}: cannot listen on {}", request.listen), error)
            .hint("choose another port with --listen 127.0.0.1:PORT; port 0 picks a free one")
    })?;
    let access = Access { token: None, port: bound.address().port(), repository: None, read_only: request.read_only };
    let reporter: Arc<dyn Reporter> = Arc::new(());
    let journal = Arc::new(Journal::default());
    let options = RegistryOptions { access, adopt_blobs: false, passes: backend::passes, reporter, journal };
    let server = bound.serve(router(store.clone(), options));
    let url = format!("http://{}", server.address());
    match context.printer.format() {
        Format::Text => context.printer.result(&url),
        Format::Json => context.printer.result(&serde_json::json!({ "url": url }).to_string()),
    }
    context.printer.note(&format!("serving {}://{} (Ctrl-C ends it)", request.backend.scheme(), request.bucket));
    context.cancel.cancelled().await;
    server.shutdown().await;
    store.settle().await;
    Ok(())
}
