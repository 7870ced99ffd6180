//! Copies from another container of the same account.

use std::time::Duration;

use async_trait::async_trait;
use hyper::{Method, Request, header};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::{HeaderMap, Result};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use super::Credentials;
use crate::backend::server_copy::{Copier, Reply, Sender, SourceObject, failed, unless_stopped};

/// How long it takes until a copy is asked for that is not done at once. The next pauses are longer.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Copies to one container. Within an account the credentials for the target are good for the source.
pub(super) struct AzureCopier {
    pub(super) sender: Sender,
    pub(super) account: String,
    /// The URL of the account's blobs, without a slash at its end.
    pub(super) endpoint: String,
    pub(super) container: String,
    pub(super) credentials: Credentials,
}

/// What Azure says of a copy.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Done,
    /// It goes on, and this is its ID.
    Pending(String),
    Failed(String),
}

impl State {
    fn of(headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match header("x-ms-copy-status") {
            "success" => Self::Done,
            "pending" => Self::Pending(header("x-ms-copy-id").to_owned()),
            status => Self::Failed(format!("{status} {}", header("x-ms-copy-status-description")).trim().to_owned()),
        }
    }
}

#[async_trait]
impl Copier for AzureCopier {
    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/copy-blob>
    async fn copy(&self, from: &SourceObject<'_>, to: &Path, stop: &CancellationToken) -> Result<()> {
        let url = self.url(&self.container, to)?;
        let begun = unless_stopped(stop, self.begin(from, &url)).await?;
        let (mut state, mut pause) = (State::of(&begun.headers), PAUSE);
        loop {
            match state {
                State::Done => return Ok(()),
                State::Failed(why) => return Err(failed(format!("the copy ended as \"{why}\""))),
                State::Pending(id) => {
                    let waiting = async {
                        tokio::time::sleep(pause).await;
                        self.sender.send(|| self.request(Method::HEAD, &url, None)).await
                    };
                    match unless_stopped(stop, waiting).await {
                        Ok(reply) => (state, pause) = (State::of(&reply.headers), LONGEST_PAUSE.min(2 * pause)),
                        Err(error) => {
                            self.abort(url, &id).await;
                            return Err(error);
                        }
                    }
                }
            }
        }
    }
}

impl AzureCopier {
    async fn begin(&self, from: &SourceObject<'_>, url: &Url) -> Result<Reply> {
        let mut source = self.url(from.bucket, &from.key)?;
        // A signature is not taken for the source unless it is part of its address.
        if let AzureCredential::SASToken(pairs) = self.credentials.get_credential().await?.as_ref() {
            source.query_pairs_mut().extend_pairs(pairs);
        }
        self.sender.send(|| self.request(Method::PUT, url, Some(("x-ms-copy-source", source.as_str())))).await
    }

    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/abort-copy-blob>
    async fn abort(&self, mut url: Url, id: &str) {
        url.query_pairs_mut().append_pair("comp", "copy").append_pair("copyid", id);
        let aborted = self.sender.send(|| self.request(Method::PUT, &url, Some(("x-ms-copy-action", "abort")))).await;
        if let Err(error) = aborted {
            tracing::warn!(path = url.path(), %error, "a copy that is not wanted any more could not be stopped");
        }
    }

    fn url(&self, container: &str, key: &Path) -> Result<Url> {
        let mut url = Url::parse(&self.endpoint).map_err(failed)?;
        url.path_segments_mut()
            .map_err(|()| failed("the endpoint's address has no path"))?
            .pop_if_empty()
            .push(container)
            .extend(key.as_ref().split('/'));
        Ok(url)
    }

    async fn request(&self, method: Method, url: &Url, header: Option<(&str, &str)>) -> Result<HttpRequest> {
        let mut request = Request::builder().method(method).uri(url.as_str()).header(header::CONTENT_LENGTH, 0);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let mut request = request.body(HttpRequestBody::empty()).map_err(failed)?;
        let credential = self.credentials.get_credential().await?;
        AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request)?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::Request as Received;
    use axum::response::{IntoResponse, Response};
    use object_store::StaticCredentialProvider;

    use super::*;
    use crate::backend::azure::{AzureConfig, Settings};
    use crate::backend::test_server::{Requests, refusal, serve};

    /// Copies a blob at a server that answers so, as somebody with a signature.
    async fn copy(
        stop: &CancellationToken,
        answer: impl Fn(&Received) -> Response + Clone + Send + Sync + 'static,
    ) -> (Result<()>, Requests) {
        let (url, requests) = serve(answer).await;
        let mut config = AzureConfig { endpoint: Some(format!("{url}/acct")), ..AzureConfig::default() };
        config.sas_token = Some("sig=a%2Bb".into());
        config.options.retries = 0;
        let settings = Settings::resolve(&config, &|_| None).unwrap();
        let pairs = vec![("sig".to_owned(), "a+b".to_owned())];
        let credentials: Credentials = Arc::new(StaticCredentialProvider::new(AzureCredential::SASToken(pairs)));
        let copier = config.copier(&settings, "images", &credentials).unwrap();
        let from = SourceObject { bucket: "other", key: Path::from("a +"), size: 1, e_tag: None };
        (copier.copy(&from, &Path::from("b"), stop).await, requests)
    }

    fn is(status: &'static str) -> Response {
        [("x-ms-copy-status", status), ("x-ms-copy-id", "7/7")].into_response()
    }

    #[tokio::test]
    async fn a_copy_is_waited_for_and_its_source_has_the_signature() {
        let asked = Arc::new(Mutex::new(0));
        let (copied, requests) = copy(&CancellationToken::new(), move |request| {
            let source = request.headers().get("x-ms-copy-source").map(|value| value.to_str().unwrap());
            if let Some(source) = source {
                return if source.ends_with("/acct/other/a%20+?sig=a%2Bb") {
                    is("pending")
                } else {
                    refusal(400, "InvalidHeaderValue", "")
                };
            }
            *asked.lock().unwrap() += 1;
            is(if *asked.lock().unwrap() == 2 { "success" } else { "pending" })
        })
        .await;
        copied.unwrap();
        let [put, head] = ["PUT", "HEAD"].map(|method| format!("{method} /acct/images/b?sig=a%2Bb"));
        assert_eq!(*requests.lock().unwrap(), [put, head.clone(), head]);
    }

    #[tokio::test]
    async fn a_copy_that_nobody_waits_for_is_aborted() {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let (copied, requests) = copy(&stop, move |request| {
            if request.method() == Method::HEAD {
                stopping.cancel();
            }
            is("pending")
        })
        .await;
        assert!(copied.is_err());
        let last = requests.lock().unwrap().pop().unwrap();
        assert!(last.starts_with("PUT /acct/images/b?comp=copy&copyid=7%2F7"), "{last}");
    }

    #[test]
    fn only_success_is_success() {
        let pending = State::Pending("7".to_owned());
        for (status, description, expected) in [
            ("success", None, State::Done),
            ("pending", None, pending),
            ("failed", Some("404 BlobNotFound"), State::Failed("failed 404 BlobNotFound".to_owned())),
            ("aborted", None, State::Failed("aborted".to_owned())),
            ("", None, State::Failed(String::new())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-ms-copy-id", "7".parse().unwrap());
            headers.insert("x-ms-copy-status", status.parse().unwrap());
            if let Some(description) = description {
                headers.insert("x-ms-copy-status-description", description.parse().unwrap());
            }
            assert_eq!(State::of(&headers), expected, "{status}");
        }
    }
}
