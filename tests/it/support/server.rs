//! A server in this process that answers as a test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How many came before it.
    pub(crate) before: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("it is text"))
    }

    /// Returns method, path and query, such as `GET /v2/`.
    pub(crate) fn line(&self) -> String {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        format!("{} {path}", self.method)
    }
}

/// A server that runs as long as the test.
#[derive(Debug)]
pub(crate) struct Server {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts a server. `answer` is given its own address as well.
    pub(crate) async fn start(answer: impl Fn(&Seen, &str) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let (answer, requests, own) = (Arc::new(answer), Arc::clone(&seen), address.clone());
        let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let (answer, requests, own) = (Arc::clone(&answer), Arc::clone(&requests), own.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
                let mut seen = Seen { method: head.method, uri: head.uri, headers: head.headers, body, before: 0 };
                {
                    let mut requests = requests.lock().expect("nothing panics while holding it");
                    seen.before = requests.len();
                    requests.push(seen.clone());
                }
                answer(&seen, &own)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, seen, task }
    }

    /// Starts a server that is not to be asked anything, and says yes to everything.
    pub(crate) async fn canary() -> Self {
        Self::start(|_, _| json(200, r#"{"token":"canary","tags":["canary"]}"#)).await
    }

    /// Returns all that it was asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nothing panics while holding it").clone()
    }

    /// Returns all that it was asked, as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes an answer of JSON.
pub(crate) fn json(status: u16, body: impl Into<Body>) -> Response {
    answer(status, &[("content-type", "application/json")], body)
}

/// Makes an answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(StatusCode::from_u16(status).expect("it is a status"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("it is an answer")
}
