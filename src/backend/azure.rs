//! Azure Blob Storage.

mod block_blobs;
mod connection_string;
mod copy;
mod credentials;
mod environment;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::azure::{AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::ClientOptions;
use object_store::path::Path;

use super::cloud::{Cloud, check_name};
use super::error::{Error, Kind};
use super::failure::Cause;
use super::http::{Limits, Observed, Pace, client_options};
use super::preflight::{Preflight, Words};
use super::routed::RoutedStore;
use super::server_copy::{Opened, Sender};
use super::{Intent, Leftovers, Options, Secret};
use block_blobs::BlockBlobs;
use copy::AzureCopier;
use environment::Settings;

/// How to reach a container of Azure's. What is absent here is looked up where Azure's own tools look: in the environment,
/// with the identity of the machine, at the login of `az`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AzureConfig {
    /// The storage account.
    pub account_name: Option<String>,
    /// A key of the account, in base64.
    pub account_key: Option<Secret>,
    /// Which credentials to use if there are several.
    pub credential_type: Option<CredentialType>,
    /// The application, or the managed identity, to log in as.
    pub client_id: Option<String>,
    /// The directory that the application is in.
    pub tenant_id: Option<String>,
    /// The secret of the application.
    pub secret: Option<Secret>,
    /// A shared access signature, as the portal writes it.
    pub sas_token: Option<Secret>,
    /// Account, key or signature, and address in one text, as the portal writes it.
    pub connection_string: Option<Secret>,
    /// The URL of the account's blobs, where it is not `https://ACCOUNT.blob.core.windows.net`.
    pub endpoint: Option<String>,
    /// What all backends have.
    pub options: Options,
}

/// A kind of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialType {
    /// What is there: an application's secret, else a workload's token, else the machine's identity, else the login of `az`.
    Default,
    /// A key of the account.
    SharedKey,
    /// A shared access signature.
    SasToken,
    /// The secret of an application.
    ClientSecret,
    /// The token of a workload, in a file.
    WorkloadIdentity,
    /// The identity of the machine.
    ManagedIdentity,
    /// The login of `az`.
    AzureCli,
    /// None, for containers open to everyone.
    Anonymous,
}

impl CredentialType {
    const ALL: [Self; 8] = [
        Self::Default,
        Self::SharedKey,
        Self::SasToken,
        Self::ClientSecret,
        Self::WorkloadIdentity,
        Self::ManagedIdentity,
        Self::AzureCli,
        Self::Anonymous,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default_credentials",
            Self::SharedKey => "shared_key",
            Self::SasToken => "sas_token",
            Self::ClientSecret => "client_secret",
            Self::WorkloadIdentity => "workload_identity",
            Self::ManagedIdentity => "managed_identity",
            Self::AzureCli => "azure_cli",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CredentialType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("it is none of {}", known.join(", "))
        })
    }
}

type Credentials = Arc<dyn CredentialProvider<Credential = AzureCredential>>;

impl Cloud for AzureConfig {
    type Settings = Settings;

    async fn settings(&self) -> Result<Settings, Error> {
        Settings::resolve(self, &|name| std::env::var(name).ok())
    }

    const BUCKET: &'static str = "container";

    fn check_bucket(container: &str) -> Result<(), Error> {
        let rule = "the name of a container is made of lower-case letters, digits and dashes";
        check_name(container, "-$", "a container", rule)
    }

    fn address(settings: &Settings) -> &str {
        &settings.endpoint
    }

    async fn open(
        &self,
        limits: &Limits,
        settings: &Settings,
        bucket: &str,
        root: &Path,
        intent: Intent,
    ) -> Result<Opened, Error> {
        let credentials = credentials::of(self, settings, limits)?;
        let build =
            |pace: Pace, observed: Option<&Observed>| self.build(settings, bucket, &credentials, pace, observed);
        let observed = Observed::default();
        let store = build(Pace::Preflight { request: limits.request, retries: limits.retries }, Some(&observed))?;
        let place = Self::place(settings, bucket);
        let own_endpoint = settings.own_endpoint;
        let words = &WORDS;
        let preflight = Preflight { store: &store, observed: &observed, place, own_endpoint, root, intent, words };
        preflight.run().await.map_err(|refused| refused.error)?;
        let blocks = Arc::new(build(Pace::Put, None)?);
        let routed = RoutedStore {
            meta: Arc::new(build(Pace::Meta, None)?),
            get: Arc::new(build(Pace::Get, None)?),
            put: Arc::<MicrosoftAzure>::clone(&blocks),
            storage_class: None,
        };
        let copier = (!settings.is_anonymous()).then(|| self.copier(settings, bucket, &credentials)).transpose()?;
        Ok(Opened {
            store: Arc::new(BlockBlobs::new(routed, blocks)),
            copier: copier.map(|copier| Arc::new(copier) as _),
        })
    }

    async fn credentials_found(&self, limits: &Limits, settings: &Settings) -> Result<String, Error> {
        credentials::found(self, settings, limits).await
    }

    async fn leftovers(&self, _: &Limits, _: &Settings, _: &str, _: &Path) -> Result<Leftovers, Error> {
        Ok(Leftovers::Removed("Azure removes them itself, after a week".to_owned()))
    }
}

impl AzureConfig {
    fn client_options(&self, settings: &Settings, pace: Pace) -> Result<ClientOptions, Error> {
        let ca_file = self.options.ca_file.as_deref();
        let client = client_options(&self.options, Some(&settings.endpoint), &settings.no_proxy, ca_file)?;
        Ok(pace.limit(client))
    }

    fn copier(&self, settings: &Settings, container: &str, credentials: &Credentials) -> Result<AzureCopier, Error> {
        let options = self.client_options(settings, Pace::Put)?;
        Ok(AzureCopier {
            sender: Sender::new(options, Pace::Put.retries(self.options.retries)),
            account: settings.account.clone(),
            endpoint: settings.endpoint.clone(),
            container: container.to_owned(),
            credentials: Arc::clone(credentials),
        })
    }

    fn build(
        &self,
        settings: &Settings,
        container: &str,
        credentials: &Credentials,
        pace: Pace,
        observed: Option<&Observed>,
    ) -> Result<MicrosoftAzure, Error> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&settings.account)
            .with_container_name(container)
            .with_endpoint(settings.endpoint.clone())
            .with_credentials(Arc::clone(credentials))
            .with_skip_signature(settings.is_anonymous())
            .with_client_options(self.client_options(settings, pace)?)
            .with_retry(pace.retries(self.options.retries));
        if let Some(observed) = observed {
            builder = builder.with_http_connector(observed.clone());
        }
        builder.build().map_err(|error| {
            Error::usage(format!("cannot set up a client for container \"{container}\"")).with_source(Cause::of(&error))
        })
    }
}

const WORDS: Words = Words {
    protocol: "Azure Blob Storage",
    endpoint: "--endpoint and --account-name (AZURE_STORAGE_ACCOUNT)",
    not_found: "create it, or check its name and --account-name (AZURE_STORAGE_ACCOUNT)",
    unreachable: "check --account-name (AZURE_STORAGE_ACCOUNT), the network and --proxy; clouds other than the public one need \
                  --endpoint",
    rights_to_read: "the role \"Storage Blob Data Reader\" on the container; of a shared access signature, read and list",
    rights_to_write: "the role \"Storage Blob Data Contributor\" on the container; of a shared access signature, read, list, \
                      create, write and delete",
    refused: |code| match code {
        "AuthenticationFailed" => {
            "check that the key or signature belongs to this account and has not expired, and that this machine's clock is \
             right (AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING)"
        }
        "InvalidAuthenticationInfo" => {
            "the login is of another tenant or for another service: check --tenant-id (AZURE_TENANT_ID), or log in again \
             with `az login`"
        }
        _ => "give credentials: AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or a login (--credential-type)",
    },
    denied: |code| match code {
        "KeyBasedAuthenticationNotPermitted" => {
            Some("the account takes no keys: use a login instead, with --credential-type default_credentials")
        }
        "AuthorizationFailure" | "AuthorizationSourceIPMismatch" => Some(
            "check the key or signature (AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN), and whether the account's firewall \
                 lets this machine in",
        ),
        "AuthorizationProtocolMismatch" => Some("the signature is for https only"),
        "AuthorizationResourceTypeMismatch" | "AuthorizationServiceMismatch" => {
            Some("the signature is not for blobs and containers: make one with srt=co and ss=b")
        }
        "PublicAccessNotPermitted" => Some("the account is not open to everyone: give credentials"),
        "AccountIsDisabled" | "ContainerDisabled" => Some("it is disabled: ask whoever runs the account"),
        _ => None,
    },
};
