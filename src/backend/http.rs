//! HTTP as all stores use it: time limits, proxies, certificates, and what errors leave out of an answer.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use hyper::Uri;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{Certificate, HeaderValue, RetryConfig};

use super::Options;
use super::error::{Error, Kind};
use super::failure::{Cause, io_kind};

/// How long a TCP connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// How long retries go on. Retries reuse the first signature, which a store takes for 15 minutes at most.
const RETRY: Duration = Duration::from_mins(3);
/// Resuming a body counts from the first request, so that a slow reader needs a long time here.
const RETRY_BODY: Duration = Duration::from_hours(24);

/// How long opening a bucket may take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Everything together.
    pub(super) total: Duration,
    /// Obtaining credentials. A metadata service that is not there does not refuse, it stays silent.
    pub(super) credentials: Duration,
    /// One request.
    pub(super) request: Duration,
    /// How often a failed request is tried again.
    pub(super) retries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(15),
            credentials: Duration::from_secs(5),
            request: Duration::from_secs(6),
            retries: 1,
        }
    }
}

/// What a client is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// For the first request: an answer soon, or none.
    Preflight { request: Duration, retries: usize },
    /// For questions about objects.
    Meta,
    /// For reading objects, as slowly as the reader likes, as long as bytes arrive.
    Get,
    /// For sending one part of an object over a slow line, and for copies inside the store.
    Put,
}

impl Pace {
    /// Puts the time limits of this pace into `options`.
    pub(super) fn limit(&self, options: ClientOptions) -> ClientOptions {
        match self {
            Self::Preflight { request, .. } => {
                options.with_timeout(*request).with_connect_timeout(CONNECT.min(*request))
            }
            Self::Meta => options.with_timeout(Duration::from_secs(30)),
            Self::Get => options.with_timeout_disabled().with_read_timeout(Duration::from_mins(1)),
            // The read timeout also runs while a request's body is sent: this is what one part may take.
            Self::Put => options.with_timeout_disabled().with_read_timeout(Duration::from_mins(5)),
        }
    }

    /// Returns how failed requests of this pace are tried again, if the user wants it `configured` times.
    pub(super) fn retries(&self, configured: u32) -> RetryConfig {
        let (max_retries, retry_timeout) = match self {
            Self::Preflight { request, retries } => (*retries, *request),
            Self::Get => (configured as usize, RETRY_BODY),
            Self::Meta | Self::Put => (configured as usize, RETRY),
        };
        RetryConfig { max_retries, retry_timeout, ..RetryConfig::default() }
    }
}

/// Returns what all clients of a store have. `no_proxy` is as the variable of that name has it.
pub(super) fn client_options(
    options: &Options,
    endpoint: Option<&str>,
    no_proxy: &str,
    ca_file: Option<&Path>,
) -> Result<ClientOptions, Error> {
    let mut client = ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(concat!("oci-store/", env!("CARGO_PKG_VERSION"))))
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_connect_timeout(CONNECT);
    if let Some(proxy) = &options.proxy {
        check_proxy(proxy.reveal())?;
        client = client.with_proxy_url(proxy.reveal()).with_proxy_excludes(no_proxy);
    }
    for certificate in certificates(ca_file)? {
        client = client.with_root_certificate(certificate);
    }
    Ok(client)
}

/// Returns the hosts that are reached without the proxy: those of `NO_PROXY`, and `metadata`, the services of this machine
/// that no proxy can reach.
pub(super) fn no_proxy(env: &dyn Fn(&str) -> Option<String>, metadata: &str) -> String {
    let named = env("NO_PROXY").or_else(|| env("no_proxy"));
    named.into_iter().chain([metadata.to_owned()]).collect::<Vec<_>>().join(",")
}

/// Checks the proxy's address here, for the errors of the HTTP client would show it with its password.
fn check_proxy(proxy: &str) -> Result<(), Error> {
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let uri = with_scheme.parse::<Uri>().ok();
    let good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if good {
        return Ok(());
    }
    Err(Error::usage("the proxy's address cannot be used").with_hint("write it as http://host:port (--proxy)"))
}

fn certificates(file: Option<&Path>) -> Result<Vec<Certificate>, Error> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let refused = |kind: Kind, problem: &str| {
        Error::new(kind, format!("CA file \"{}\" {problem}", file.display()))
            .with_hint("name a PEM file with --ca-file (with S3 also AWS_CA_BUNDLE)")
    };
    let pem = fs::read(file).map_err(|error| {
        // A missing file must not look like a missing bucket.
        let kind = if io_kind(error.kind()) == Kind::Denied { Kind::Denied } else { Kind::Usage };
        refused(kind, "cannot be read").with_source(error)
    })?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|error| refused(Kind::Usage, "is no PEM file").with_source(Cause::of(&error)))?;
    if certificates.is_empty() {
        return Err(refused(Kind::Usage, "holds no certificate"));
    }
    Ok(certificates)
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadEndpoint {
    /// It holds a user name or a password, which must not be shown.
    Secret,
    /// It is no address of a server.
    Malformed,
}

/// Checks what would otherwise fail late, or show a password in an error. Returns the address without a slash at its end.
pub(super) fn check_endpoint(endpoint: &str) -> Result<String, BadEndpoint> {
    let endpoint = endpoint.trim_end_matches('/');
    let uri = endpoint.parse::<Uri>().ok();
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    let host = uri.as_ref().and_then(Uri::host).is_some_and(|host| !host.is_empty());
    if endpoint.contains('@') {
        return Err(BadEndpoint::Secret);
    }
    if !matches!(scheme, Some("http" | "https")) || !host || endpoint.contains(['?', '#']) {
        return Err(BadEndpoint::Malformed);
    }
    Ok(endpoint.to_owned())
}

/// Makes HTTP clients that note what the errors of `object_store` leave out of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// The bucket's region. A redirect names it here and nowhere else.
    region: OnceLock<String>,
    /// Whether an answer was a web page. Those of the stores are XML, and a page may pass for an empty listing.
    page: AtomicBool,
}

impl Observed {
    /// Returns the region that an answer named.
    pub(super) fn region(&self) -> Option<&str> {
        self.0.region.get().map(String::as_str)
    }

    /// Tells whether an answer was a web page.
    pub(super) fn page(&self) -> bool {
        self.0.page.load(Ordering::Relaxed)
    }
}

impl HttpConnector for Observed {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched { inner, notes: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
struct Watched {
    inner: HttpClient,
    notes: Arc<Notes>,
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.inner.execute(request).await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(region) = header("x-amz-bucket-region")
            && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            self.notes.region.get_or_init(|| region.to_owned());
        }
        if header("content-type").is_some_and(|value| value.starts_with("text/html")) {
            self.notes.page.store(true, Ordering::Relaxed);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_shown() {
        for good in ["http://p:3128", "https://u:x@p", "p:3128"] {
            assert!(check_proxy(good).is_ok(), "{good}");
        }
        for bad in ["", "ftp://u:hunter2@p", "http://u:hunter2@", "http://u:hunter2@a b"] {
            let error = check_proxy(bad).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"));
        }
    }
}
