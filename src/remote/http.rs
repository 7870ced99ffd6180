//! Single requests: to the registry, and with care to wherever it sends us.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, NoProxy, Proxy, Response, Url};
use tokio::sync::OnceCell;

use super::address::{Guard, Reach, TooNear, reach_of_host};
use super::error::{Answer, Cause};
use super::retry;
use super::{Error, RegistryName, RemoteOptions};

/// More redirects than this are not followed.
const MAX_REDIRECTS: usize = 5;
/// The longest refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// A request without a body, or with one that can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What it is for, as the beginning of an error.
    pub(super) attempted: &'a str,
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) again: Again,
}

/// Whether the same request again may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    No,
    /// No connection came up, which seldom changes.
    Unconnected,
    Yes,
    /// Yes, but only after as long as the server asks for.
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, again: Again::No }
    }
}

/// The connections to a registry, and to where it sends us.
#[derive(Debug)]
pub(super) struct Http {
    name: RegistryName,
    options: RemoteOptions,
    /// To the registry itself, wherever the user says that it is.
    own: Client,
    /// To all others, at addresses that the registry may name.
    others: OnceCell<(Reach, Client)>,
    /// `http` or `https`.
    base: OnceCell<Url>,
}

impl Http {
    pub(super) fn new(name: &RegistryName, options: &RemoteOptions) -> Result<Self, Error> {
        let own = build(name, options, None)?;
        let options = options.clone();
        Ok(Self { name: name.clone(), options, own, others: OnceCell::new(), base: OnceCell::new() })
    }

    pub(super) fn name(&self) -> &RegistryName {
        &self.name
    }

    pub(super) fn options(&self) -> &RemoteOptions {
        &self.options
    }

    /// Returns the address that the API's paths continue.
    ///
    /// On this machine many registries speak plain HTTP, so there both are tried, TLS first.
    pub(super) async fn base(&self) -> &Url {
        let of_scheme = |scheme: &str| -> Url {
            let text = format!("{scheme}://{}/v2/", self.name.endpoint());
            text.parse().expect("a registry's name is checked when it is made")
        };
        let find = async || {
            let tls = of_scheme("https");
            if self.options.plain_http {
                return of_scheme("http");
            }
            if !self.name.is_loopback() {
                return tls;
            }
            let attempted = "looking for TLS";
            let request = Request {
                method: Method::GET,
                url: tls.clone(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                attempted,
            };
            match self.send_with(&self.own, &request, None).await {
                // Whoever has a certificate speaks TLS, even if we do not trust it.
                Ok(_) | Err(Failure { error: Error::Certificate { .. }, .. }) => tls,
                Err(_) => of_scheme("http"),
            }
        };
        self.base.get_or_init(find).await
    }

    /// Tells whether a URL is the registry's own: of the same scheme, host and port.
    pub(super) async fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base().await.origin()
    }

    /// Sends a request and follows redirects, of a kind that leaves the request as it is. `authorization` is sent to the
    /// origin of the request's URL and to no other.
    pub(super) async fn send(
        &self,
        request: &Request<'_>,
        mut authorization: Option<HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut request = request.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send_once(&request, authorization.as_ref()).await?;
            let reads = matches!(request.method, Method::GET | Method::HEAD);
            let follows = match answer.status().as_u16() {
                301..=303 => reads,
                307 | 308 => true,
                _ => false,
            };
            if !follows {
                return Ok(answer);
            }
            let next = self.location(&answer, request.attempted)?;
            if next.origin() != request.url.origin() {
                authorization = None;
            }
            request.url = next;
        }
        let problem = format!("it redirects more than {MAX_REDIRECTS} times");
        Err(Error::Unexpected { attempted: request.attempted.to_owned(), problem }.into())
    }

    /// Sends a request, whatever the answer.
    async fn send_once(&self, request: &Request<'_>, authorization: Option<&HeaderValue>) -> Result<Response, Failure> {
        let client = self.client_for(&request.url, request.attempted).await?;
        self.send_with(client, request, authorization).await
    }

    async fn send_with(
        &self,
        client: &Client,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut builder = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        // An empty body would become `Transfer-Encoding` or a length where none belongs.
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        } else if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
            builder = builder.header(reqwest::header::CONTENT_LENGTH, 0);
        }
        match tokio::time::timeout(self.options.timeouts.idle, builder.send()).await {
            Ok(answer) => answer.map_err(|error| self.failure(request.attempted, &request.url, &error)),
            Err(_) => Err(Failure { error: self.silent(request.attempted, &request.url), again: Again::Yes }),
        }
    }

    /// Returns the client that a URL may be asked with: for the registry's own host any, for others one that does not connect
    /// to addresses nearer than the registry.
    pub(super) async fn client_for(&self, url: &Url, attempted: &str) -> Result<&Client, Error> {
        // Without the own address being known this is the question for it.
        let own_host = self.base.get().is_none_or(|base| base.host_str() == url.host_str());
        if own_host {
            return Ok(&self.own);
        }
        let (registry, client) = self
            .others
            .get_or_try_init(async || {
                let base = self.base().await;
                let reach = match Reach::of_text(base) {
                    Some(reach) => reach,
                    None if self.options.proxy.is_some() => Reach::Public,
                    None => reach_of_host(base.host_str().unwrap_or_default()).await,
                };
                build(&self.name, &self.options, Some(Guard(reach))).map(|client| (reach, client))
            })
            .await?;
        match Reach::of_text(url) {
            Some(target) if !registry.may_name(target) => {
                Err(self.untrusted(attempted, url, TooNear(target).to_string()))
            }
            _ => Ok(client),
        }
    }

    /// Reads where an answer sends us, and refuses what is not to be followed.
    pub(super) fn location(&self, answer: &Response, attempted: &str) -> Result<Url, Error> {
        let unexpected = |problem: &str| {
            let problem = format!("{} {problem}", self.name);
            Error::Unexpected { attempted: attempted.to_owned(), problem }
        };
        let location = answer.headers().get(LOCATION).ok_or_else(|| unexpected("does not say where to go on"))?;
        let location = location.to_str().map_err(|_| unexpected("names an address that is none"))?;
        let url = answer.url().join(location).map_err(|_| unexpected("names an address that is none"))?;
        self.check_address(answer.url(), &url, attempted)?;
        Ok(url)
    }

    /// Refuses addresses that are not to be followed, as far as their text tells.
    pub(super) fn check_address(&self, from: &Url, url: &Url, attempted: &str) -> Result<(), Error> {
        let problem = if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            "it is no address of a server"
        } else if !url.username().is_empty() || url.password().is_some() {
            "it holds credentials"
        } else if from.scheme() == "https" && url.scheme() == "http" {
            "it is without TLS"
        } else {
            return Ok(());
        };
        Err(self.untrusted(attempted, url, problem.to_owned()))
    }

    pub(super) fn untrusted(&self, attempted: &str, url: &Url, problem: String) -> Error {
        let target = format!("{}://{}", url.scheme(), host_and_port(url));
        Error::Untrusted { attempted: attempted.to_owned(), registry: self.name.to_string(), target, problem }
    }

    /// Makes an error of a request that got no answer.
    pub(super) fn failure(&self, attempted: &str, url: &Url, error: &reqwest::Error) -> Failure {
        let (host, attempted) = (host_and_port(url), attempted.to_owned());
        if let Some(near) = find_cause::<TooNear>(error) {
            return self.untrusted(&attempted, url, near.to_string()).into();
        }
        let again = if error.is_connect() { Again::Unconnected } else { Again::Yes };
        let cause = Cause::of(error);
        if let Some(rustls::Error::InvalidCertificate(_)) = find_cause(error) {
            return Error::Certificate { attempted, host, source: cause }.into();
        }
        Failure { error: Error::Unreachable { attempted, host, source: cause }, again }
    }

    /// Makes an error of a silence.
    pub(super) fn silent(&self, attempted: &str, url: &Url) -> Error {
        let source = Cause::from(format!("nothing came within {} seconds", self.options.timeouts.idle.as_secs()));
        Error::Unreachable { attempted: attempted.to_owned(), host: host_and_port(url), source }
    }

    /// Makes a failure of every answer that is no success. Its body is read as far as that is sensible.
    pub(super) async fn succeed(&self, attempted: &str, mut answer: Response) -> Result<Response, Failure> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let again = retry::again(answer.status().as_u16(), answer.headers());
        let status = answer.status().as_u16();
        let mut body = BytesMut::new();
        // What was read before the answer broke off is told.
        while let Ok(Ok(Some(piece))) = self.next_piece(&mut answer).await {
            body.extend_from_slice(&piece);
            if body.len() >= MAX_REFUSAL {
                break;
            }
        }
        let error = Error::Refused { attempted: attempted.to_owned(), answer: Answer::new(status, &body) };
        Err(Failure { error, again })
    }

    /// Reads an answer that is no longer than `limit` bytes.
    pub(super) async fn read(&self, attempted: &str, mut answer: Response, limit: u64) -> Result<Bytes, Failure> {
        let url = answer.url().clone();
        let mut body = BytesMut::new();
        loop {
            match self.next_piece(&mut answer).await {
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Err(error)) => return Err(self.failure(attempted, &url, &error)),
                Err(_) => return Err(Failure { error: self.silent(attempted, &url), again: Again::Yes }),
            }
            if body.len() as u64 > limit {
                let problem = format!("the answer is longer than {limit} bytes");
                return Err(Error::Damaged { attempted: attempted.to_owned(), problem }.into());
            }
        }
    }

    /// Waits for some more of an answer, but not for ever.
    pub(super) async fn next_piece(
        &self,
        answer: &mut Response,
    ) -> Result<Result<Option<Bytes>, reqwest::Error>, tokio::time::error::Elapsed> {
        tokio::time::timeout(self.options.timeouts.idle, answer.chunk()).await
    }
}

/// Makes a client that follows nothing by itself and adds nothing to a request.
fn build(name: &RegistryName, options: &RemoteOptions, guard: Option<Guard>) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("oci-store/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.timeouts.connect)
        .tcp_keepalive(Duration::from_secs(30))
        .tls_danger_accept_invalid_certs(options.insecure)
        .tls_certs_merge(certificates(options)?);
    if let Some(proxy) = &options.proxy {
        // The error would show the address, and with it the password.
        let proxy = Proxy::all(proxy.reveal()).map_err(|_| Error::Setting {
            setting: "the proxy's address".to_owned(),
            problem: "it is not of the form http://host:port".to_owned(),
        })?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_env()));
    } else if name.is_loopback() {
        // No proxy reaches this machine's own addresses, though variables seldom say so.
        builder = builder.no_proxy();
    }
    if let Some(guard) = guard {
        builder = builder.dns_resolver(guard);
    }
    builder.build().map_err(|error| Error::Setting {
        setting: "the HTTP client".to_owned(),
        problem: Cause::of(&error).to_string(),
    })
}

fn certificates(options: &RemoteOptions) -> Result<Vec<Certificate>, Error> {
    let Some(file) = &options.ca_file else { return Ok(Vec::new()) };
    let unusable = |problem: String| Error::Setting { setting: format!("the CA file \"{}\"", file.display()), problem };
    let pem = fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| unusable("it is no PEM file".to_owned()))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Returns what of a URL may be shown: a path or a query can hold a secret.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Looks for an error of one type in a chain.
pub(super) fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // An I/O error passes over the error that it is made of.
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return find_cause(inner);
    }
    error.source().and_then(find_cause)
}
