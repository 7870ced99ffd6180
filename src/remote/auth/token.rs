//! Asking a token server:
//! <https://distribution.github.io/distribution/spec/auth/token/> with a password or nobody's,
//! <https://distribution.github.io/distribution/spec/auth/oauth/> with an identity token.

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::{Scope, basic, realm, secret_header};
use crate::remote::http::{Http, Request};
use crate::remote::retry::Retry;
use crate::remote::{Credential, Error};
use crate::secret::Secret;

/// What token servers know us by.
const CLIENT_ID: &str = "oci-store";
/// The longest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 128 * 1024;
/// How long a token is good that does not say so, as the specification has it.
const LIFETIME: Duration = Duration::from_mins(1);

/// A token for a registry.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    /// When to ask for the next one: somewhat before the registry refuses this one.
    pub(super) renew_at: Instant,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Asks a token server for a token.
pub(super) async fn fetch(
    http: &Http,
    realm: &Url,
    service: Option<&str>,
    scope: &Scope,
    credential: Option<&Credential>,
    attempted: &str,
) -> Result<Token, Error> {
    let attempted = format!("{attempted}: asking {} for a token", crate::remote::http::host_and_port(realm));
    realm::check(http, realm, credential.is_some(), &attempted).await?;
    let request = request(realm, service, scope, credential, &attempted);
    let authorization = match credential {
        Some(Credential::Password { username, password }) => {
            Some(secret_header(&basic(username, password.reveal()), &attempted)?)
        }
        _ => None,
    };
    let begun = Instant::now();
    let (request, authorization, attempted) = (&request, &authorization, attempted.as_str());
    let ask = || async move {
        let answer = http.send(request, authorization.clone()).await?;
        http.read(attempted, http.succeed(attempted, answer).await?, MAX_TOKEN).await
    };
    let body = Retry::new(http.options().retries).run(ask).await?;
    let unexpected = |problem: &str| Error::Unexpected { attempted: attempted.to_owned(), problem: problem.to_owned() };
    // What the parser says could quote the token.
    let document: Document =
        serde_json::from_slice(&body).map_err(|_| unexpected("the answer is no token document"))?;
    let token = document.token.filter(|token| !token.is_empty()).or(document.access_token);
    let secret = token.filter(|token| !token.is_empty()).ok_or_else(|| unexpected("the answer holds no token"))?;
    let lifetime = document.expires_in.map_or(LIFETIME, Duration::from_secs).min(Duration::from_hours(24));
    Ok(Token { secret: secret.into(), renew_at: begun + lifetime.mul_f32(0.8) })
}

fn request<'a>(
    realm: &Url,
    service: Option<&str>,
    scope: &Scope,
    credential: Option<&Credential>,
    attempted: &'a str,
) -> Request<'a> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut url = realm.clone();
    if let Some(Credential::IdentityToken(token)) = credential {
        let scopes = scope.texts().iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        // What encodes a query encodes a form.
        let mut form: Url = "form:".parse().expect("it is a URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token.reveal())
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", &scopes)
            .append_pair("client_id", CLIENT_ID);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = form.query().unwrap_or_default().to_owned().into();
        return Request { method: Method::POST, url, headers, body, attempted };
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for text in scope.texts() {
            query.append_pair("scope", text);
        }
        if let Some(Credential::Password { username, .. }) = credential {
            query.append_pair("account", username);
        }
        query.append_pair("client_id", CLIENT_ID);
    }
    Request { method: Method::GET, url, headers, body: bytes::Bytes::new(), attempted }
}
