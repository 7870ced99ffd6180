//! One error for people: what was attempted, why it failed, what to do; and for scripts an exit code.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use super::{ExitStatus, Printer};
use crate::backend::{self, Kind};
use crate::{docker, remote, transfer};

/// A command that failed.
#[derive(Debug)]
pub struct CommandError {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    status: ExitStatus,
    hints: Vec<String>,
}

impl CommandError {
    /// Makes an error of an exit status and a message alone.
    pub fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None, status, hints: Vec::new() }
    }

    /// Makes an error of what was attempted and why it failed; the cause decides the exit status and what is advised.
    pub fn because(message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let (status, hints) = judge(source.as_ref());
        Self { message: message.into(), source: Some(source), status, hints }
    }

    /// What the user wrote cannot be meant.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(ExitStatus::Usage, message.to_string())
    }

    /// The user stopped it.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Interrupted, message)
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns how the command ends.
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Returns the message with its causes as one line, and the advice.
    pub fn parts(&self) -> (String, Vec<String>) {
        let mut line = self.message.clone();
        for cause in self.causes() {
            line.push_str(": ");
            line.push_str(&cause);
        }
        (line, self.hints.clone())
    }

    /// Returns what the causes say, the nearest first, without what was said before.
    fn causes(&self) -> Vec<String> {
        let mut said = vec![self.message.clone()];
        let mut cause = self.source.as_deref().map(|source| source as &(dyn StdError + 'static));
        while let Some(error) = cause {
            let text = text_of(error);
            // Many errors repeat their cause in their own text.
            if !said.last().is_some_and(|last| last.contains(&text)) {
                said.push(text);
            }
            if is_described_whole(error) {
                break;
            }
            cause = error.source();
        }
        said.split_off(1)
    }

    /// Writes the error for people.
    pub fn print(&self, printer: &Printer) {
        printer.end_progress();
        printer.error_line(&format!("error: {}", self.message));
        for cause in self.causes() {
            printer.error_line(&format!("caused by: {cause}"));
        }
        for hint in &self.hints {
            printer.error_line(&format!("hint: {hint}"));
        }
    }
}

/// An object store's error is told in our words, which hold what its causes say.
fn is_described_whole(error: &(dyn StdError + 'static)) -> bool {
    error.is::<object_store::Error>()
}

fn text_of(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<object_store::Error>() {
        Some(error) => backend::describe(error),
        None => error.to_string().trim().to_owned(),
    }
}

/// Decides what a failure means, by the first error in the chain that tells.
fn judge(error: &(dyn StdError + 'static)) -> (ExitStatus, Vec<String>) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(judged) = judge_one(error) {
            return judged;
        }
        cause = error.source();
    }
    (ExitStatus::Other, Vec::new())
}

fn judge_one(error: &(dyn StdError + 'static)) -> Option<(ExitStatus, Vec<String>)> {
    if let Some(error) = error.downcast_ref::<backend::Error>() {
        return Some((of_kind(error.kind()), error.hints()));
    }
    // What the registry met is shared with whoever else asks it.
    let shared = error.downcast_ref::<Arc<storage_layout::Error>>().map(AsRef::as_ref);
    if let Some(error) = error.downcast_ref::<storage_layout::Error>().or(shared) {
        return of_bucket(error).map(|status| (status, bucket_hints(error)));
    }
    if let Some(error) = error.downcast_ref::<object_store::Error>() {
        let kind = backend::classify(error);
        return Some((of_kind(kind), store_hints(kind)));
    }
    if let Some(error) = error.downcast_ref::<transfer::Error>() {
        return match error {
            transfer::Error::NotFound(_) => Some((ExitStatus::NotFound, Vec::new())),
            transfer::Error::NoPlatform { .. } => {
                Some((ExitStatus::NotFound, vec!["choose one that is there with --platform os/arch".to_owned()]))
            }
            transfer::Error::Invalid(_) => Some((ExitStatus::Integrity, Vec::new())),
            transfer::Error::Remote(error) | transfer::Error::Interrupted(error) => judge_one(error.as_ref()),
            transfer::Error::Bucket(error) => judge_one(error),
            transfer::Error::File { .. } => None,
        };
    }
    if let Some(error) = error.downcast_ref::<remote::Error>() {
        return Some((of_registry(error.kind()), registry_hints(error)));
    }
    if let Some(error) = error.downcast_ref::<docker::Error>() {
        return match error {
            docker::Error::Archive(error) => judge_one(error),
            error => Some(of_docker(error)),
        };
    }
    let error = error.downcast_ref::<io::Error>()?;
    // An I/O error's cause is not the error that it is made of.
    if let Some(judged) = error.get_ref().and_then(|inner| judge_one(inner)) {
        return Some(judged);
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Some((ExitStatus::NoSpace, vec!["free some space; nothing of the image was kept".to_owned()]))
        }
        io::ErrorKind::NotFound => Some((ExitStatus::NotFound, Vec::new())),
        io::ErrorKind::AlreadyExists => Some((ExitStatus::Conflict, Vec::new())),
        io::ErrorKind::PermissionDenied => Some((ExitStatus::Credentials, Vec::new())),
        io::ErrorKind::InvalidData => Some((ExitStatus::Integrity, damage_hints())),
        // The outer error of a chain may be of a kind that says nothing while its cause does.
        _ => None,
    }
}

fn of_kind(kind: Kind) -> ExitStatus {
    match kind {
        Kind::NotFound => ExitStatus::NotFound,
        Kind::Credentials | Kind::Denied => ExitStatus::Credentials,
        Kind::Unavailable => ExitStatus::Unavailable,
        Kind::Usage => ExitStatus::Usage,
        Kind::NoSpace => ExitStatus::NoSpace,
        Kind::Other => ExitStatus::Other,
    }
}

fn of_bucket(error: &storage_layout::Error) -> Option<ExitStatus> {
    use storage_layout::Error;
    match error {
        Error::DigestInvalid(_) | Error::NameInvalid(_) | Error::TagInvalid(_) => Some(ExitStatus::Usage),
        Error::BlobUnknown(_) | Error::ManifestUnknown { .. } => Some(ExitStatus::NotFound),
        Error::ManifestBlobUnknown { .. }
        | Error::ManifestInvalid(_)
        | Error::DigestMismatch { .. }
        | Error::SizeMismatch { .. }
        | Error::Corrupt { .. } => Some(ExitStatus::Integrity),
        Error::ManifestTooLarge { .. } => Some(ExitStatus::NoSpace),
        // The cause tells.
        Error::Body(_) | Error::Spool { .. } | Error::Store { .. } => None,
    }
}

fn bucket_hints(error: &storage_layout::Error) -> Vec<String> {
    match error {
        storage_layout::Error::Corrupt { .. } => damage_hints(),
        _ => Vec::new(),
    }
}

fn damage_hints() -> Vec<String> {
    vec!["delete this object from the bucket, and push the image again from where it is whole".to_owned()]
}

fn store_hints(kind: Kind) -> Vec<String> {
    let hint = match kind {
        Kind::NoSpace => "free some space; nothing of the image is visible",
        Kind::Denied => "the credentials need the rights to list, get, put and delete objects of this bucket",
        Kind::Unavailable => {
            "the same command may work when the storage answers again: what was sent is not sent twice"
        }
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}

fn of_registry(kind: remote::Kind) -> ExitStatus {
    match kind {
        remote::Kind::NotFound => ExitStatus::NotFound,
        remote::Kind::Credentials => ExitStatus::Credentials,
        remote::Kind::Integrity => ExitStatus::Integrity,
        remote::Kind::Unavailable => ExitStatus::Unavailable,
        remote::Kind::TooLarge => ExitStatus::NoSpace,
        remote::Kind::Usage => ExitStatus::Usage,
        remote::Kind::Other => ExitStatus::Other,
    }
}

fn registry_hints(error: &remote::Error) -> Vec<String> {
    let hint = match error {
        remote::Error::Certificate { .. } => {
            "name the certificate of its issuer with --ca-file, or do without the check with --insecure"
        }
        remote::Error::Refused { .. } => match error.kind() {
            remote::Kind::Credentials => "log in with `oci-store login HOST`, or give --username and --password-stdin",
            remote::Kind::Unavailable => {
                "the same command may work when the registry answers again; --retries tries longer"
            }
            remote::Kind::TooLarge => "the registry, or a proxy before it, takes nothing of this size",
            _ => return Vec::new(),
        },
        remote::Error::Stranger { .. } => {
            "if that server may know the password, name its host with --token-host; --anonymous sends none"
        }
        remote::Error::Unreachable { .. } => {
            "check the address, the network and --proxy; a registry without TLS needs --plain-http"
        }
        remote::Error::Credentials { .. } => "mend what is named there, or pass it over with --anonymous or --username",
        remote::Error::Untrusted { .. }
        | remote::Error::Damaged { .. }
        | remote::Error::Unexpected { .. }
        | remote::Error::Setting { .. } => return Vec::new(),
    };
    vec![hint.to_owned()]
}

fn of_docker(error: &docker::Error) -> (ExitStatus, Vec<String>) {
    match error {
        docker::Error::Unreachable { rootless, .. } => {
            let start = match rootless {
                Some(socket) => {
                    format!("a daemon without root seems to be there: DOCKER_HOST=unix://{}", socket.display())
                }
                None => "start Docker, or say where it is with -H, --context or DOCKER_HOST".to_owned(),
            };
            let without = "without a daemon: --image docker-archive:FILE, oci-archive:FILE or oci:DIR";
            (ExitStatus::Docker, vec![start, without.to_owned()])
        }
        docker::Error::Address { .. } => (ExitStatus::Usage, Vec::new()),
        docker::Error::Context { .. } | docker::Error::Config { .. } => (
            ExitStatus::Usage,
            vec!["`docker context ls` shows the contexts; choose one with --context, or an address with -H".to_owned()],
        ),
        docker::Error::ImageUnknown(_) => (ExitStatus::NotFound, Vec::new()),
        docker::Error::Failed { message, .. } if message.contains("no space left on device") => (
            ExitStatus::NoSpace,
            vec!["the Docker daemon's disk is full: `docker system df` shows what takes it".to_owned()],
        ),
        docker::Error::Failed { message, .. } if message.contains("connection refused") => (
            ExitStatus::Docker,
            vec!["the daemon does not reach this process; --transport archive needs its API only".to_owned()],
        ),
        docker::Error::Failed { .. } | docker::Error::Lost { .. } | docker::Error::Archive(_) => {
            (ExitStatus::Docker, Vec::new())
        }
    }
}
