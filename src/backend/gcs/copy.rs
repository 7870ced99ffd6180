//! Copies from another bucket of Google's.

use async_trait::async_trait;
use hyper::{Request, header};
use object_store::Result;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use reqwest::Url;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Credentials;
use crate::backend::server_copy::{Copier, Sender, SourceObject, failed, unless_stopped};

/// Copies to one bucket, by the JSON API: the XML API has one request for a whole object, which ends when its time is up, and that is
/// soon between two locations or storage classes.
pub(super) struct GcsCopier {
    pub(super) sender: Sender,
    /// The store's URL, without a slash at its end.
    pub(super) endpoint: String,
    pub(super) bucket: String,
    /// `None` for a test server that takes requests of nobody.
    pub(super) credentials: Option<Credentials>,
}

/// How far a copy has come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    done: bool,
    /// What to go on with.
    rewrite_token: Option<String>,
}

#[async_trait]
impl Copier for GcsCopier {
    async fn copy(&self, from: &SourceObject<'_>, to: &Path, stop: &CancellationToken) -> Result<()> {
        unless_stopped(stop, self.rewrite(from, to)).await
    }
}

impl GcsCopier {
    /// <https://cloud.google.com/storage/docs/json_api/v1/objects/rewrite>
    async fn rewrite(&self, from: &SourceObject<'_>, to: &Path) -> Result<()> {
        let mut url = Url::parse(&self.endpoint).map_err(failed)?;
        url.path_segments_mut().map_err(|()| failed("the endpoint's address has no path"))?.pop_if_empty().extend([
            "storage",
            "v1",
            "b",
            from.bucket,
            "o",
            from.key.as_ref(),
            "rewriteTo",
            "b",
            &self.bucket,
            "o",
            to.as_ref(),
        ]);
        loop {
            let reply = self.sender.send(|| self.request(&url)).await?;
            let progress: Progress = serde_json::from_str(&reply.body).map_err(failed)?;
            match progress.rewrite_token {
                _ if progress.done => return Ok(()),
                Some(token) => url.query_pairs_mut().clear().append_pair("rewriteToken", &token),
                None => return Err(failed("the store has not copied the object, and does not say how to go on")),
            };
        }
    }

    async fn request(&self, url: &Url) -> Result<HttpRequest> {
        let mut request = Request::post(url.as_str()).header(header::CONTENT_LENGTH, 0);
        if let Some(credentials) = &self.credentials {
            let bearer = &credentials.get_credential().await?.bearer;
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        request.body(HttpRequestBody::empty()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::extract::Request as Received;
    use axum::response::{IntoResponse, Response};
    use object_store::StaticCredentialProvider;
    use object_store::gcp::GcpCredential;

    use super::*;
    use crate::backend::GcsConfig;
    use crate::backend::gcs::{Clients, Settings};
    use crate::backend::test_server::{Requests, json, serve, service};

    /// Copies an object at a server that answers so, with a project to bill to.
    async fn copy(answer: impl Fn(&Received) -> Response + Clone + Send + Sync + 'static) -> (Result<()>, Requests) {
        let (url, requests) = serve(answer).await;
        let mut config = GcsConfig { endpoint: Some(url), ..GcsConfig::default() };
        config.options.retries = 0;
        (copied_by(&config, "bucket", &source("other", "a/b +"), "c/d").await, requests)
    }

    fn source<'a>(bucket: &'a str, key: &str) -> SourceObject<'a> {
        SourceObject { bucket, key: Path::from(key), size: 1, e_tag: None }
    }

    async fn copied_by(config: &GcsConfig, bucket: &str, from: &SourceObject<'_>, to: &str) -> Result<()> {
        let settings = Settings::resolve(config, &|_| None).unwrap();
        let bearer = "hunter2".to_owned();
        let credentials: Credentials = Arc::new(StaticCredentialProvider::new(GcpCredential { bearer }));
        let (settings, credentials) = (&settings, &credentials);
        let clients = Clients { config, settings, bucket, project: Some("payer"), credentials };
        // A plain HTTP endpoint gets no token on its own.
        let copier = GcsCopier { credentials: Some(Arc::clone(credentials)), ..clients.copier().unwrap() };
        copier.copy(from, &Path::from(to), &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn a_copy_goes_on_until_it_is_done() {
        let (copied, requests) = copy(|request| {
            let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
            if (header("authorization"), header("x-goog-user-project")) != (Some("Bearer hunter2"), Some("payer")) {
                return json(401, "{}");
            }
            match request.uri().query() {
                None => json(200, r#"{"done": false, "rewriteToken": "a+/="}"#),
                Some("rewriteToken=a%2B%2F%3D") => json(200, r#"{"done": false, "rewriteToken": "b"}"#),
                Some(_) => json(200, r#"{"done": true}"#),
            }
        })
        .await;
        copied.unwrap();
        let path = "POST /storage/v1/b/other/o/a%2Fb%20+/rewriteTo/b/bucket/o/c%2Fd";
        let expected = ["", "?rewriteToken=a%2B%2F%3D", "?rewriteToken=b"].map(|query| format!("{path}{query}"));
        assert_eq!(*requests.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn an_emulator_of_other_make_understands_it() {
        let Some([endpoint, bucket]) = service("FAKE_GCS", ["ENDPOINT", "BUCKET"]) else { return };
        let name = uuid::Uuid::new_v4().simple().to_string();
        let (from, to) = (format!("copy/{name} +/from"), format!("copy/{name} +/to"));
        let config = GcsConfig { endpoint: Some(endpoint.clone()), ..GcsConfig::default() };
        let missing = copied_by(&config, &bucket, &source(&bucket, &from), &to).await.unwrap_err();
        assert!(crate::backend::describe(&missing).starts_with("the store answered 404"), "{missing:?}");

        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut upload = Url::parse(&format!("{endpoint}/upload/storage/v1/b/{bucket}/o")).unwrap();
        upload.query_pairs_mut().append_pair("uploadType", "media").append_pair("name", &from);
        assert!(client.post(upload).body("content").send().await.unwrap().status().is_success());
        copied_by(&config, &bucket, &source(&bucket, &from), &to).await.unwrap();
        let mut read = Url::parse(&endpoint).unwrap();
        read.path_segments_mut().unwrap().extend(["storage", "v1", "b", &bucket, "o", &to]);
        read.set_query(Some("alt=media"));
        assert_eq!(client.get(read).send().await.unwrap().text().await.unwrap(), "content");
    }

    #[tokio::test]
    async fn an_answer_that_leads_nowhere_is_a_failure() {
        for body in [r#"{"done": false}"#, "<html>", ""] {
            assert!(copy(move |_| json(200, body)).await.0.is_err(), "{body}");
        }
        let (copied, _) =
            copy(|_| (axum::http::StatusCode::FORBIDDEN, r#"{"error": {"message": "No."}}"#).into_response()).await;
        assert_eq!(crate::backend::describe(&copied.unwrap_err()), "the store answered 403: No.");
    }
}
