//! What kind of daemon it is.

use std::fmt;

use bollard::errors::Error as BollardError;
use bollard::models::SystemVersion;

use super::engine::failed;
use super::{DockerEngine, Error};
use crate::transfer::PlatformFilter;

/// What a daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// The newest version of its API, such as 1.41.
    pub api: (u32, u32),
    /// Whether it is Podman, which speaks Docker's API.
    pub is_podman: bool,
    /// Whether it keeps images as registries do, with their digests, in containerd's store. Otherwise it unpacks them and
    /// forgets.
    pub is_containerd: bool,
    /// What unpacks its layers, such as `overlay2`.
    pub driver: String,
    /// The platform of its machine, such as `linux/amd64`.
    pub platform: String,
}

/// What Podman calls itself.
const PODMAN: &str = "Podman Engine";
/// How the containerd store is told of.
const CONTAINERD: [&str; 2] = ["driver-type", "io.containerd.snapshotter.v1"];

impl DockerEngine {
    /// Asks the daemon what it is.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn describe(&self) -> Result<Daemon, Error> {
        let attempted = || "saying what it is".to_owned();
        // Together they make a future of some 20 KiB.
        let asked = Box::pin(async { tokio::join!(self.docker.version(), self.docker.info()) });
        let (version, info) = asked.await;
        let mut daemon = Daemon::from(version.map_err(|error| failed(attempted(), error))?);
        match info {
            // Podman keeps images in none of Docker's ways.
            _ if daemon.is_podman => {}
            Ok(info) => {
                daemon.driver = info.driver.unwrap_or_default();
                let status = info.driver_status.unwrap_or_default();
                daemon.is_containerd = status.iter().any(|pair| *pair == CONTAINERD);
            }
            // The document is large and differs between versions; what is lost is the knowledge of the store.
            Err(error @ (BollardError::JsonDataError { .. } | BollardError::JsonSerdeError { .. })) => {
                tracing::warn!(%error, "what the Docker daemon says of its image store cannot be read");
            }
            Err(error) => return Err(failed(attempted(), error)),
        }
        tracing::info!(
            api = format!("{}.{}", daemon.api.0, daemon.api.1),
            platform = daemon.platform,
            "it is {daemon}"
        );
        Ok(daemon)
    }
}

impl Daemon {
    /// Returns the platform to choose for it from an index: that of its machine.
    pub fn own_platform(&self) -> PlatformFilter {
        self.platform.parse().unwrap_or_else(|_| PlatformFilter::host())
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = if self.is_containerd { "containerd image store" } else { "classic image store" };
        if self.is_podman {
            return write!(f, "Podman {}", self.version);
        }
        write!(f, "Docker {}, {store} ({})", self.version, self.driver)
    }
}

impl From<SystemVersion> for Daemon {
    fn from(version: SystemVersion) -> Self {
        let api = version.api_version.as_deref().unwrap_or_default().split_once('.');
        let api = api.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let components = version.components.unwrap_or_default();
        Self {
            version: version.version.unwrap_or_default(),
            api: api.unwrap_or_default(),
            is_podman: components.first().is_some_and(|component| component.name == PODMAN),
            is_containerd: false,
            driver: String::new(),
            platform: format!(
                "{}/{}",
                version.os.as_deref().unwrap_or("linux"),
                version.arch.as_deref().unwrap_or("amd64")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        let read = |text: &str| Daemon::from(serde_json::from_str::<SystemVersion>(text).unwrap());
        let docker = r#"{"Components":[{"Name":"Engine","Version":"28.5.2"}],"Version":"28.5.2","ApiVersion":"1.51","Os":"linux","Arch":"arm64"}"#;
        let docker = read(docker);
        assert_eq!((docker.api, docker.is_podman, docker.platform.as_str()), ((1, 51), false, "linux/arm64"));
        let podman = read(r#"{"Components":[{"Name":"Podman Engine","Version":"5"}],"ApiVersion":"1.41"}"#);
        assert!(podman.is_podman);
        assert_eq!(read("{}").api, (0, 0));
    }
}
