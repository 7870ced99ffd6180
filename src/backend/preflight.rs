//! The first request to a bucket of Google's or Azure's, and what its failure means. S3 has its own, for its regions.

use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;

use super::Intent;
use super::answer::Answer;
use super::error::{Error, Kind};
use super::failure::{Cause, Failure};
use super::http::Observed;

/// What differs between the stores.
#[derive(Debug)]
pub(super) struct Words {
    /// What the store speaks, as in "did not answer as … does".
    pub(super) protocol: &'static str,
    /// How the address is given.
    pub(super) endpoint: &'static str,
    /// What to do when the bucket is not there.
    pub(super) not_found: &'static str,
    /// What to do when nothing answers at the store's own address.
    pub(super) unreachable: &'static str,
    /// The rights that reading needs.
    pub(super) rights_to_read: &'static str,
    /// The rights that writing needs.
    pub(super) rights_to_write: &'static str,
    /// What to do when the credentials are refused, by the store's code.
    pub(super) refused: fn(&str) -> &'static str,
    /// What to do about a denial that no right cures, by the store's code.
    pub(super) denied: fn(&str) -> Option<&'static str>,
}

/// Looks whether a bucket is there, answers, and takes the credentials.
pub(super) struct Preflight<'a, S> {
    pub(super) store: &'a S,
    /// What `store` notes of the answers.
    pub(super) observed: &'a Observed,
    /// The bucket and where it is, for messages.
    pub(super) place: String,
    /// Whether the user gave the address.
    pub(super) own_endpoint: bool,
    /// The folder in the bucket that the work is limited to.
    pub(super) root: &'a Path,
    pub(super) intent: Intent,
    pub(super) words: &'a Words,
}

/// The bucket cannot be opened.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Error,
    /// The store's own word.
    pub(super) code: Option<String>,
}

impl<S: ObjectStore + PaginatedListStore> Preflight<'_, S> {
    pub(super) async fn run(&self) -> Result<(), Refused> {
        // What the work itself lists: a policy that allows only that is enough.
        let prefix = format!("{}/", self.inside(storage_layout::ROOT));
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let Err(error) = self.store.list_paginated(Some(&prefix), options).await else {
            if self.observed.page() {
                let error = self.another_protocol().with_source("the answer is a web page");
                return Err(Refused { error, code: None });
            }
            return Ok(());
        };
        match Failure::of(&error) {
            Failure::Answered(answer) if answer.kind() == Kind::Denied && self.cure(&answer).is_none() => {
                self.without_list(&error, answer).await
            }
            failure => Err(self.judge(&error, &failure)),
        }
    }

    /// Listing is denied: finds out whether that is all.
    async fn without_list(&self, error: &object_store::Error, denied: Answer) -> Result<(), Refused> {
        let absent = Path::from(self.inside(&format!("{}/an-object-that-does-not-exist", storage_layout::ROOT)));
        let Err(read) = self.store.get(&absent).await else { return Ok(()) };
        match Failure::of(&read) {
            Failure::Answered(answer) if answer.status == Some(404) && answer.kind() != Kind::NotFound => Ok(()),
            // Those who may not list may be told nothing of what is absent. Reading goes on: the first object tells.
            Failure::Answered(answer) if answer.kind() == Kind::Denied && self.intent == Intent::Read => {
                tracing::debug!(place = self.place, "listing is denied, going on without");
                Ok(())
            }
            Failure::Answered(answer) if answer.kind() == Kind::Denied => {
                Err(self.judge(error, &Failure::Answered(denied)))
            }
            failure => Err(self.judge(&read, &failure)),
        }
    }

    /// Returns what to do about a denial that has nothing to do with rights.
    fn cure(&self, denied: &Answer) -> Option<&'static str> {
        (self.words.denied)(denied.code.as_deref().unwrap_or_default())
    }

    fn inside(&self, key: &str) -> String {
        if self.root.is_root() { key.to_owned() } else { format!("{}/{key}", self.root) }
    }

    fn judge(&self, error: &object_store::Error, failure: &Failure<'_>) -> Refused {
        let code = match failure {
            Failure::Answered(answer) => answer.code.clone(),
            _ => None,
        };
        let judged = match failure {
            Failure::Answered(answer) => self.answered(answer),
            Failure::Unanswered(_) => self.unreachable(failure),
            Failure::NoCredentials(missing) => {
                let message = match missing.kind {
                    Kind::Unavailable => format!("the login service for {} cannot be reached", self.place),
                    _ => format!("there are no usable credentials for {}", self.place),
                };
                let error = Error::new(missing.kind, message);
                let error = error.with_hints(missing.tried.clone()).with_source(missing.reason.clone());
                return Refused { error, code };
            }
            Failure::Redirected | Failure::Io(_) | Failure::Other(_) => self.another_protocol(),
        };
        Refused { error: judged.with_source(Cause::of(error)), code }
    }

    fn another_protocol(&self) -> Error {
        Error::new(Kind::Other, format!("{} did not answer as {} does", self.place, self.words.protocol))
            .with_hint(format!("check {}: it must be the address of the store itself", self.words.endpoint))
    }

    fn answered(&self, answer: &Answer) -> Error {
        let (place, words) = (&self.place, self.words);
        let code = answer.code.as_deref().unwrap_or_default();
        let kind = answer.kind();
        match kind {
            Kind::NotFound => Error::new(kind, format!("{place} not found")).with_hint(words.not_found),
            // Not every store gives a code with it.
            Kind::Other if answer.status == Some(404) => {
                Error::new(Kind::NotFound, format!("{place} not found")).with_hint(words.not_found)
            }
            Kind::Credentials => {
                Error::new(kind, format!("the credentials were refused for {place}")).with_hint((words.refused)(code))
            }
            Kind::Denied => {
                let rights = match self.intent {
                    Intent::Read => words.rights_to_read,
                    Intent::Write => words.rights_to_write,
                };
                let hint = self.cure(answer).map_or_else(|| format!("the work needs {rights}"), str::to_owned);
                Error::new(kind, format!("access to {place} is denied")).with_hint(hint)
            }
            Kind::Unavailable => Error::new(kind, format!("{place} is not available")).with_hint("try again later"),
            Kind::NoSpace => {
                Error::new(kind, format!("{place} is full")).with_hint("free space, or ask for a larger quota")
            }
            Kind::Usage => Error::new(kind, format!("{place} cannot be opened"))
                .with_hint("check the name of the bucket and of the project or account"),
            Kind::Other => Error::new(kind, format!("{place} cannot be opened"))
                .with_hint(format!("check {} and the name of the bucket", words.endpoint)),
        }
    }

    fn unreachable(&self, failure: &Failure<'_>) -> Error {
        let reason = failure.to_string().to_lowercase();
        let hint = if reason.contains("certificate") {
            "if the store has a certificate of its own, pass --ca-file".to_owned()
        } else if reason.contains("invalid http version") || reason.contains("corrupt message") {
            "the endpoint may speak the other of http:// and https://".to_owned()
        } else if self.own_endpoint {
            format!("check that the store runs, and {} and --proxy", self.words.endpoint)
        } else {
            self.words.unreachable.to_owned()
        };
        Error::new(Kind::Unavailable, format!("{} cannot be reached", self.place)).with_hint(hint)
    }
}
