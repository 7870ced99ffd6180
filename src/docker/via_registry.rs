//! Having the daemon push to, and pull from, a registry on its own machine's loopback.

use std::net::SocketAddr;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error as BollardError;
use bollard::query_parameters::{CreateImageOptionsBuilder, PushImageOptionsBuilder};
use futures::{FutureExt, StreamExt};
use storage_layout::{Digest, RepositoryName, Tag};

use super::engine::failed;
use super::{DockerEngine, Error, Probe};
use crate::transfer::PlatformFilter;

/// How long a daemon may take to reach the registry. One that is on this machine does so in some milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// A registry as the daemon is told of it: where it is, and what to show there.
#[derive(Clone, Debug)]
pub struct RegistryAddress {
    address: SocketAddr,
    credentials: Credentials,
}

#[derive(Clone)]
struct Credentials {
    username: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl RegistryAddress {
    /// Makes an address. User name and password are of letters and digits only: bollard and the daemon do not agree on how
    /// others are encoded.
    pub fn new(address: SocketAddr, username: &str, password: &str) -> Self {
        Self { address, credentials: Credentials { username: username.to_owned(), password: password.to_owned() } }
    }

    /// Returns how an image of this registry is named, without its tag. It is the literal address: `localhost` may be another.
    pub fn repository(&self, name: &RepositoryName) -> String {
        format!("{}/{name}", self.address)
    }

    fn docker_credentials(&self) -> DockerCredentials {
        DockerCredentials {
            username: Some(self.credentials.username.clone()),
            password: Some(self.credentials.password.clone()),
            // With any other value the containerd store silently sends no credentials.
            serveraddress: Some(self.address.to_string()),
            ..DockerCredentials::default()
        }
    }
}

impl DockerEngine {
    /// Asks whether the daemon reaches the registry: it is told to look for the tag `nonce`, which nobody else knows of, and
    /// `seen` ends when the registry is asked for it. What the daemon answers decides nothing: where it is, another program may
    /// have the registry's port.
    pub async fn probe(
        &self,
        registry: &RegistryAddress,
        name: &RepositoryName,
        nonce: &Tag,
        seen: impl Future<Output = ()>,
    ) -> Probe {
        let mut seen = std::pin::pin!(seen);
        let answer = tokio::select! {
            biased;
            () = &mut seen => return Probe::Seen,
            answer = tokio::time::timeout(PROBE_TIMEOUT, self.look_for(registry, name, nonce)) => answer,
        };
        // Both may have happened since they were looked at.
        match (seen.now_or_never(), answer) {
            (Some(()), _) => Probe::Seen,
            (None, Ok(())) => Probe::NotSeen,
            (None, Err(_)) => Probe::TimedOut,
        }
    }

    /// Has the daemon look for a tag that is not there, with no effect.
    async fn look_for(&self, registry: &RegistryAddress, name: &RepositoryName, nonce: &Tag) {
        let repository = registry.repository(name);
        let image = format!("{repository}:{nonce}");
        let looked = self.docker.inspect_registry_image(&image, Some(registry.docker_credentials())).await;
        tracing::debug!(answer = ?looked.as_ref().err(), "the daemon was asked for a tag of the registry");
        // A proxy in front of the daemon's socket may not let that through, though it lets pulls through.
        if let Err(BollardError::DockerResponseServerError { status_code: 403 | 404 | 405 | 501, .. }) = looked {
            let options = CreateImageOptionsBuilder::new().from_image(&repository).tag(nonce.as_str()).build();
            let mut stream = self.docker.create_image(Some(options), None, Some(registry.docker_credentials())).boxed();
            while let Some(Ok(_)) = stream.next().await {}
        }
    }

    /// Has the daemon push its image `repository:tag` to the registry in that name, and waits until it is done. Of an image for
    /// several platforms, one can be asked for. Dropping the future makes the daemon stop.
    ///
    /// # Errors
    /// Also those that the daemon reports inside a reply that began well.
    pub async fn push(
        &self,
        registry: &RegistryAddress,
        name: &RepositoryName,
        tag: &Tag,
        platform: Option<&PlatformFilter>,
    ) -> Result<(), Error> {
        let repository = registry.repository(name);
        let mut options = PushImageOptionsBuilder::new().tag(tag.as_str());
        if let Some(platform) = platform {
            options = options.platform(&platform.to_json());
        }
        let options = options.build();
        let mut stream =
            self.docker.push_image(&repository, Some(options), Some(registry.docker_credentials())).boxed();
        let attempted = || format!("pushing {name}:{tag}");
        while let Some(progress) = stream.next().await {
            let progress = progress.map_err(|error| failed(attempted(), error))?;
            if let Some(detail) = progress.error_detail {
                return Err(Error::Failed { attempted: attempted(), message: detail.message.unwrap_or_default() });
            }
            tracing::debug!(status = progress.status.unwrap_or_default(), "the daemon pushes");
        }
        Ok(())
    }

    /// Has the daemon pull a manifest from the registry, and waits until it is done. The image is then named
    /// `repository@digest`, which is returned.
    ///
    /// # Errors
    /// Also those that the daemon reports inside a reply that began well.
    pub async fn pull(
        &self,
        registry: &RegistryAddress,
        name: &RepositoryName,
        digest: &Digest,
        platform: Option<&str>,
    ) -> Result<String, Error> {
        let repository = registry.repository(name);
        let options = CreateImageOptionsBuilder::new()
            .from_image(&repository)
            .tag(digest.as_str())
            .platform(platform.unwrap_or_default())
            .build();
        let mut stream = self.docker.create_image(Some(options), None, Some(registry.docker_credentials())).boxed();
        let attempted = || format!("pulling {name}@{digest}");
        while let Some(progress) = stream.next().await {
            let progress = progress.map_err(|error| failed(attempted(), error))?;
            if let Some(detail) = progress.error_detail {
                return Err(Error::Failed { attempted: attempted(), message: detail.message.unwrap_or_default() });
            }
            tracing::debug!(status = progress.status.unwrap_or_default(), id = progress.id, "the daemon pulls");
        }
        Ok(format!("{repository}@{digest}"))
    }
}
