//! Answers that come before the body was read.
//!
//! A connection that is closed with bytes unread is reset, and at the client the reset may overtake the answer: instead of the
//! reason it reports a broken pipe, and Docker's daemon tries five times. So a refusal ends only when the rest of the body has
//! come, or after a moment in which the client can read why.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};

/// How long the client has to read the answer: as long as Go's server gives it.
const MOMENT: Duration = Duration::from_millis(500);

/// A body that outlives the handler that reads it.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<BodyDataStream>>);

impl Shared {
    fn is_read(&self) -> bool {
        self.0.lock().expect("nothing panics while holding it").is_end_stream()
    }

    async fn discard(mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().expect("nothing panics while holding it").poll_next_unpin(context)
    }
}

/// Passes a request on, and stays with its client for a moment if it is refused.
pub(super) async fn after_refusing(request: Request, next: Next) -> Response {
    // Without a body nothing is left unread, and a client that waits to be asked for its body sends none.
    let bodiless = request.body().is_end_stream() || request.headers().contains_key(header::EXPECT);
    if bodiless || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let rest = Shared(Arc::new(Mutex::new(body.into_data_stream())));
    let mut response = next.run(Request::from_parts(parts, Body::from_stream(rest.clone()))).await;
    if response.status().is_success() || rest.is_read() {
        return response;
    }
    // Its length would end the answer too early.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.map(|answer| {
        let lingering = futures::stream::once(tokio::time::timeout(MOMENT, rest.discard()));
        let nothing = lingering.filter_map(|_| std::future::ready(None));
        Body::from_stream(answer.into_data_stream().chain(nothing))
    })
}
