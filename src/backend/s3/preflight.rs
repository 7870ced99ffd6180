//! The first request to a bucket, and what its failure means.

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;

use crate::backend::Intent;
use crate::backend::answer::Answer;
use crate::backend::error::{Error, Kind};
use crate::backend::failure::{Cause, Failure};
use crate::backend::http::Observed;

/// Looks whether a bucket is there, answers, and takes the credentials.
pub(super) struct Preflight<'a> {
    pub(super) store: &'a AmazonS3,
    /// What `store` notes of the answers.
    pub(super) observed: &'a Observed,
    /// The bucket and where it is, for messages.
    pub(super) place: String,
    pub(super) bucket: &'a str,
    /// Whether the user gave the address.
    pub(super) own_endpoint: bool,
    pub(super) region: &'a str,
    /// The folder in the bucket that the work is limited to.
    pub(super) root: &'a Path,
    pub(super) intent: Intent,
}

impl Preflight<'_> {
    pub(super) async fn run(&self) -> Result<(), Error> {
        // What the work itself lists: a policy that allows only that is enough.
        let prefix = format!("{}/", self.inside(storage_layout::ROOT));
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let Err(error) = self.store.list_paginated(Some(&prefix), options).await else {
            return if self.observed.page() {
                Err(self.not_s3().with_source("the answer is a web page"))
            } else {
                Ok(())
            };
        };
        let failure = Failure::of(&error);
        match &failure {
            Failure::Answered(answer) if answer.kind() == Kind::Denied => self.without_list(&error, answer).await,
            _ => Err(self.judge(&error, &failure)),
        }
    }

    /// Listing is denied: finds out whether that is all.
    async fn without_list(&self, error: &object_store::Error, answer: &Answer) -> Result<(), Error> {
        let absent = Path::from(self.inside(&format!("{}/an-object-that-does-not-exist", storage_layout::ROOT)));
        let Err(read) = self.store.get(&absent).await else { return Ok(()) };
        let failure = Failure::of(&read);
        match &failure {
            // The bucket is there and its objects can be read. S3 says so only to those who may list; others need not.
            Failure::Answered(Answer { status: Some(404), code, .. }) if code.as_deref() != Some("NoSuchBucket") => {
                Ok(())
            }
            // To those who may not list, S3 answers alike for what is absent and for what is forbidden. Reading goes on:
            // the first object that is there tells.
            Failure::Answered(answer) if answer.kind() == Kind::Denied && self.intent == Intent::Read => {
                tracing::debug!(bucket = self.bucket, "listing is denied, going on without");
                Ok(())
            }
            Failure::Answered(refused) if refused.kind() == Kind::Denied => Err(self.denied(error, answer)),
            _ => Err(self.judge(&read, &failure)),
        }
    }

    fn inside(&self, key: &str) -> String {
        if self.root.is_root() { key.to_owned() } else { format!("{}/{key}", self.root) }
    }

    fn judge(&self, error: &object_store::Error, failure: &Failure<'_>) -> Error {
        match failure {
            Failure::Answered(answer) => self.answered(error, answer),
            Failure::Redirected => match self.other_region(None) {
                Some(region) => self.wrong_region(error, &region),
                None => Error::usage(format!("{} is somewhere else", self.place))
                    .with_hint("pass the bucket's own region as --region (AWS_REGION)")
                    .with_source(Cause::of(error)),
            },
            Failure::Unanswered(_) => self.unreachable(error, failure),
            Failure::NoCredentials(missing) => {
                Error::new(Kind::Credentials, format!("there are no usable credentials for {}", self.place))
                    .with_hints(missing.tried.clone())
                    .with_source(missing.reason.clone())
            }
            Failure::Io(_) | Failure::Other(_) => self.not_s3().with_source(Cause::of(error)),
        }
    }

    fn not_s3(&self) -> Error {
        Error::new(Kind::Other, format!("{} did not answer as S3 does", self.place)).with_hint(
            "check --endpoint (AWS_ENDPOINT_URL_S3): it must be the address of S3 itself, not of its console or a proxy",
        )
    }

    fn answered(&self, error: &object_store::Error, answer: &Answer) -> Error {
        let code = answer.code.as_deref().unwrap_or_default();
        // 403 and 404 can name a region too, but are about something else.
        if matches!(answer.status, Some(300..=400))
            && let Some(region) = self.other_region(answer.region.as_deref())
        {
            return self.wrong_region(error, &region);
        }
        let place = &self.place;
        let (message, hint) = match answer.kind() {
            Kind::NotFound => return self.not_found(error),
            Kind::Denied => return self.denied(error, answer),
            Kind::Credentials => (format!("the credentials were refused for {place}"), credentials_hint(code)),
            Kind::Unavailable => (format!("{place} is not available"), "try again later"),
            Kind::NoSpace => (format!("{place} is full"), "free space, or ask for a larger quota"),
            Kind::Usage if code == "InvalidBucketName" => {
                (format!("\"{}\" cannot be the name of a bucket", self.bucket), "check the name of the bucket")
            }
            Kind::Usage => {
                (format!("{place} is somewhere else"), "pass the bucket's own region as --region (AWS_REGION)")
            }
            // Not every store gives a code with it.
            Kind::Other if answer.status == Some(404) => return self.not_found(error),
            Kind::Other => (format!("{place} cannot be opened"), "check --endpoint (AWS_ENDPOINT_URL_S3) and --region"),
        };
        Error::new(answer.kind(), message).with_hint(hint).with_source(Cause::of(error))
    }

    fn not_found(&self, error: &object_store::Error) -> Error {
        Error::new(Kind::NotFound, format!("{} not found", self.place))
            .with_hint("create it, or check its name, --endpoint (AWS_ENDPOINT_URL_S3) and --region (AWS_REGION)")
            .with_source(Cause::of(error))
    }

    fn denied(&self, error: &object_store::Error, answer: &Answer) -> Error {
        let rights = match self.intent {
            Intent::Read => "s3:ListBucket on the bucket and s3:GetObject on its objects",
            Intent::Write => {
                "s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on its objects"
            }
        };
        let hint = if answer.code.as_deref() == Some("AccessDenied") || answer.code.is_none() {
            format!("the work needs {rights}")
        } else {
            "the account itself is locked: ask whoever runs it".to_owned()
        };
        Error::new(Kind::Denied, format!("access to {} is denied", self.place))
            .with_hint(hint)
            .with_source(Cause::of(error))
    }

    fn unreachable(&self, error: &object_store::Error, failure: &Failure<'_>) -> Error {
        let reason = failure.to_string().to_lowercase();
        let hint = if reason.contains("certificate") {
            "if the store has a certificate of its own, pass --ca-file (AWS_CA_BUNDLE)"
        } else if reason.contains("invalid http version") || reason.contains("corrupt message") {
            "the endpoint may speak the other of http:// and https://"
        } else if self.own_endpoint {
            "check that the store runs, and --endpoint (AWS_ENDPOINT_URL_S3) and --proxy"
        } else {
            "check the network, --region (AWS_REGION) and --proxy, or pass --endpoint if the bucket is not at Amazon"
        };
        Error::new(Kind::Unavailable, format!("{} cannot be reached", self.place))
            .with_hint(hint)
            .with_source(Cause::of(error))
    }

    /// Returns the region that the store named, if it is not the one that was used.
    fn other_region(&self, named: Option<&str>) -> Option<String> {
        let region = named.or(self.observed.region())?;
        (region != self.region).then(|| region.to_owned())
    }

    fn wrong_region(&self, error: &object_store::Error, region: &str) -> Error {
        let message = format!("bucket \"{}\" is in region {region}, not in {}", self.bucket, self.region);
        Error::usage(message)
            .with_hint(format!("pass --region {region}, or set AWS_REGION"))
            .with_source(Cause::of(error))
    }
}

fn credentials_hint(code: &str) -> &'static str {
    match code {
        "InvalidAccessKeyId" => {
            "the store does not know the access key: check AWS_ACCESS_KEY_ID or the profile, and --endpoint"
        }
        "SignatureDoesNotMatch" => {
            "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY or the profile"
        }
        "ExpiredToken" | "TokenRefreshRequired" => "the session has ended: log in again (for SSO: aws sso login)",
        "InvalidToken" | "InvalidSecurity" => {
            "the session token does not belong to the access key: set AWS_SESSION_TOKEN with the key, or unset it"
        }
        "RequestTimeTooSkewed" | "RequestExpired" => "this machine's clock is wrong: set it",
        _ => "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile",
    }
}
