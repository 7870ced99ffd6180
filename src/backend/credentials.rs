//! Several places that credentials may come from, asked in order; for the stores whose own libraries ask one only.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::error::{Error, Kind};
use super::failure::{Failure, NoCredentials, joined};

/// How long before their end credentials are replaced: longer than a request with its retries takes.
const EARLY: Duration = Duration::from_mins(5);
/// How long credentials hold at least after they were handed out: a little less than `EARLY`, which `object_store` keeps as
/// well.
const HOLD: Duration = Duration::from_mins(4);
/// How long a connection to a service of this machine or its host may take.
const LOCAL_CONNECT: Duration = Duration::from_secs(1);
/// How long such a service may take to answer.
const LOCAL_ANSWER: Duration = Duration::from_secs(3);

/// One place that credentials may come from.
pub(super) struct Candidate<C> {
    /// What it is called in errors.
    pub(super) name: String,
    /// How long it may take.
    pub(super) limit: Duration,
    pub(super) provider: Arc<dyn CredentialProvider<Credential = C>>,
}

/// Candidates in order. The first that has credentials is the one that is used from then on.
pub(super) struct Chain<C> {
    store: &'static str,
    candidates: Vec<Candidate<C>>,
    /// What was looked at and what to do when none has any: one piece of advice each.
    advice: Vec<String>,
    chosen: Mutex<Option<Chosen<C>>>,
}

struct Chosen<C> {
    index: usize,
    credential: Arc<C>,
    since: Instant,
}

impl<C> Chain<C> {
    pub(super) fn new(store: &'static str, candidates: Vec<Candidate<C>>, advice: Vec<String>) -> Self {
        Self { store, candidates, advice, chosen: Mutex::default() }
    }
}

/// Says nothing of what the candidates hold.
impl<C> fmt::Debug for Chain<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.candidates.iter().map(|candidate| &candidate.name)).finish()
    }
}

impl<C: fmt::Debug + Send + Sync + 'static> Chain<C> {
    /// Says which candidate has credentials.
    pub(super) async fn found(&self) -> Result<String, Error> {
        match self.ask(0).await {
            Ok(chosen) => Ok(self.candidates[chosen.index].name.clone()),
            Err(missing) => Err(Error::new(missing.kind, "there are no usable credentials")
                .with_hints(missing.tried)
                .with_source(missing.reason)),
        }
    }

    /// Asks the candidates from `first` on.
    async fn ask(&self, first: usize) -> Result<Chosen<C>, NoCredentials> {
        let mut refused = Vec::new();
        let mut kind = Kind::Credentials;
        for (index, Candidate { name, limit, provider }) in self.candidates.iter().enumerate().skip(first) {
            let reason = match timeout(*limit, provider.get_credential()).await {
                Ok(Ok(credential)) => {
                    tracing::debug!(source = name, "credentials found");
                    return Ok(Chosen { index, credential, since: Instant::now() });
                }
                Ok(Err(error)) => {
                    // A login service that is not reached is no fault of the credentials.
                    if self.candidates.len() == 1 && matches!(Failure::of(&error), Failure::Unanswered(_)) {
                        kind = Kind::Unavailable;
                    }
                    told_by_login(&error)
                }
                Err(_) => format!("no answer within {} seconds", limit.as_secs_f32()),
            };
            refused.push(format!("{name}: {reason}"));
        }
        if refused.is_empty() {
            refused.push("there is no place to ask".to_owned());
        }
        Err(NoCredentials { kind, reason: refused.join("; "), tried: self.advice.clone() })
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Chain<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        // Held while asking: one answer serves all requests that wait for it.
        let mut chosen = self.chosen.lock().await;
        let Some(old) = &mut *chosen else {
            return match self.ask(0).await {
                Ok(new) => Ok(Arc::clone(&chosen.insert(new).credential)),
                Err(error) => Err(object_store::Error::Generic { store: self.store, source: Box::new(error) }),
            };
        };
        let Candidate { limit, provider, .. } = &self.candidates[old.index];
        // Only the first answer is waited for by a person.
        let renewed = match timeout(*limit * 3, provider.get_credential()).await {
            Ok(renewed) => renewed.map_err(|error| told_by_login(&error)),
            Err(_) => Err("no answer".to_owned()),
        };
        match renewed {
            Ok(credential) => {
                *old = Chosen { index: old.index, credential, since: Instant::now() };
                Ok(Arc::clone(&old.credential))
            }
            // They are renewed early enough to fail: what was handed out a moment ago still holds.
            Err(reason) if old.since.elapsed() < HOLD => {
                tracing::warn!(reason, "renewing the credentials failed");
                Ok(Arc::clone(&old.credential))
            }
            Err(reason) => {
                let name = &self.candidates[old.index].name;
                let reason = format!("{name}, which gave some before: {reason}");
                let error = NoCredentials { kind: Kind::Credentials, reason, tried: self.advice.clone() };
                Err(object_store::Error::Generic { store: self.store, source: Box::new(error) })
            }
        }
    }
}

/// Returns what a login service said.
fn told_by_login(error: &object_store::Error) -> String {
    match Failure::of(error) {
        Failure::Answered(answer) => answer.told_by("the login service"),
        Failure::NoCredentials(missing) => missing.reason.clone(),
        failure => failure.to_string(),
    }
}

/// Credentials, and when they end.
pub(super) struct Fresh<C> {
    pub(super) credential: C,
    pub(super) expiry: SystemTime,
}

/// Where credentials come from, asked each time.
#[async_trait]
pub(super) trait Source: fmt::Debug + Send + Sync + 'static {
    type Credential: fmt::Debug + Send + Sync + 'static;

    async fn obtain(&self) -> Result<Fresh<Self::Credential>, NoCredentials>;
}

/// What a source gave, kept until shortly before its end.
pub(super) struct Kept<S: Source> {
    source: S,
    cached: Mutex<Option<(Arc<S::Credential>, SystemTime)>>,
}

impl<S: Source> Kept<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, cached: Mutex::default() }
    }
}

impl<S: Source> fmt::Debug for Kept<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

#[async_trait]
impl<S: Source> CredentialProvider for Kept<S> {
    type Credential = S::Credential;

    async fn get_credential(&self) -> object_store::Result<Arc<S::Credential>> {
        let mut cached = self.cached.lock().await;
        if let Some((credential, expiry)) = &*cached
            && *expiry > SystemTime::now() + EARLY
        {
            return Ok(Arc::clone(credential));
        }
        match self.source.obtain().await {
            Ok(Fresh { credential, expiry }) => Ok(Arc::clone(&cached.insert((Arc::new(credential), expiry)).0)),
            Err(error) => Err(object_store::Error::Generic { store: "credentials", source: Box::new(error) }),
        }
    }
}

/// A reason without advice; the chain has the advice.
pub(super) fn no_credentials(reason: impl Into<String>) -> NoCredentials {
    NoCredentials { kind: Kind::Credentials, reason: reason.into(), tried: Vec::new() }
}

/// Returns a client for the services of this machine or its host: given up soon, and never through a proxy.
pub(super) fn local_client() -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(LOCAL_CONNECT)
        .timeout(LOCAL_ANSWER)
        .build()
        .map_err(|error| Error::new(Kind::Other, "cannot set up an HTTP client").with_source(joined(&error)))
}

/// Makes [`local_client`]s.
#[derive(Debug)]
pub(super) struct LocalConnector;

impl HttpConnector for LocalConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = local_client()
            .map_err(|error| object_store::Error::Generic { store: "credentials", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::backend::{classify, describe};

    /// Answers by script; what is absent never answers.
    #[derive(Debug)]
    struct Scripted(Vec<Option<Result<&'static str, &'static str>>>, AtomicUsize);

    #[async_trait]
    impl CredentialProvider for Scripted {
        type Credential = String;

        async fn get_credential(&self) -> object_store::Result<Arc<String>> {
            let asked = self.1.fetch_add(1, Ordering::SeqCst);
            match self.0.get(asked).copied().flatten() {
                Some(Ok(text)) => Ok(Arc::new(text.to_owned())),
                Some(Err(reason)) => {
                    Err(object_store::Error::Generic { store: "", source: Box::new(no_credentials(reason)) })
                }
                None => std::future::pending().await,
            }
        }
    }

    fn candidate(name: &str, answers: &[Option<Result<&'static str, &'static str>>]) -> Candidate<String> {
        let provider = Arc::new(Scripted(answers.to_vec(), AtomicUsize::new(0)));
        Candidate { name: name.to_owned(), limit: Duration::from_millis(10), provider }
    }

    #[tokio::test]
    async fn the_first_that_answers_is_used_from_then_on() {
        let chain = Chain::new(
            "test",
            vec![
                candidate("silent", &[]),
                candidate("empty", &[Some(Err("nothing here"))]),
                candidate("good", &[Some(Ok("one")), Some(Ok("two"))]),
                candidate("never asked", &[]),
            ],
            Vec::new(),
        );
        assert_eq!(*chain.get_credential().await.unwrap(), "one");
        assert_eq!(*chain.get_credential().await.unwrap(), "two");
    }

    #[tokio::test]
    async fn what_was_handed_out_a_moment_ago_outlives_a_failed_renewal() {
        let answers = [Some(Ok("one")), Some(Err("down")), Some(Err("down"))];
        let chain = Chain::new("test", vec![candidate("a", &answers)], vec!["do this".to_owned()]);
        chain.get_credential().await.unwrap();
        assert_eq!(*chain.get_credential().await.unwrap(), "one");
        chain.chosen.lock().await.as_mut().unwrap().since = Instant::now().checked_sub(HOLD).unwrap();
        let error = chain.get_credential().await.unwrap_err();
        assert_eq!(classify(&error), Kind::Credentials);
        assert!(describe(&error).contains("gave some before: down"), "{error}");
    }

    #[tokio::test]
    async fn every_candidate_is_named_with_its_reason() {
        let chain = Chain::new(
            "test",
            vec![candidate("silent", &[]), candidate("empty", &[Some(Err("nothing here"))])],
            vec!["do this".to_owned()],
        );
        let error = chain.get_credential().await.unwrap_err();
        let Failure::NoCredentials(missing) = Failure::of(&error) else { panic!("{error}") };
        assert_eq!(missing.reason, "silent: no answer within 0.01 seconds; empty: nothing here");
        assert_eq!(missing.tried, ["do this"]);
    }

    #[derive(Debug)]
    struct Counting(AtomicUsize, Duration);

    #[async_trait]
    impl Source for Counting {
        type Credential = usize;

        async fn obtain(&self) -> Result<Fresh<usize>, NoCredentials> {
            let credential = self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Fresh { credential, expiry: SystemTime::now() + self.1 })
        }
    }

    #[tokio::test]
    async fn a_source_is_asked_again_shortly_before_the_end() {
        for (lasts, second) in [(EARLY * 2, 0), (EARLY / 2, 1)] {
            let kept = Kept::new(Counting(AtomicUsize::new(0), lasts));
            assert_eq!(*kept.get_credential().await.unwrap(), 0);
            assert_eq!(*kept.get_credential().await.unwrap(), second);
        }
    }
}
