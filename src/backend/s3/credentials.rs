//! The credentials that Amazon's own tools would use, refreshed for as long as a command runs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::ConfigLoader;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::backend::answer::printable;
use crate::backend::error::{Error, Kind};
use crate::backend::failure::{LOOKED_AT, NoCredentials, joined};

/// How long before their end credentials are replaced: longer than a request with its retries takes.
const EARLY: Duration = Duration::from_mins(5);
/// How long to wait after an early replacement that brought nothing new.
const PAUSE: Duration = Duration::from_secs(30);

/// The default chain of `aws-config`: profile, SSO, roles, web identity, container, machine.
///
/// The chain itself asks again each time, so what it says is kept here.
pub(super) struct SdkCredentials {
    /// Absent if the chain could not even be built.
    provider: Option<SharedCredentialsProvider>,
    /// How long the chain may take.
    limit: Duration,
    /// Where it looks, as advice.
    tried: Vec<String>,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    credential: Arc<AwsCredential>,
    /// Which part of the chain gave it.
    origin: &'static str,
    /// When it ends, if it does.
    expiry: Option<SystemTime>,
    /// When an early replacement may be tried.
    next_try: Instant,
}

impl Cached {
    fn ends_within(&self, span: Duration) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= SystemTime::now() + span)
    }
}

impl SdkCredentials {
    /// Reads the configuration files; the credentials themselves are obtained with the first request.
    pub(super) async fn load(
        loader: ConfigLoader,
        profile: Option<&str>,
        limit: Duration,
        metadata_disabled: bool,
    ) -> Self {
        let provider = loader.load().await.credentials_provider();
        // A profile was chosen: its source may be a program or a login service, slower than a machine's own answer.
        let limit = if profile.is_some() { limit * 2 } else { limit };
        Self { provider, limit, tried: tried(profile, metadata_disabled), cached: Mutex::default() }
    }

    /// Says which credentials the chain has and where it found them.
    pub(super) async fn found(&self) -> Result<String, Error> {
        let Cached { credential, origin, .. } = self.obtain().await.map_err(|missing| {
            Error::new(missing.kind, "there are no usable credentials")
                .with_hints(missing.tried)
                .with_source(missing.reason)
        })?;
        Ok(format!("access key {} from {origin}", printable(&credential.key_id)))
    }

    async fn obtain(&self) -> Result<Cached, NoCredentials> {
        let fail = |reason: String| NoCredentials { kind: Kind::Credentials, reason, tried: self.tried.clone() };
        let Some(provider) = &self.provider else { return Err(fail("no source is configured".to_owned())) };
        let credentials = match timeout(self.limit, provider.provide_credentials()).await {
            Ok(Ok(credentials)) => credentials,
            Ok(Err(CredentialsError::CredentialsNotLoaded(_))) => {
                return Err(fail("none of the sources has any".to_owned()));
            }
            Ok(Err(error)) => return Err(fail(joined(&error))),
            Err(_) => {
                return Err(fail(format!("the last source did not answer within {} seconds", self.limit.as_secs())));
            }
        };
        Ok(Cached {
            credential: Arc::new(AwsCredential {
                key_id: credentials.access_key_id().to_owned(),
                secret_key: credentials.secret_access_key().to_owned(),
                token: credentials.session_token().map(str::to_owned),
            }),
            origin: origin(credentials.get_property::<Vec<AwsCredentialFeature>>().map_or(&[], Vec::as_slice)),
            expiry: credentials.expiry(),
            next_try: Instant::now() + PAUSE,
        })
    }
}

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Held while asking: one refresh serves all requests that wait for it.
        let mut cached = self.cached.lock().await;
        if let Some(cached) = &mut *cached
            && !cached.ends_within(Duration::ZERO)
            && (!cached.ends_within(EARLY) || Instant::now() < cached.next_try)
        {
            return Ok(Arc::clone(&cached.credential));
        }
        match (self.obtain().await, &mut *cached) {
            (Ok(new), slot) => Ok(Arc::clone(&slot.insert(new).credential)),
            // The refresh came early enough to fail: the credentials still hold, and it is tried again.
            (Err(error), Some(old)) if !old.ends_within(Duration::ZERO) => {
                tracing::warn!(%error, "refreshing the S3 credentials failed");
                old.next_try = Instant::now() + PAUSE;
                Ok(Arc::clone(&old.credential))
            }
            (Err(error), _) => Err(object_store::Error::Generic { store: "S3", source: Box::new(error) }),
        }
    }
}

impl fmt::Debug for SdkCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkCredentials").finish_non_exhaustive()
    }
}

/// Returns the place where credentials were found, in the words of the documentation. What was done last tells.
fn origin(features: &[AwsCredentialFeature]) -> &'static str {
    let place = features.iter().rev().find_map(|feature| {
        Some(match feature {
            AwsCredentialFeature::CredentialsImds => "the machine's metadata service",
            AwsCredentialFeature::CredentialsHttp => "the container's credentials (AWS_CONTAINER_CREDENTIALS_*)",
            AwsCredentialFeature::CredentialsEnvVarsStsWebIdToken
            | AwsCredentialFeature::CredentialsStsAssumeRoleWebId
            | AwsCredentialFeature::CredentialsProfileStsWebIdToken => "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
            AwsCredentialFeature::CredentialsStsAssumeRole => "a role that the profile assumes",
            AwsCredentialFeature::CredentialsSso | AwsCredentialFeature::CredentialsProfileSso => {
                "the profile's SSO session"
            }
            AwsCredentialFeature::CredentialsProcess | AwsCredentialFeature::CredentialsProfileProcess => {
                "the profile's credential_process"
            }
            AwsCredentialFeature::CredentialsLogin | AwsCredentialFeature::CredentialsProfileLogin => {
                "the login of `aws`"
            }
            AwsCredentialFeature::CredentialsEnvVars => "AWS_ACCESS_KEY_ID",
            _ => return None,
        })
    });
    place.unwrap_or("the profile (~/.aws/credentials, ~/.aws/config)")
}

/// Says where credentials were looked for. Keys in the environment are not the chain's: it is used when there are none.
fn tried(profile: Option<&str>, metadata_disabled: bool) -> Vec<String> {
    let machine = if metadata_disabled { "off, by AWS_EC2_METADATA_DISABLED" } else { "169.254.169.254" };
    let sources = match profile {
        Some(name) => format!(
            "{LOOKED_AT}profile \"{name}\" (--profile, AWS_PROFILE) in ~/.aws/config and ~/.aws/credentials, \
             AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_*, the machine's metadata service ({machine})"
        ),
        None => format!(
            "{LOOKED_AT}--access-key and --secret-key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile \
             \"default\" in ~/.aws/config and ~/.aws/credentials, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_*, \
             the machine's metadata service ({machine})"
        ),
    };
    let log_in = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with `aws sso login`".to_owned();
    let mut hints = vec![sources, log_in, "for a bucket that is open to everyone, pass --no-sign-request".to_owned()];
    if let Some(name) = profile {
        // The chain goes on to the next source without a word when a profile does not exist.
        hints.insert(0, format!("check that profile \"{name}\" exists: aws configure list-profiles"));
    }
    hints
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::{Credentials, provider::future};

    use super::*;
    use crate::backend::{Kind, classify};

    /// Answers from a script: the lifetime of each credential in seconds, or nothing.
    #[derive(Debug)]
    struct Scripted {
        answers: Vec<Option<u64>>,
        asked: Arc<AtomicUsize>,
    }

    impl ProvideCredentials for Scripted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            future::ProvideCredentials::ready(match self.answers.get(number) {
                Some(Some(seconds)) => {
                    let expiry = SystemTime::now() + Duration::from_secs(*seconds);
                    Ok(Credentials::new(format!("key{number}"), "hunter2", None, Some(expiry), "test"))
                }
                _ => Err(CredentialsError::not_loaded("no answer left")),
            })
        }
    }

    fn scripted(answers: &[Option<u64>]) -> (SdkCredentials, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let provider = Scripted { answers: answers.to_vec(), asked: Arc::clone(&asked) };
        let credentials = SdkCredentials {
            provider: Some(SharedCredentialsProvider::new(provider)),
            limit: Duration::from_secs(1),
            tried: vec!["a source".to_owned()],
            cached: Mutex::default(),
        };
        (credentials, asked)
    }

    async fn key(credentials: &SdkCredentials) -> object_store::Result<String> {
        credentials.get_credential().await.map(|credential| credential.key_id.clone())
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_their_end() {
        let (credentials, asked) = scripted(&[Some(3600), Some(3600)]);
        assert_eq!(key(&credentials).await.unwrap(), "key0");
        assert_eq!(key(&credentials).await.unwrap(), "key0");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_failed_early_refresh_keeps_what_still_holds() {
        let (credentials, asked) = scripted(&[Some(60), None, Some(3600)]);
        assert_eq!(key(&credentials).await.unwrap(), "key0");
        let try_now = async || credentials.cached.lock().await.as_mut().unwrap().next_try = Instant::now();
        try_now().await;
        assert_eq!(key(&credentials).await.unwrap(), "key0");
        assert_eq!(key(&credentials).await.unwrap(), "key0");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        try_now().await;
        assert_eq!(key(&credentials).await.unwrap(), "key2");
    }

    #[tokio::test]
    async fn expired_credentials_are_never_used() {
        let (credentials, _) = scripted(&[Some(0), Some(3600)]);
        assert_eq!(key(&credentials).await.unwrap(), "key0");
        assert_eq!(key(&credentials).await.unwrap(), "key1");
        let (credentials, _) = scripted(&[Some(0)]);
        key(&credentials).await.unwrap();
        assert_eq!(classify(&key(&credentials).await.unwrap_err()), Kind::Credentials);
    }

    /// A metadata service that is not there.
    #[derive(Debug)]
    struct Silent;

    impl ProvideCredentials for Silent {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_source_that_stays_silent_is_given_up() {
        let (mut credentials, _) = scripted(&[]);
        credentials.provider = Some(SharedCredentialsProvider::new(Silent));
        credentials.limit = Duration::from_millis(10);
        let error = key(&credentials).await.unwrap_err();
        assert_eq!(classify(&error), Kind::Credentials);
        assert!(error.to_string().contains("did not answer"), "{error}");
    }

    #[test]
    fn what_was_tried_is_said() {
        assert!(tried(None, true)[0].contains("AWS_EC2_METADATA_DISABLED"));
        assert!(tried(Some("work"), false)[0].contains("profile \"work\" exists"));
    }
}
