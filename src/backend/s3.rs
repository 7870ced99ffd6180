//! Amazon S3, and what speaks its language.

mod clients;
mod copy;
mod credentials;
mod environment;
mod lifecycle;
mod preflight;
mod sdk;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3, AwsCredentialProvider, resolve_bucket_region};
use object_store::path::Path;

use super::cloud::{Cloud, check_name};
use super::error::{Error, Kind};
use super::failure::joined;
use super::http::{Limits, Observed, Pace};
use super::routed::RoutedStore;
use super::server_copy::Opened;
use super::{Intent, Leftovers, Options, Secret};
use clients::Clients;
use credentials::SdkCredentials;
use environment::{Identity, Settings};
use preflight::Preflight;

/// The region that an endpoint of one's own gets if none is configured: the one that all such stores take.
const DEFAULT_REGION: &str = "us-east-1";

/// How to reach an S3 bucket. What is absent here is looked up where Amazon's own tools look: in the environment, then in
/// the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Config {
    /// The region, such as `eu-west-1`.
    pub region: Option<String>,
    /// The URL of a store other than Amazon's.
    pub endpoint: Option<String>,
    /// The ID of an access key.
    pub access_key: Option<String>,
    /// The secret that belongs to it.
    pub secret_key: Option<Secret>,
    /// The token that belongs to a temporary key.
    pub session_token: Option<Secret>,
    /// A profile of `~/.aws/config`. If it is set and `access_key` is not, keys in the environment are not used.
    pub profile: Option<String>,
    /// Whether requests are sent without credentials, for buckets open to everyone.
    pub no_sign_request: bool,
    /// Whether the bucket is in the path of a URL (`true`) or in its host name (`false`). If absent: in the path with an
    /// `endpoint`, else in the host name where that is possible.
    pub path_style: Option<bool>,
    /// The storage class of new objects; the bucket's default if absent.
    pub storage_class: Option<String>,
    /// How the store encrypts new objects: `AES256`, `aws:kms` or `aws:kms:dsse`; the bucket's default if absent.
    pub sse: Option<String>,
    /// The KMS key to encrypt with; sets `sse` to `aws:kms` if that is absent.
    pub sse_kms_key_id: Option<String>,
    /// Whether whoever asks pays for the requests, as some buckets demand.
    pub requester_pays: bool,
    /// What all backends have.
    pub options: Options,
}

impl Cloud for S3Config {
    type Settings = Settings;

    async fn settings(&self) -> Result<Settings, Error> {
        let mut settings = Settings::resolve(self, &|name| std::env::var(name).ok())?;
        if settings.endpoint.is_none()
            && let Some(endpoint) = sdk::endpoint(self.profile.as_deref()).await
        {
            settings.endpoint = Some(environment::check_endpoint(&endpoint)?);
            settings.endpoint_of_profile = true;
        }
        Ok(settings)
    }

    fn check_bucket(bucket: &str) -> Result<(), Error> {
        let rule = "the name of a bucket is made of letters, digits, dots and dashes";
        check_name(bucket, ".-_", "an S3 bucket", rule)
    }

    fn address(settings: &Settings) -> &str {
        settings.endpoint.as_deref().unwrap_or("Amazon S3")
    }

    async fn open(
        &self,
        limits: &Limits,
        settings: &Settings,
        bucket: &str,
        root: &Path,
        intent: Intent,
    ) -> Result<Opened, Error> {
        let clients = Clients::new(self, settings, bucket)?;
        let region = &self.region(limits, settings, bucket, &clients).await?;
        let credentials = self.credentials(limits, settings, region).await?;
        let build =
            |pace: Pace, observed: Option<&Observed>| clients.build(pace, region, credentials.as_ref(), observed);

        let observed = &Observed::default();
        let store = &build(Pace::Preflight { request: limits.request, retries: limits.retries }, Some(observed))?;
        let place = format!("{} (region {region})", Self::place(settings, bucket));
        let own_endpoint = settings.endpoint.is_some();
        Preflight { store, observed, place, bucket, own_endpoint, region, root, intent }.run().await?;

        let put = Arc::new(build(Pace::Put, None)?);
        let store = RoutedStore {
            meta: Arc::new(build(Pace::Meta, None)?),
            get: Arc::new(build(Pace::Get, None)?),
            put: Arc::<AmazonS3>::clone(&put),
            storage_class: self.storage_class.clone(),
        };
        // Without credentials there is nothing to sign with.
        let copier = credentials.is_some().then(|| Arc::new(clients.copier(put)) as _);
        Ok(Opened { store: Arc::new(store), copier })
    }

    async fn credentials_found(&self, limits: &Limits, settings: &Settings) -> Result<String, Error> {
        match &settings.identity {
            Identity::Anonymous => Ok("none: requests are not signed (--no-sign-request)".to_owned()),
            Identity::Keys(keys) => Ok(keys.to_string()),
            Identity::Chain { profile } => {
                let region = settings.region.as_deref().unwrap_or(DEFAULT_REGION);
                self.chain(limits, settings, profile.as_deref(), region).await?.found().await
            }
        }
    }

    async fn leftovers(
        &self,
        limits: &Limits,
        settings: &Settings,
        bucket: &str,
        root: &Path,
    ) -> Result<Leftovers, Error> {
        let clients = Clients::new(self, settings, bucket)?;
        let region = self.region(limits, settings, bucket, &clients).await?;
        let Some(credentials) = self.credentials(limits, settings, &region).await? else {
            return Ok(Leftovers::Unknown("requests are not signed".to_owned()));
        };
        let pace = Pace::Preflight { request: limits.request, retries: limits.retries };
        let store = clients.build(pace, &region, Some(&credentials), None)?;
        Ok(lifecycle::ask(&store, &clients.options(&pace), root).await)
    }
}

impl S3Config {
    async fn region(
        &self,
        limits: &Limits,
        settings: &Settings,
        bucket: &str,
        clients: &Clients<'_>,
    ) -> Result<String, Error> {
        if let Some(region) = &settings.region {
            return Ok(region.clone());
        }
        // Next to an endpoint, the region of a profile counts only if the user chose the profile, or the endpoint is its own.
        let profile = match &settings.identity {
            Identity::Chain { profile }
                if profile.is_some() || settings.endpoint.is_none() || settings.endpoint_of_profile =>
            {
                Some(profile)
            }
            _ => None,
        };
        if let Some(name) = profile {
            let mut provider = ProfileFileRegionProvider::builder();
            if let Some(name) = name {
                provider = provider.profile_name(name);
            }
            if let Some(region) = provider.build().region().await {
                return Ok(region.to_string());
            }
        }
        if settings.endpoint.is_some() {
            return Ok(DEFAULT_REGION.to_owned());
        }
        let options = clients.options(&Pace::Preflight { request: limits.request, retries: 0 });
        resolve_bucket_region(bucket, &options).await.map_err(|error| region_unknown(bucket, &error))
    }

    async fn credentials(
        &self,
        limits: &Limits,
        settings: &Settings,
        region: &str,
    ) -> Result<Option<AwsCredentialProvider>, Error> {
        Ok(match &settings.identity {
            Identity::Anonymous => None,
            Identity::Keys(credential) => Some(Arc::new(StaticCredentialProvider::new(credential.to_aws()))),
            Identity::Chain { profile } => {
                Some(Arc::new(self.chain(limits, settings, profile.as_deref(), region).await?))
            }
        })
    }

    async fn chain(
        &self,
        limits: &Limits,
        settings: &Settings,
        profile: Option<&str>,
        region: &str,
    ) -> Result<SdkCredentials, Error> {
        let loader = sdk::with_client(sdk::loader(profile, region), settings, self.options.proxy.as_ref())?;
        Ok(SdkCredentials::load(loader, profile, limits.credentials, settings.metadata_disabled).await)
    }
}

fn region_unknown(bucket: &str, error: &object_store::Error) -> Error {
    // The lookup's errors are not exported: their texts are all there is.
    let text = joined(error);
    if text.contains("not found") {
        return Error::new(Kind::NotFound, format!("bucket \"{bucket}\" not found at Amazon S3"))
            .with_hint("create it, or pass --endpoint (AWS_ENDPOINT_URL_S3) if it is in another store");
    }
    let kind = if text.contains("Failed to resolve") { Kind::Unavailable } else { Kind::Usage };
    Error::new(kind, format!("cannot find out the region of bucket \"{bucket}\""))
        .with_source(text)
        .with_hint("pass --region (AWS_REGION)")
        .with_hint("pass --endpoint (AWS_ENDPOINT_URL_S3) if the bucket is not at Amazon")
}
