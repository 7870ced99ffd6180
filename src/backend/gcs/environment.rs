//! What Google's store is told by the environment, where the configuration says nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::GcsConfig;
use crate::backend::error::{Error, Kind};
use crate::backend::http::{BadEndpoint, check_endpoint, no_proxy};

/// Where every machine of Google's has its metadata server.
const METADATA: &str = "169.254.169.254";
/// The file that `gcloud auth application-default login` writes, in `gcloud`'s folder.
const WELL_KNOWN: &str = "application_default_credentials.json";
/// What to do when there are no credentials.
pub(super) const LOG_IN: &str = "log in with `gcloud auth application-default login`, or name a key file with --keyfile (GOOGLE_APPLICATION_CREDENTIALS)";

/// The configuration with its gaps filled from the environment.
#[derive(Debug)]
pub(in crate::backend) struct Settings {
    /// The store's URL, without a slash at its end; Google's own if absent.
    pub(super) endpoint: Option<String>,
    pub(super) identity: Identity,
    /// The project to bill to, as somebody asked for.
    pub(super) project: Option<String>,
    /// The project that the environment is about, billed only by buckets that demand one.
    pub(super) ambient_project: Option<String>,
    /// Hosts that are reached without the proxy, as `NO_PROXY` has them.
    pub(super) no_proxy: String,
    /// Where credentials were looked for.
    pub(super) tried: Vec<String>,
}

/// As whom requests are sent.
pub(super) enum Identity {
    /// As nobody: a test server.
    Anonymous,
    /// As the file says. It is what the JSON's `type` says it is.
    File { path: PathBuf, kind: String, content: Value },
    /// As the machine. The host of the metadata server; absent if the user forbade asking it.
    Metadata { host: Option<String> },
}

/// Says nothing of what the file holds.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::File { path, kind, .. } => write!(f, "File({path:?}, {kind:?})"),
            Self::Metadata { host } => write!(f, "Metadata({host:?})"),
        }
    }
}

impl Settings {
    /// Fills the gaps of `config`. `env` looks up a variable; an empty one counts as absent.
    pub(super) fn resolve(config: &GcsConfig, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let endpoint = endpoint(config, &env)?;
        // The Go tool of the same purpose takes the path of the key file from this variable.
        let (ambient_project, ambient_file) = match env("GOOGLE_CLOUD_PROJECT") {
            Some(text) if text.contains('/') || Path::new(&text).is_file() => (None, Some(PathBuf::from(text))),
            project => (project, None),
        };
        let metadata = env("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
        let well_known = well_known(&env);
        let mut tried = vec![
            "--keyfile, GOOGLE_APPLICATION_CREDENTIALS".to_owned(),
            well_known.as_ref().map_or_else(|| WELL_KNOWN.to_owned(), |path| path.display().to_string()),
        ];
        let is_plain = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let identity = if let Some(file) = &config.keyfile {
            read(file)?
        } else if is_plain {
            // A token is not sent for everybody to read, and what speaks plain HTTP is no store of Google's.
            Identity::Anonymous
        } else if let Some(file) = env("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from).or(ambient_file) {
            read(&file)?
        } else if let Some(file) = well_known.filter(|path| path.exists()) {
            read(&file)?
        } else if env("NO_GCE_CHECK").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            tried.push("the machine's metadata server (off, by NO_GCE_CHECK)".to_owned());
            Identity::Metadata { host: None }
        } else {
            tried.push(format!("the machine's metadata server ({metadata})"));
            Identity::Metadata { host: Some(metadata.clone()) }
        };
        let of_file = match &identity {
            Identity::File { content, .. } => {
                content.get("quota_project_id").and_then(Value::as_str).map(str::to_owned)
            }
            _ => None,
        };
        Ok(Self {
            endpoint,
            identity,
            project: config.project_id.clone().or_else(|| env("GOOGLE_CLOUD_QUOTA_PROJECT")).or(of_file),
            ambient_project,
            no_proxy: no_proxy(&env, &format!("{METADATA},metadata.google.internal,{metadata}")),
            tried,
        })
    }

    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.identity, Identity::Anonymous)
    }
}

fn endpoint(config: &GcsConfig, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Error> {
    let given = config.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
    // Emulators are named without a scheme as often as with one.
    let emulator =
        || env("STORAGE_EMULATOR_HOST").map(|host| if host.contains("://") { host } else { format!("http://{host}") });
    let Some(endpoint) = given.or_else(emulator) else { return Ok(None) };
    match check_endpoint(&endpoint) {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(BadEndpoint::Secret) => {
            Err(Error::usage("the endpoint holds a user name or password, which Google Cloud Storage does not use")
                .with_hint("pass --endpoint without it"))
        }
        Err(BadEndpoint::Malformed) => {
            Err(Error::usage(format!("\"{}\" cannot be an endpoint", endpoint.escape_debug()))
                .with_hint("write it as https://host or http://host:port (--endpoint, STORAGE_EMULATOR_HOST)"))
        }
    }
}

fn well_known(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = env("CLOUDSDK_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&env("HOME")?).join(".config/gcloud")))?;
    Some(folder.join(WELL_KNOWN))
}

fn read(file: &Path) -> Result<Identity, Error> {
    // The file is a credential: what is wrong with it is so too, and it must not look like a missing bucket.
    let refused = |problem: &str| {
        Error::new(Kind::Credentials, format!("key file \"{}\" {problem}", file.display())).with_hint(LOG_IN)
    };
    let text = fs::read(file).map_err(|error| refused("cannot be read").with_source(error))?;
    // The parser's own error quotes what it met.
    let content: Value = serde_json::from_slice(&text).map_err(|_| refused("is no JSON"))?;
    let Some(kind) = content.get("type").and_then(Value::as_str) else {
        return Err(refused("does not say what type of credentials it holds"));
    };
    Ok(Identity::File { path: file.to_owned(), kind: kind.to_owned(), content })
}
