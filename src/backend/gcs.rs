//! Google Cloud Storage, by its XML API.

mod copy;
mod credentials;
mod environment;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use hyper::{Request, header};
use object_store::client::{ClientOptions, HttpRequestBody};
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{CredentialProvider, HeaderMap, HeaderValue};

use super::cloud::{Cloud, check_name};
use super::error::{Error, Kind};
use super::failure::Cause;
use super::http::{Limits, Observed, Pace, client_options};
use super::leftovers::{Dialect, Leftovers};
use super::preflight::{Preflight, Words};
use super::routed::RoutedStore;
use super::server_copy::{Opened, Sender};
use super::{Intent, Options, describe};
use copy::GcsCopier;
use environment::Settings;

/// The header that names the project whom requests are billed to.
const QUOTA_PROJECT: &str = "x-goog-user-project";

/// Where Google's own store is.
const GOOGLE: &str = "https://storage.googleapis.com";
/// <https://cloud.google.com/storage/docs/xml-api/get-bucket-lifecycle>
const DIALECT: Dialect = Dialect {
    action: "AbortIncompleteMultipartUpload",
    days: "Age",
    prefix: "MatchesPrefix",
    has_status: false,
    advice: "give the bucket a lifecycle rule with AbortIncompleteMultipartUpload and an age, of a week for example",
};

/// How to reach a bucket of Google's. What is absent here is looked up where Google's own tools look: in the environment,
/// in the file that `gcloud` writes, at the machine's metadata server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcsConfig {
    /// The project that requests are counted against and billed to, where that is not the bucket's.
    pub project_id: Option<String>,
    /// A JSON file with credentials of any type: service account, user, external account, impersonation.
    pub keyfile: Option<PathBuf>,
    /// The URL of a store other than Google's. Without a key file, a plain `http://` one gets no credentials.
    pub endpoint: Option<String>,
    /// What all backends have.
    pub options: Options,
}

type Credentials = Arc<dyn CredentialProvider<Credential = GcpCredential>>;

impl Cloud for GcsConfig {
    type Settings = Settings;

    async fn settings(&self) -> Result<Settings, Error> {
        Settings::resolve(self, &|name| std::env::var(name).ok())
    }

    fn check_bucket(bucket: &str) -> Result<(), Error> {
        let rule = "the name of a bucket is made of lower-case letters, digits, dots, dashes and underscores";
        check_name(bucket, ".-_", "a bucket of Google's", rule)
    }

    fn address(settings: &Settings) -> &str {
        settings.endpoint.as_deref().unwrap_or("Google Cloud Storage")
    }

    async fn open(
        &self,
        limits: &Limits,
        settings: &Settings,
        bucket: &str,
        root: &Path,
        intent: Intent,
    ) -> Result<Opened, Error> {
        let credentials = credentials::of(settings, limits, self.options.proxy.as_ref())?;
        let preflight = Pace::Preflight { request: limits.request, retries: limits.retries };
        let mut project = settings.project.as_deref();
        loop {
            let clients = Clients { config: self, settings, bucket, project, credentials: &credentials };
            let observed = Observed::default();
            let store = clients.build(preflight, Some(&observed))?;
            let place = Self::place(settings, bucket);
            let own_endpoint = settings.endpoint.is_some();
            let words = &WORDS;
            let checked =
                Preflight { store: &store, observed: &observed, place, own_endpoint, root, intent, words }.run().await;
            match checked {
                Ok(()) => {
                    let store = RoutedStore {
                        meta: Arc::new(clients.build(Pace::Meta, None)?),
                        get: Arc::new(clients.build(Pace::Get, None)?),
                        put: Arc::new(clients.build(Pace::Put, None)?),
                        storage_class: None,
                    };
                    return Ok(Opened { store: Arc::new(store), copier: Some(Arc::new(clients.copier()?)) });
                }
                // The bucket's owner has others pay. The project of the environment is used for that and nothing else: most
                // accounts may not bill what they read to a project that is named there.
                Err(refused)
                    if refused.code.as_deref() == Some("UserProjectMissing")
                        && project.is_none()
                        && settings.ambient_project.is_some() =>
                {
                    project = settings.ambient_project.as_deref();
                }
                Err(refused) => return Err(refused.error),
            }
        }
    }

    async fn credentials_found(&self, limits: &Limits, settings: &Settings) -> Result<String, Error> {
        match credentials::chain(settings, limits, self.options.proxy.as_ref())? {
            Some(chain) => chain.found().await,
            None => Ok("none: a plain http:// endpoint gets none".to_owned()),
        }
    }

    async fn leftovers(
        &self,
        limits: &Limits,
        settings: &Settings,
        bucket: &str,
        root: &Path,
    ) -> Result<Leftovers, Error> {
        let credentials = credentials::of(settings, limits, self.options.proxy.as_ref())?;
        let credential = match credentials.get_credential().await {
            Ok(credential) => credential,
            Err(error) => return Ok(Leftovers::Unknown(describe(&error))),
        };
        let endpoint = settings.endpoint.as_deref();
        let mut question = Request::get(format!("{}/{bucket}?lifecycle", endpoint.unwrap_or(GOOGLE)));
        if !settings.is_anonymous() {
            question = question.header(header::AUTHORIZATION, format!("Bearer {}", credential.bearer));
        }
        if let Some(project) = &settings.project {
            question = question.header(QUOTA_PROJECT, project);
        }
        let Ok(question) = question.body(HttpRequestBody::empty()) else {
            return Ok(Leftovers::Unknown("the question cannot be put".to_owned()));
        };
        let options = &self.options;
        let client = client_options(options, endpoint, &settings.no_proxy, options.ca_file.as_deref())?;
        let pace = Pace::Preflight { request: limits.request, retries: limits.retries };
        Ok(DIALECT.ask(&pace.limit(client), question, root.as_ref()).await)
    }
}

/// Builds clients: the same address and identity, different time limits.
struct Clients<'a> {
    config: &'a GcsConfig,
    settings: &'a Settings,
    bucket: &'a str,
    project: Option<&'a str>,
    credentials: &'a Credentials,
}

impl Clients<'_> {
    fn options(&self, pace: Pace) -> Result<ClientOptions, Error> {
        let (options, settings) = (&self.config.options, self.settings);
        let endpoint = settings.endpoint.as_deref();
        let mut client = client_options(options, endpoint, &settings.no_proxy, options.ca_file.as_deref())?;
        if let Some(project) = self.project {
            let value = HeaderValue::from_str(project).map_err(|_| {
                Error::usage(format!("\"{}\" cannot be a project", project.escape_debug()))
                    .with_hint("pass the ID of a project as --project-id")
            })?;
            let mut headers = HeaderMap::new();
            headers.insert(QUOTA_PROJECT, value);
            client = client.with_default_headers(headers);
        }
        Ok(pace.limit(client))
    }

    fn copier(&self) -> Result<GcsCopier, Error> {
        let Self { config, settings, bucket, credentials, .. } = self;
        Ok(GcsCopier {
            sender: Sender::new(self.options(Pace::Put)?, Pace::Put.retries(config.options.retries)),
            endpoint: settings.endpoint.clone().unwrap_or_else(|| GOOGLE.to_owned()),
            bucket: (*bucket).to_owned(),
            credentials: (!settings.is_anonymous()).then(|| Arc::clone(credentials)),
        })
    }

    fn build(&self, pace: Pace, observed: Option<&Observed>) -> Result<GoogleCloudStorage, Error> {
        let Self { config, settings, bucket, .. } = self;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(*bucket)
            .with_client_options(self.options(pace)?)
            .with_retry(pace.retries(config.options.retries))
            // Given also to nobody: writes of `object_store` send a token even when they are told to send none.
            .with_credentials(Arc::clone(self.credentials))
            .with_skip_signature(settings.is_anonymous());
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        if let Some(observed) = observed {
            builder = builder.with_http_connector(observed.clone());
        }
        builder.build().map_err(|error| {
            Error::usage(format!("cannot set up a client for bucket \"{bucket}\"")).with_source(Cause::of(&error))
        })
    }
}

const WORDS: Words = Words {
    protocol: "Google Cloud Storage",
    endpoint: "--endpoint (STORAGE_EMULATOR_HOST)",
    not_found: "create it, or check its name",
    unreachable: "check the network and --proxy",
    rights_to_read: "the role roles/storage.objectViewer on the bucket",
    rights_to_write: "the role roles/storage.objectUser on the bucket (storage.objects.list, get, create and delete)",
    refused: |_| {
        "the login has ended or is not for this bucket: log in again with `gcloud auth application-default login`, or set \
         GOOGLE_APPLICATION_CREDENTIALS to another key file"
    },
    denied: |code| match code {
        "UserProjectMissing" => Some("who asks pays for this bucket: name the project to bill with --project-id"),
        "UserProjectAccessDenied" => Some(
            "the account may not bill to that project: it needs roles/serviceusage.serviceUsageConsumer there, or another \
             --project-id (or quota_project_id in the key file)",
        ),
        "AccountProblem" | "UserProjectAccountProblem" => Some("check the billing of the project"),
        _ => None,
    },
};
