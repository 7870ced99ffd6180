//! A connection to a daemon: finding, naming and un-naming its images.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as BollardError;
use bollard::query_parameters::{RemoveImageOptionsBuilder, TagImageOptionsBuilder};

use super::Error;

/// The limit of one request up to its answer's header. A daemon that loads or saves an image answers when it is done.
const REQUEST_TIMEOUT: Duration = Duration::from_hours(6);
/// How long the daemon may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A Docker daemon.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    pub(super) docker: Docker,
}

/// An image that a daemon has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// The name that it was found by.
    pub name: String,
    /// The daemon's own name for it: the config's digest, or with the containerd store the manifest's.
    pub id: String,
}

impl DockerEngine {
    /// Connects to the daemon at `host`, or where `DOCKER_HOST` says, or at the usual socket, and hears that it is there.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Unreachable`].
    pub async fn connect(host: Option<&str>) -> Result<Self, Error> {
        let from_env = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let host = host.map(str::to_owned).or(from_env);
        let docker = match &host {
            Some(host) => Docker::connect_with_host(host),
            None => Docker::connect_with_defaults(),
        };
        let host = host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let docker = match docker {
            Ok(docker) => docker.with_timeout(REQUEST_TIMEOUT),
            Err(source @ BollardError::SocketNotFoundError(_)) => return Err(Error::Unreachable { host, source }),
            Err(source) => return Err(Error::Address { host, source }),
        };
        match tokio::time::timeout(PING_TIMEOUT, docker.ping()).await {
            Ok(Ok(_)) => Ok(Self { docker }),
            Ok(Err(source)) => Err(Error::Unreachable { host, source }),
            Err(_) => Err(Error::Unreachable { host, source: BollardError::RequestTimeoutError }),
        }
    }

    /// Says what the daemon is: its version and its image store.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn describe(&self) -> Result<String, Error> {
        let info =
            self.docker.info().await.map_err(|error| failed("asking the daemon what it is".to_owned(), error))?;
        let driver = info.driver.unwrap_or_default();
        let containerd =
            info.driver_status.iter().flatten().flatten().any(|text| text.starts_with("io.containerd.snapshotter"));
        let store = if containerd { "containerd image store" } else { "classic image store" };
        let version = info.server_version.unwrap_or_else(|| "of unknown version".to_owned());
        Ok(format!("Docker {version}, {store} ({driver})"))
    }

    /// Looks for an image.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`] if the daemon has none of that name.
    pub async fn image(&self, name: &str) -> Result<LocalImage, Error> {
        match self.docker.inspect_image(name).await {
            Ok(found) => {
                let id = found.id.ok_or_else(|| Error::Failed {
                    attempted: format!("looking for {name}"),
                    message: "it names no id".to_owned(),
                })?;
                Ok(LocalImage { name: name.to_owned(), id })
            }
            Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => {
                Err(Error::ImageUnknown(name.to_owned()))
            }
            Err(error) => Err(failed(format!("looking for {name}"), error)),
        }
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// [`Error::ImageUnknown`] if the daemon has no image `source`.
    pub async fn tag(&self, source: &str, repository: &str, tag: &str) -> Result<(), Error> {
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        match self.docker.tag_image(source, Some(options)).await {
            Ok(()) => Ok(()),
            Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => {
                Err(Error::ImageUnknown(source.to_owned()))
            }
            Err(error) => Err(failed(format!("tagging {source} as {repository}:{tag}"), error)),
        }
    }

    /// Takes a name away. The image stays if it has another name. That it has no such name is no error.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn untag(&self, name: &str) -> Result<(), Error> {
        let options = RemoveImageOptionsBuilder::new().noprune(true).build();
        match self.docker.remove_image(name, Some(options), None).await {
            Ok(_) | Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(failed(format!("removing the temporary name {name}"), error)),
        }
    }
}

/// Tells a daemon that answered from one that is gone.
pub(super) fn failed(attempted: String, error: BollardError) -> Error {
    match error {
        BollardError::DockerResponseServerError { message, .. } => {
            Error::Failed { attempted, message: message.trim().to_owned() }
        }
        BollardError::DockerStreamError { error } => Error::Failed { attempted, message: error.trim().to_owned() },
        source => Error::Lost { attempted, source },
    }
}
