//! Uploads under way, between a client's requests.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use storage_layout::{RepositoryName, Upload};
use uuid::Uuid;

use super::error::{ApiError, ErrorCode};
use crate::transfer::BlobProgress;

/// How many uploads there may be at once.
const MAX_SESSIONS: usize = 1000;
/// How long an upload may lie idle while others begin.
const MAX_IDLE: Duration = Duration::from_hours(1);

/// The name of an upload in its location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UploadId(Uuid);

impl UploadId {
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        // Whatever was not made here is no upload of ours.
        Uuid::try_parse(text).map(Self).map_err(|_| unknown())
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// One upload.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) upload: Upload,
    /// There once bytes came.
    pub(super) progress: Option<Box<dyn BlobProgress>>,
}

#[derive(Debug)]
struct Entry {
    repository: RepositoryName,
    used: Instant,
    /// `None` while a request works on it.
    session: Option<Session>,
}

/// The uploads of one registry. They are in memory: the registry ends with the command that started it.
#[derive(Debug)]
pub(super) struct Sessions {
    entries: Mutex<HashMap<UploadId, Entry>>,
    limit: usize,
    max_idle: Duration,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { entries: Mutex::default(), limit: MAX_SESSIONS, max_idle: MAX_IDLE }
    }
}

impl Sessions {
    /// Keeps a new upload.
    pub(super) fn begin(&self, upload: Upload, repository: &RepositoryName) -> Result<UploadId, ApiError> {
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.session.is_none() || entry.used.elapsed() < self.max_idle);
        if entries.len() >= self.limit {
            let message = format!("{} uploads are under way; finish or cancel one first", entries.len());
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message).come_again());
        }
        let id = UploadId::random();
        let session = Some(Session { upload, progress: None });
        entries.insert(id, Entry { repository: repository.clone(), used: Instant::now(), session });
        Ok(id)
    }

    /// Takes an upload to work on. Until it is given back nobody else can.
    pub(super) fn take(&self, id: UploadId, repository: &RepositoryName) -> Result<Lease<'_>, ApiError> {
        let mut entries = self.entries();
        let entry = find(&mut entries, id, repository)?;
        let session = entry.session.take().ok_or_else(busy)?;
        Ok(Lease { sessions: self, id, session: Some(session) })
    }

    /// Returns how many bytes of an upload came.
    pub(super) fn offset(&self, id: UploadId, repository: &RepositoryName) -> Result<u64, ApiError> {
        let mut entries = self.entries();
        let session = find(&mut entries, id, repository)?.session.as_ref().ok_or_else(busy)?;
        Ok(session.upload.offset())
    }

    /// Drops an upload. A request that works on it notices when it is done.
    pub(super) fn cancel(&self, id: UploadId, repository: &RepositoryName) -> Result<(), ApiError> {
        let mut entries = self.entries();
        find(&mut entries, id, repository)?;
        entries.remove(&id);
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<UploadId, Entry>> {
        self.entries.lock().expect("nothing panics while holding it")
    }
}

fn find<'a>(
    entries: &'a mut HashMap<UploadId, Entry>,
    id: UploadId,
    repository: &RepositoryName,
) -> Result<&'a mut Entry, ApiError> {
    entries.get_mut(&id).filter(|entry| entry.repository == *repository).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    let message = "there is no such upload: it was finished, cancelled or broken off";
    ApiError::new(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, message)
}

fn busy() -> ApiError {
    let message = "another request is writing to this upload";
    ApiError::new(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid, message)
}

/// An upload that one request works on. Unless it is given back it is gone when this is dropped, as it is when the client
/// goes away in the middle of a body: nobody knows then what came.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    sessions: &'a Sessions,
    id: UploadId,
    session: Option<Session>,
}

impl Lease<'_> {
    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("only giving back and finishing take it, and they end the lease")
    }

    /// Makes the upload available to the next request.
    pub(super) fn give_back(mut self) -> Result<(), ApiError> {
        let session = self.session.take();
        let mut entries = self.sessions.entries();
        let entry = entries.get_mut(&self.id).ok_or_else(unknown)?;
        *entry = Entry { repository: entry.repository.clone(), used: Instant::now(), session };
        Ok(())
    }

    /// Ends the session and returns the upload.
    pub(super) fn finish(mut self) -> Session {
        self.sessions.entries().remove(&self.id);
        self.session.take().expect("only giving back and finishing take it, and they end the lease")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.sessions.entries().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use std::sync::Arc;
    use storage_layout::{Algorithm, Store, StoreOptions};

    use super::*;

    fn upload() -> (Upload, RepositoryName) {
        let store = Store::new(Arc::new(InMemory::new()), StoreOptions::default());
        let name: RepositoryName = "app".parse().unwrap();
        (store.repository(&name).begin_upload(Algorithm::Sha256), name)
    }

    fn begin(sessions: &Sessions) -> Result<(UploadId, RepositoryName), StatusCode> {
        let (upload, name) = upload();
        sessions.begin(upload, &name).map(|id| (id, name)).map_err(|error| error.status())
    }

    #[tokio::test]
    async fn an_upload_is_worked_on_by_one_request() {
        let sessions = Sessions::default();
        let (id, name) = begin(&sessions).unwrap();
        let lease = sessions.take(id, &name).unwrap();
        assert_eq!(sessions.take(id, &name).unwrap_err().status(), StatusCode::CONFLICT);
        assert_eq!(sessions.offset(id, &name).unwrap_err().status(), StatusCode::CONFLICT);
        lease.give_back().unwrap();
        assert_eq!(sessions.offset(id, &name).unwrap(), 0);
    }

    #[tokio::test]
    async fn an_upload_that_is_not_given_back_is_gone() {
        let sessions = Sessions::default();
        let (id, name) = begin(&sessions).unwrap();
        drop(sessions.take(id, &name).unwrap());
        assert_eq!(sessions.take(id, &name).unwrap_err().status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn an_upload_is_known_to_its_own_repository_only() {
        let sessions = Sessions::default();
        let (id, name) = begin(&sessions).unwrap();
        let other = "other".parse().unwrap();
        assert_eq!(sessions.cancel(id, &other).unwrap_err().status(), StatusCode::NOT_FOUND);
        sessions.cancel(id, &name).unwrap();
        assert_eq!(sessions.cancel(id, &name).unwrap_err().status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_cancelled_upload_cannot_be_given_back() {
        let sessions = Sessions::default();
        let (id, name) = begin(&sessions).unwrap();
        let lease = sessions.take(id, &name).unwrap();
        sessions.cancel(id, &name).unwrap();
        assert_eq!(lease.give_back().unwrap_err().status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn idle_uploads_make_room_and_busy_ones_do_not() {
        let sessions = Sessions { limit: 2, max_idle: Duration::ZERO, ..Sessions::default() };
        let (busy, name) = begin(&sessions).unwrap();
        let lease = sessions.take(busy, &name).unwrap();
        let (idle, _) = begin(&sessions).unwrap();
        let (newest, _) = begin(&sessions).unwrap();
        assert_eq!(sessions.offset(idle, &name).unwrap_err().status(), StatusCode::NOT_FOUND);
        let second = sessions.take(newest, &name).unwrap();
        assert_eq!(begin(&sessions).unwrap_err(), StatusCode::TOO_MANY_REQUESTS);
        drop((lease, second));
        assert!(begin(&sessions).is_ok());
    }
}
