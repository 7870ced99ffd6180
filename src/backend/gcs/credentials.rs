//! Credentials for Google's store: one provider for each type of key file, and the metadata server.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use google_cloud_auth::credentials::{AccessTokenCredentials, external_account, impersonated, user_account};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{CredentialProvider, StaticCredentialProvider};
use serde_json::Value;

use super::environment::{Identity, LOG_IN, Settings};
use super::{Credentials, Error, Kind, Limits};
use crate::backend::Secret;
use crate::backend::answer::printable;
use crate::backend::credentials::{Candidate, Chain, Fresh, Kept, Source, local_client, no_credentials};
use crate::backend::failure::{Cause, LOOKED_AT, NoCredentials, joined};

/// What a token is asked for.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// The name of the store in errors of `object_store`.
const STORE: &str = "GCS";

/// Returns the provider of the credentials that the settings name. Nothing is asked yet.
pub(super) fn of(settings: &Settings, limits: &Limits, proxy: Option<&Secret>) -> Result<Credentials, Error> {
    Ok(match chain(settings, limits, proxy)? {
        Some(chain) => Arc::new(chain),
        // Writes need something to send.
        None => Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: "anonymous".to_owned() })),
    })
}

/// Returns where credentials come from; nothing for nobody.
pub(super) fn chain(
    settings: &Settings,
    limits: &Limits,
    proxy: Option<&Secret>,
) -> Result<Option<Chain<GcpCredential>>, Error> {
    let mut advice = vec![LOG_IN.to_owned()];
    let candidate = match &settings.identity {
        Identity::Anonymous => return Ok(None),
        Identity::File { path, kind, content } => {
            let name = format!("{kind} of \"{}\"", path.display());
            let refused = |problem: &str| {
                let message = format!("key file \"{}\" {problem}", path.display());
                Error::new(Kind::Credentials, message).with_hint(LOG_IN)
            };
            if proxy.is_some() && kind != "service_account" {
                tracing::debug!("the login itself uses the proxy of HTTPS_PROXY, not that of --proxy");
            }
            let unusable =
                |error: &(dyn std::error::Error + 'static)| refused("cannot be used").with_source(joined(error));
            let content = content.clone();
            let provider: Credentials = match kind.as_str() {
                "service_account" => service_account(&content)
                    .map_err(|error| refused("cannot be used").with_source(Cause::of(&error)))?,
                "authorized_user" => {
                    let built = user_account::Builder::new(content).with_scopes([SCOPE]);
                    Arc::new(ByGoogle(built.build_access_token_credentials().map_err(|error| unusable(&error))?))
                }
                "external_account" => {
                    let built = external_account::Builder::new(content).with_scopes([SCOPE]);
                    Arc::new(ByGoogle(built.build_access_token_credentials().map_err(|error| unusable(&error))?))
                }
                "impersonated_service_account" => {
                    let built = impersonated::Builder::new(content).with_scopes([SCOPE]);
                    Arc::new(ByGoogle(built.build_access_token_credentials().map_err(|error| unusable(&error))?))
                }
                other => {
                    return Err(refused(&format!("is of type \"{}\", which cannot be used", other.escape_debug())));
                }
            };
            // Some of them ask two services in turn.
            Candidate { name, limit: limits.credentials * 2, provider }
        }
        Identity::Metadata { host } => {
            advice.insert(0, format!("{LOOKED_AT}{}", settings.tried.join(", ")));
            let name = "the machine's metadata server".to_owned();
            let Some(host) = host else { return Ok(Some(Chain::new(STORE, Vec::new(), advice))) };
            let source = Metadata { host: host.clone(), client: local_client()? };
            Candidate { name, limit: limits.credentials, provider: Arc::new(Kept::new(source)) }
        }
    };
    Ok(Some(Chain::new(STORE, vec![candidate], advice)))
}

/// A key signs tokens by itself, with nobody asked.
fn service_account(content: &Value) -> object_store::Result<Credentials> {
    let built = GoogleCloudStorageBuilder::new()
        .with_bucket_name("unused")
        .with_service_account_key(content.to_string())
        .build()?;
    Ok(Arc::clone(built.credentials()))
}

/// Credentials that Google's own library obtains, keeps and renews.
#[derive(Debug)]
struct ByGoogle(AccessTokenCredentials);

#[async_trait]
impl CredentialProvider for ByGoogle {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        match self.0.access_token().await {
            Ok(token) => Ok(Arc::new(GcpCredential { bearer: token.token })),
            Err(error) => {
                // What is around the innermost two says only that there was an error, several times over.
                let texts: Vec<_> =
                    std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                        .map(ToString::to_string)
                        .collect();
                let reason = no_credentials(printable(&texts[texts.len().saturating_sub(2)..].join(": ")));
                Err(object_store::Error::Generic { store: STORE, source: Box::new(reason) })
            }
        }
    }
}

/// The metadata server of a machine of Google's: <https://cloud.google.com/compute/docs/metadata/overview>.
#[derive(Debug)]
struct Metadata {
    host: String,
    client: reqwest::Client,
}

#[async_trait]
impl Source for Metadata {
    type Credential = GcpCredential;

    async fn obtain(&self) -> Result<Fresh<GcpCredential>, NoCredentials> {
        let fail = |error: reqwest::Error| no_credentials(joined(&error));
        let url = format!("http://{}/computeMetadata/v1/instance/service-accounts/default/token", self.host);
        let answer = self.client.get(url).header("Metadata-Flavor", "Google").send().await.map_err(fail)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(no_credentials(format!(
                "it answered {}: the machine may have no service account",
                status.as_u16()
            )));
        }
        let body = answer.bytes().await.map_err(fail)?;
        let token = || -> Option<(String, u64)> {
            let body: Value = serde_json::from_slice(&body).ok()?;
            Some((body.get("access_token")?.as_str()?.to_owned(), body.get("expires_in")?.as_u64()?))
        };
        let Some((bearer, seconds)) = token() else { return Err(no_credentials("it did not answer with a token")) };
        Ok(Fresh { credential: GcpCredential { bearer }, expiry: SystemTime::now() + Duration::from_secs(seconds) })
    }
}
