//! A connection to a daemon: finding, naming and un-naming its images.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::StreamExt;
use storage_layout::{Digest, Manifest};

use super::Error;
use super::context::{DaemonChoice, Endpoint, Surroundings};
use super::ssh::SshTarget;

/// The limit of one request up to its answer's header. A daemon that loads or saves an image answers when it is done.
const REQUEST_TIMEOUT: Duration = Duration::from_hours(6);
/// How long the daemon may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The same by ssh, which has to log in first.
const SSH_TIMEOUT: Duration = Duration::from_secs(40);
/// How many of a daemon's images are looked at to find one with the same base.
const IMAGES_COMPARED: usize = 64;

/// A Docker daemon.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    pub(super) docker: Docker,
    endpoint: Endpoint,
}

/// An image that a daemon has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// The name that it was found by.
    pub name: String,
    /// The daemon's own name for it: the config's digest, or with the containerd store the manifest's.
    pub id: String,
    /// What the daemon saves it by, so that the archive holds it and no other: its name with the tag, else its id.
    pub(super) saved_as: String,
    /// The digests of its layers uncompressed, the base first, as far as the daemon tells.
    pub layers: Vec<Digest>,
    /// The size of its layers together, uncompressed, in bytes.
    pub size: u64,
    /// Its platform. An index has that of the one image that the daemon would run.
    pub platform: String,
}

impl LocalImage {
    /// Returns what to call the archive that the daemon saves it as.
    pub fn archive_label(&self) -> String {
        format!("the archive of {} from the Docker daemon", self.name)
    }

    /// Tells whether it is that image. A daemon calls one by its config's digest, or with containerd's store by its manifest's.
    pub fn is(&self, image: &Manifest) -> bool {
        let config = image.config().map(|config| config.digest.as_str());
        self.id == image.digest().as_str() || Some(self.id.as_str()) == config
    }
}

impl DockerEngine {
    /// Finds the daemon that is meant. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Context`], [`Error::Address`], and [`Error::Unreachable`] if there is no such socket.
    pub fn open(choice: &DaemonChoice, surroundings: &Surroundings) -> Result<Self, Error> {
        let endpoint = surroundings.find(choice)?;
        match open(&endpoint) {
            Ok(docker) => Ok(Self { docker: docker.with_timeout(REQUEST_TIMEOUT), endpoint }),
            Err(source @ BollardError::SocketNotFoundError(_)) => Err(unreachable(&endpoint, source)),
            Err(BollardError::CertPathError { path } | BollardError::CertParseError { path }) => {
                let problem = "its certificates or its key cannot be read".to_owned();
                Err(Error::Config { file: path.display().to_string(), problem })
            }
            Err(source) => Err(Error::Address { host: endpoint.to_string(), source }),
        }
    }

    /// Hears that the daemon is there while it is asked something else.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; what it was asked is then given up.
    pub async fn while_greeting<T>(&self, asked: impl Future<Output = T>) -> Result<T, Error> {
        let greeting = async {
            match tokio::time::timeout(ping_timeout(&self.endpoint), self.docker.ping()).await {
                Ok(Ok(_)) => {}
                Ok(Err(source)) => return Err(unreachable(&self.endpoint, source)),
                Err(_) => return Err(unreachable(&self.endpoint, BollardError::RequestTimeoutError)),
            }
            tracing::info!(daemon = %self.endpoint, "the Docker daemon answers");
            Ok(())
        };
        let ((), answer) = tokio::try_join!(greeting, async { Ok(asked.await) })?;
        Ok(answer)
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
                let tags = found.repo_tags.unwrap_or_default();
                let is_name = |tag: &&String| **tag == name || tag.strip_suffix(":latest") == Some(name);
                let saved_as = tags.iter().find(is_name).unwrap_or(&id).clone();
                let parts = [found.os, found.architecture, found.variant.filter(|variant| !variant.is_empty())];
                let platform = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
                let layers = found.root_fs.and_then(|root_fs| root_fs.layers).unwrap_or_default();
                let layers = layers.iter().map(|layer| layer.parse()).collect::<Result<_, _>>().unwrap_or_default();
                let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                Ok(LocalImage { name: name.to_owned(), id, saved_as, layers, size, platform })
            }
            Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => {
                Err(Error::ImageUnknown(name.to_owned()))
            }
            Err(error) => Err(failed(format!("looking for {name}"), error)),
        }
    }

    /// Returns the sizes of an image's layers, uncompressed, the base first, as far as they can be told apart from steps that made
    /// no layer: those have no size, and neither have some layers. Where they cannot, all layers are taken for equal.
    pub async fn layer_sizes(&self, image: &LocalImage) -> Vec<u64> {
        let steps = self.docker.image_history(&image.id).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the Docker daemon does not tell how large layers are");
            Vec::new()
        });
        let all: Vec<u64> = steps.iter().rev().map(|step| u64::try_from(step.size).unwrap_or_default()).collect();
        let some: Vec<u64> = all.iter().copied().filter(|&size| size > 0).collect();
        let count = image.layers.len();
        let told = [all, some].into_iter().find(|sizes| sizes.len() == count);
        told.unwrap_or_else(|| vec![image.size / count.max(1) as u64; count])
    }

    /// Returns the platforms that a containerd store has of an image for several, or `None` if the daemon does not tell.
    pub async fn platforms(&self, image: &LocalImage) -> Option<Vec<String>> {
        let filters = HashMap::from([("reference", vec![image.saved_as.as_str()])]);
        let options = ListImagesOptionsBuilder::new().all(true).manifests(true).filters(&filters).build();
        let listed = self.docker.list_images(Some(options)).await.inspect_err(|error| {
            tracing::debug!(%error, "the Docker daemon does not tell which platforms it has");
        });
        let summary = listed.ok()?.into_iter().find(|summary| summary.id == image.id)?;
        let there = summary.manifests?.into_iter().filter(|manifest| manifest.available);
        let platforms = there.filter_map(|manifest| Some(manifest.image_data?.platform)).map(|platform| {
            let parts = [platform.os, platform.architecture, platform.variant.filter(|variant| !variant.is_empty())];
            parts.into_iter().flatten().collect::<Vec<_>>().join("/")
        });
        Some(platforms.collect())
    }

    /// Returns how many of the layers, from the base on, one of the daemon's images has in common with them. The newest images are
    /// looked at, up to a bound; one that cannot be looked at has none.
    pub async fn common_base(&self, layers: &[Digest]) -> usize {
        let options = ListImagesOptionsBuilder::new().all(true).build();
        let mut listed = self.docker.list_images(Some(options)).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the Docker daemon does not tell which images it has");
            Vec::new()
        });
        listed.sort_by_key(|image| std::cmp::Reverse(image.created));
        let common = futures::stream::iter(listed.into_iter().take(IMAGES_COMPARED)).map(|listed| async move {
            let own = self.image(&listed.id).await.map(|image| image.layers).unwrap_or_default();
            own.iter().zip(layers).take_while(|(own, layer)| own == layer).count()
        });
        common.buffer_unordered(8).fold(0, |most, common| async move { most.max(common) }).await
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

fn unreachable(endpoint: &Endpoint, source: BollardError) -> Error {
    Error::Unreachable { host: endpoint.to_string(), rootless: endpoint.rootless.clone(), source }
}

fn ping_timeout(endpoint: &Endpoint) -> Duration {
    if endpoint.host.starts_with("ssh://") { SSH_TIMEOUT } else { PING_TIMEOUT }
}

/// Makes a client. Nothing is sent yet.
fn open(endpoint: &Endpoint) -> Result<Docker, BollardError> {
    let host = endpoint.host.as_str();
    let seconds = REQUEST_TIMEOUT.as_secs();
    if let Some(tls) = &endpoint.tls {
        // Two providers are linked, of which the client takes none by itself. One that is there already does as well.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        return Docker::connect_with_ssl(
            &with_port(host, 2376),
            &tls.key,
            &tls.cert,
            &tls.ca,
            seconds,
            API_DEFAULT_VERSION,
        );
    }
    let unsupported = || BollardError::UnsupportedURISchemeError { uri: host.to_owned() };
    match host.split_once("://").ok_or_else(unsupported)?.0 {
        "unix" => Docker::connect_with_unix(host, seconds, API_DEFAULT_VERSION),
        "tcp" | "http" => Docker::connect_with_http(&with_port(host, 2375), seconds, API_DEFAULT_VERSION),
        "ssh" => {
            let target = SshTarget::parse(host).map_err(std::io::Error::other)?;
            let transport = move |request| target.clone().request(request);
            Docker::connect_with_custom_transport(transport, Some("http://docker"), seconds, API_DEFAULT_VERSION)
        }
        _ => Err(unsupported()),
    }
}

/// Returns an address with the port that Docker's client adds.
fn with_port(host: &str, port: u16) -> String {
    let host = host.trim_end_matches('/');
    let (scheme, authority) = host.split_once("://").unwrap_or(("", host));
    let last = authority.rsplit(']').next().unwrap_or(authority);
    if scheme == "tcp" && !last.contains(':') { format!("{host}:{port}") } else { host.to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_added_where_dockers_client_adds_it() {
        for (host, with) in [
            ("tcp://docker", "tcp://docker:2375"),
            ("tcp://docker/", "tcp://docker:2375"),
            ("tcp://docker:1", "tcp://docker:1"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://[::1]:1", "tcp://[::1]:1"),
            ("http://docker", "http://docker"),
        ] {
            assert_eq!(with_port(host, 2375), with);
        }
    }
}
