//! A server in the test's own process that answers as a store does.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::Error;

/// The requests that a server got.
pub(super) type Requests = Arc<Mutex<Vec<String>>>;

/// Starts a server; returns its URL and the requests that it gets.
pub(super) async fn serve(answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static) -> (String, Requests) {
    let requests = Requests::default();
    let log = Arc::clone(&requests);
    let router = Router::new().fallback(move |request: Request| {
        log.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let response = answer(&request);
        async move {
            // Read whole, so that whoever sends is not cut off.
            drop(axum::body::to_bytes(request.into_body(), usize::MAX).await);
            response
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (url, requests)
}

/// Starts a server that takes connections and says nothing.
pub(super) async fn silent() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

pub(super) fn refusal(status: u16, code: &str, more: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Because.</Message>{more}</Error>");
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

pub(super) fn json(status: u16, body: &'static str) -> Response {
    (StatusCode::from_u16(status).unwrap(), Body::from(body)).into_response()
}

/// An error as the user gets it.
pub(super) fn text(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}\n{source}\n{}", error.hints().join("\n"))
}

/// Returns what the environment says of a real service of the tests, in the order of `names`. `None` means that there is none.
pub(super) fn service<const N: usize>(kind: &str, names: [&str; N]) -> Option<[String; N]> {
    let variable = |name| std::env::var(format!("OCI_STORE_TEST_{kind}_{name}")).ok().filter(|value| !value.is_empty());
    let given: Vec<_> = names.into_iter().filter_map(variable).collect();
    let given = given.try_into().ok();
    let (required, kind) =
        (std::env::var("OCI_STORE_REQUIRE").unwrap_or_default(), kind.to_lowercase().replace('_', "-"));
    assert!(
        given.is_some() || !required.split(',').any(|name| name.trim() == kind),
        "{kind} is required, and not given"
    );
    given
}
