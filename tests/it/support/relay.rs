//! A server before a store, which sees what is asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// A request that was passed on or refused.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The method, the path and its query.
    pub(crate) line: String,
    /// Whether an object was to be copied by the store.
    pub(crate) is_copy: bool,
    /// The bytes of both bodies.
    pub(crate) bytes: usize,
}

/// Passes requests on to a store, but for the copies if they are to be refused.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Relay {
    /// Starts a server before the one at `upstream`.
    pub(crate) async fn start(upstream: &str, refused: Option<StatusCode>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, upstream) = (Arc::clone(&seen), upstream.trim_end_matches('/').to_owned());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
        let router = Router::new().fallback(move |request: Request| {
            let (log, url, client) = (Arc::clone(&log), format!("{upstream}{}", request.uri()), client.clone());
            async move {
                let (parts, body) = request.into_parts();
                let target = parts.uri.to_string();
                let is_copy = target.contains("/rewriteTo/")
                    || ["x-amz-copy-source", "x-ms-copy-source"].iter().any(|name| parts.headers.contains_key(*name));
                let body = to_bytes(body, usize::MAX).await.expect("the client sends all");
                let sent = body.len();
                let answer = match refused.filter(|_| is_copy) {
                    Some(status) => {
                        (status, "<Error><Code>Refused</Code><Message>No.</Message></Error>").into_response()
                    }
                    // With the client's own `Host`, which it has signed.
                    None => {
                        passed_on(client.request(parts.method.clone(), url).headers(parts.headers).body(body)).await
                    }
                };
                let (answered, body) = answer.into_parts();
                let body = to_bytes(body, usize::MAX).await.expect("it is in memory");
                let seen = Seen { line: format!("{} {target}", parts.method), is_copy, bytes: sent + body.len() };
                log.lock().expect("nothing panics while holding it").push(seen);
                Response::from_parts(answered, Body::from(body))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, seen }
    }

    /// Returns what was asked since this was asked last.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("nothing panics while holding it"))
    }
}

async fn passed_on(request: reqwest::RequestBuilder) -> Response {
    let answer = request.send().await.expect("the store answers");
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    // Of this connection alone.
    for name in [header::TRANSFER_ENCODING, header::CONNECTION, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
    let body: Bytes = answer.bytes().await.expect("the store answers whole");
    (status, headers, body).into_response()
}
