//! Where the daemon is, decided as Docker's own client decides it:
//! <https://docs.docker.com/engine/manage-resources/contexts/>.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use storage_layout::Algorithm;

use super::Error;

/// What Docker's client falls back to.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The context that is none: the environment and the usual socket.
const DEFAULT_CONTEXT: &str = "default";

/// What the user said of the daemon on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonChoice {
    /// Its address.
    pub host: Option<String>,
    /// The Docker context that knows it. An address wins.
    pub context: Option<String>,
}

/// What the environment of Docker's client says of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// `DOCKER_CONFIG`, else `~/.docker`.
    pub config_dir: Option<PathBuf>,
    /// `DOCKER_TLS_VERIFY`: whether an address of the environment or the command line is spoken to by TLS.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`, else the configuration's folder.
    pub cert_path: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, where a daemon without root has its socket.
    pub runtime_dir: Option<PathBuf>,
}

/// Where a daemon is, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) tls: Option<TlsFiles>,
    /// The context that it is from.
    pub(super) context: Option<String>,
    /// The socket of a daemon without root, where nobody said which daemon is meant and this one is there.
    pub(super) rootless: Option<PathBuf>,
}

/// The files of a connection by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl TlsFiles {
    fn of_folder(folder: &Path) -> Self {
        Self { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.context.as_ref().map_or(Ok(()), |context| write!(f, " (Docker context {context:?})"))
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEndpoint {
    #[serde(default)]
    host: Option<String>,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl Surroundings {
    /// Returns those of this process.
    pub fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config_dir = path("DOCKER_CONFIG").or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
        Self {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            cert_path: path("DOCKER_CERT_PATH").or_else(|| config_dir.clone()),
            config_dir,
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            runtime_dir: path("XDG_RUNTIME_DIR"),
        }
    }

    /// Decides where the daemon is: the address or context of the command line, then `DOCKER_HOST`, `DOCKER_CONTEXT`, the
    /// configuration's current context, and the usual socket.
    pub(super) fn find(&self, choice: &DaemonChoice) -> Result<Endpoint, Error> {
        if let Some(host) = &choice.host {
            return Ok(self.by_address(host));
        }
        let context = match (&choice.context, &self.host, &self.context) {
            (None, Some(host), _) => return Ok(self.by_address(host)),
            (Some(context), _, _) | (None, None, Some(context)) => Some(context.clone()),
            (None, None, None) => self.current_context()?,
        };
        match context.filter(|context| context != DEFAULT_CONTEXT) {
            Some(context) => self.by_context(&context),
            None => match &self.host {
                Some(host) => Ok(self.by_address(host)),
                None => Ok(Endpoint { rootless: self.rootless_socket(), ..self.by_address(DEFAULT_HOST) }),
            },
        }
    }

    fn by_address(&self, host: &str) -> Endpoint {
        let by_network = host.starts_with("tcp://") || host.starts_with("https://");
        let wants_tls = by_network && (self.tls_verify || host.starts_with("https://"));
        let tls = wants_tls.then(|| TlsFiles::of_folder(self.cert_path.as_deref().unwrap_or(Path::new("."))));
        Endpoint { host: host.to_owned(), tls, context: None, rootless: None }
    }

    fn rootless_socket(&self) -> Option<PathBuf> {
        let socket = self.runtime_dir.as_ref()?.join("docker.sock");
        socket.exists().then_some(socket)
    }

    /// Returns the context that `docker context use` chose.
    fn current_context(&self) -> Result<Option<String>, Error> {
        let Some(file) = self.config_dir.as_ref().map(|dir| dir.join("config.json")) else { return Ok(None) };
        let problem = |problem: String| Error::Config { file: file.display().to_string(), problem };
        match fs::read(&file) {
            Ok(bytes) => {
                let config: Config = serde_json::from_slice(&bytes)
                    .map_err(|error| problem(format!("it is no JSON document: {error}")))?;
                Ok(config.current_context.filter(|context| !context.is_empty()))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(problem(format!("it cannot be read: {error}"))),
        }
    }

    fn by_context(&self, context: &str) -> Result<Endpoint, Error> {
        let problem = |file: &Path, problem: String| Error::Context {
            context: context.to_owned(),
            file: file.display().to_string(),
            problem,
        };
        let store = self.config_dir.as_deref().unwrap_or(Path::new(".docker")).join("contexts");
        // The folders are named by a digest, so no name of a context leads anywhere else.
        let digest = Algorithm::Sha256.digest(context.as_bytes());
        let file = store.join("meta").join(digest.hex()).join("meta.json");
        let bytes = fs::read(&file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => problem(&file, "there is none of that name".to_owned()),
            _ => problem(&file, format!("it cannot be read: {error}")),
        })?;
        let parsed: ContextFile =
            serde_json::from_slice(&bytes).map_err(|error| problem(&file, format!("it is damaged: {error}")))?;
        let Some(endpoint) = parsed.endpoints.docker else {
            return Err(problem(&file, "it has no Docker endpoint".to_owned()));
        };
        let host = endpoint.host.filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let folder = store.join("tls").join(digest.hex()).join("docker");
        let files = TlsFiles::of_folder(&folder);
        let there = [&files.ca, &files.cert, &files.key].map(|file| file.exists());
        let tls = host.starts_with("tcp://") && there.contains(&true) || host.starts_with("https://");
        if tls && endpoint.skip_tls_verify {
            let message = "it skips the verification of the daemon's certificate, which oci-store does not do";
            return Err(problem(&file, message.to_owned()));
        }
        let missing = [&files.ca, &files.cert, &files.key].into_iter().find(|file| !file.exists());
        if let Some(missing) = missing.filter(|_| tls) {
            return Err(problem(missing, "a file of its TLS connection is missing".to_owned()));
        }
        Ok(Endpoint { host, tls: tls.then_some(files), context: Some(context.to_owned()), rootless: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as `DOCKER_CONFIG`, with the contexts `remote` (TLS), `plain` and `broken`, of which `plain` is in use.
    fn config_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), r#"{"auths":{},"currentContext":"plain"}"#).unwrap();
        for (name, document) in [
            (
                "plain",
                r#"{"Name":"plain","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://10.0.0.1:2375","SkipTLSVerify":false}}}"#,
            ),
            ("remote", r#"{"Name":"remote","Endpoints":{"docker":{"Host":"tcp://10.0.0.2:2376"}}}"#),
            ("skips", r#"{"Name":"skips","Endpoints":{"docker":{"Host":"tcp://10.0.0.3:2376","SkipTLSVerify":true}}}"#),
            ("swarm", r#"{"Name":"swarm","Endpoints":{"kubernetes":{}}}"#),
            ("broken", "{"),
        ] {
            let meta = dir.path().join("contexts/meta").join(Algorithm::Sha256.digest(name.as_bytes()).hex());
            fs::create_dir_all(&meta).unwrap();
            fs::write(meta.join("meta.json"), document).unwrap();
        }
        for name in ["remote", "skips"] {
            let tls =
                dir.path().join("contexts/tls").join(Algorithm::Sha256.digest(name.as_bytes()).hex()).join("docker");
            fs::create_dir_all(&tls).unwrap();
            for file in ["ca.pem", "cert.pem", "key.pem"] {
                fs::write(tls.join(file), "").unwrap();
            }
        }
        dir
    }

    fn surroundings(dir: &Path) -> Surroundings {
        Surroundings { config_dir: Some(dir.to_owned()), cert_path: Some(dir.to_owned()), ..Surroundings::default() }
    }

    fn choice(host: Option<&str>, context: Option<&str>) -> DaemonChoice {
        DaemonChoice { host: host.map(str::to_owned), context: context.map(str::to_owned) }
    }

    fn host(surroundings: &Surroundings, choice: &DaemonChoice) -> String {
        surroundings.find(choice).unwrap().host
    }

    #[test]
    fn the_order_is_that_of_dockers_client() {
        let dir = config_dir();
        let mut around = surroundings(dir.path());
        assert_eq!(host(&around, &choice(None, None)), "tcp://10.0.0.1:2375");
        around.context = Some("remote".to_owned());
        assert_eq!(host(&around, &choice(None, None)), "tcp://10.0.0.2:2376");
        around.host = Some("tcp://env:1".to_owned());
        assert_eq!(host(&around, &choice(None, None)), "tcp://env:1");
        assert_eq!(host(&around, &choice(None, Some("plain"))), "tcp://10.0.0.1:2375");
        assert_eq!(host(&around, &choice(None, Some("default"))), "tcp://env:1");
        assert_eq!(host(&around, &choice(Some("unix:///x"), None)), "unix:///x");
        around.host = None;
        assert_eq!(host(&around, &choice(None, Some("default"))), DEFAULT_HOST);
    }

    #[test]
    fn without_a_configuration_it_is_the_usual_socket() {
        let dir = tempfile::tempdir().unwrap();
        let mut around = surroundings(dir.path());
        let endpoint = Endpoint { host: DEFAULT_HOST.to_owned(), tls: None, context: None, rootless: None };
        assert_eq!(around.find(&choice(None, None)).unwrap(), endpoint);
        fs::write(dir.path().join("docker.sock"), "").unwrap();
        around.runtime_dir = Some(dir.path().to_owned());
        assert_eq!(around.find(&choice(None, None)).unwrap().rootless, Some(dir.path().join("docker.sock")));
        assert_eq!(Surroundings::default().find(&choice(None, None)).unwrap(), endpoint);
    }

    #[test]
    fn tls_is_taken_from_the_context_or_from_the_environment() {
        let dir = config_dir();
        let mut around = surroundings(dir.path());
        let remote = around.find(&choice(None, Some("remote"))).unwrap();
        let folder = dir.path().join("contexts/tls").join(Algorithm::Sha256.digest(b"remote").hex()).join("docker");
        assert_eq!(remote.tls, Some(TlsFiles::of_folder(&folder)));
        assert_eq!(remote.to_string(), "tcp://10.0.0.2:2376 (Docker context \"remote\")");
        assert_eq!(around.find(&choice(None, Some("plain"))).unwrap().tls, None);
        assert_eq!(around.find(&choice(Some("tcp://h:2376"), None)).unwrap().tls, None);
        around.tls_verify = true;
        let by_address = around.find(&choice(Some("tcp://h:2376"), None)).unwrap();
        assert_eq!(by_address.tls, Some(TlsFiles::of_folder(dir.path())));
        // What is verified is the daemon of the environment; a context says for itself.
        assert_eq!(around.find(&choice(None, Some("plain"))).unwrap().tls, None);
        assert_eq!(around.find(&choice(Some("unix:///x"), None)).unwrap().tls, None);
    }

    #[test]
    fn a_context_that_cannot_be_used_is_named_with_its_file() {
        let dir = config_dir();
        let around = surroundings(dir.path());
        for (name, problem) in [
            ("nowhere", "there is none of that name"),
            ("../../etc", "there is none of that name"),
            ("broken", "it is damaged"),
            ("swarm", "no Docker endpoint"),
            ("skips", "skips the verification"),
        ] {
            let message = around.find(&choice(None, Some(name))).unwrap_err().to_string();
            let file = dir.path().join("contexts/meta").join(Algorithm::Sha256.digest(name.as_bytes()).hex());
            assert!(message.contains(problem) && message.contains(name), "{message}");
            assert!(message.contains(&file.display().to_string()), "{message}");
        }
        let tls = dir.path().join("contexts/tls").join(Algorithm::Sha256.digest(b"remote").hex()).join("docker");
        fs::remove_file(tls.join("key.pem")).unwrap();
        let message = around.find(&choice(None, Some("remote"))).unwrap_err().to_string();
        assert!(message.contains("key.pem") && message.contains("\"remote\""), "{message}");
        fs::write(dir.path().join("config.json"), "nonsense").unwrap();
        let message = around.find(&choice(None, None)).unwrap_err().to_string();
        assert!(message.contains("config.json"), "{message}");
    }
}
