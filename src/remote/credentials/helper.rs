//! Programs that keep credentials, by Docker's protocol: <https://github.com/docker/docker-credential-helpers>.
//!
//! The program is `docker-credential-NAME`, its argument what to do; texts go in by standard input and come out by standard
//! output.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::remote::{Credential, Error, RegistryName};

/// How long a program may take. Some ask a cloud; none is to ask the user.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;
/// How much of a program's message is quoted, in characters.
const QUOTED: usize = 200;
/// What programs say of a registry that they do not know.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that stands for an identity token.
const TOKEN_USER: &str = "<token>";

/// A program that keeps credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Helper {
    name: String,
    /// The file that names it.
    named_in: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    username: String,
    secret: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Store<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

impl Helper {
    pub(super) fn new(name: &str, named_in: &Path) -> Self {
        Self { name: name.to_owned(), named_in: named_in.to_owned() }
    }

    /// Returns the program's name as it is looked for in `PATH`.
    pub(super) fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    /// Asks for a registry's credentials.
    pub(super) async fn get(&self, registry: &RegistryName) -> Result<Option<Credential>, Error> {
        let (status, answer) = self.run("get", registry.docker_key().as_bytes(), registry).await?;
        match status.success() {
            true => self.read(registry, &answer),
            false if is_absence(&answer) => Ok(None),
            false => Err(self.failed(registry, status, &answer)),
        }
    }

    fn read(&self, registry: &RegistryName, answer: &[u8]) -> Result<Option<Credential>, Error> {
        // What the parser says could quote the secret.
        let got: Got = serde_json::from_slice(answer)
            .map_err(|_| self.unusable(registry, "its answer is not what it should be".to_owned()))?;
        Ok(match (got.username, got.secret) {
            (_, secret) if secret.is_empty() => None,
            (username, secret) if username == TOKEN_USER => Some(Credential::IdentityToken(secret.into())),
            (username, secret) => Some(Credential::Password { username, password: secret.into() }),
        })
    }

    /// Has the program keep a name and a password.
    pub(super) async fn store(&self, registry: &RegistryName, username: &str, secret: &str) -> Result<(), Error> {
        let document = Store { server_url: registry.docker_key(), username, secret };
        let text = serde_json::to_vec(&document).expect("three texts are JSON");
        let (status, answer) = self.run("store", &text, registry).await?;
        if status.success() { Ok(()) } else { Err(self.failed(registry, status, &answer)) }
    }

    /// Has the program forget a registry. Returns whether it knew it.
    pub(super) async fn erase(&self, registry: &RegistryName) -> Result<bool, Error> {
        let (status, answer) = self.run("erase", registry.docker_key().as_bytes(), registry).await?;
        match status.success() {
            true => Ok(true),
            false if is_absence(&answer) => Ok(false),
            false => Err(self.failed(registry, status, &answer)),
        }
    }

    async fn run(&self, what: &str, input: &[u8], registry: &RegistryName) -> Result<(ExitStatus, Vec<u8>), Error> {
        // It becomes part of a program's name, which must not lead out of `PATH`.
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !self.name.bytes().all(word) || !self.name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let problem = format!("it names the program {:?}, which is no helper's name", self.program());
            return Err(Error::Credentials {
                registry: registry.to_string(),
                place: self.named_in.display().to_string(),
                problem,
            });
        }
        let mut command = Command::new(self.program());
        command.arg(what).env_remove("OCI_STORE_PASSWORD");
        talk(command, input, LIMIT).await.map_err(|problem| self.unusable(registry, problem))
    }

    fn failed(&self, registry: &RegistryName, status: ExitStatus, answer: &[u8]) -> Error {
        let said = String::from_utf8_lossy(answer);
        let said: String = said.trim().chars().take(QUOTED).collect();
        self.unusable(registry, if said.is_empty() { format!("it failed ({status})") } else { said })
    }

    fn unusable(&self, registry: &RegistryName, problem: String) -> Error {
        let place = format!("{} ({})", self.program(), self.named_in.display());
        Error::Credentials { registry: registry.to_string(), place, problem }
    }
}

/// Runs a program that reads `input`, and returns how it ended and what it said. It does not outlive `limit`.
async fn talk(mut command: Command, input: &[u8], limit: Duration) -> Result<(ExitStatus, Vec<u8>), String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let talk = async {
        let send = async {
            if let Some(mut stdin) = stdin.take() {
                // A program that does not read what it is told may know enough.
                drop(stdin.write_all(input).await);
            }
        };
        let receive = async {
            let mut answer = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(MAX_ANSWER + 1).read_to_end(&mut answer).await?;
            }
            Ok::<_, io::Error>(answer)
        };
        let ((), answer) = tokio::join!(send, receive);
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err(format!("it answered with more than {MAX_ANSWER} bytes"));
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        Ok((status, answer))
    };
    let silent = |_| Err(format!("it did not answer within {} seconds", limit.as_secs()));
    tokio::time::timeout(limit, talk).await.unwrap_or_else(silent)
}

fn is_absence(answer: &[u8]) -> bool {
    String::from_utf8_lossy(answer).trim() == NOT_FOUND
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<(ExitStatus, Vec<u8>), String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        talk(command, b"ghcr.io", limit).await
    }

    #[tokio::test]
    async fn a_program_hears_the_registry_and_is_heard() {
        let (status, answer) = shell("read host; echo \"<$host>\"; exit 3", LIMIT).await.unwrap();
        assert_eq!((status.code(), answer.as_slice()), (Some(3), &b"<ghcr.io>\n"[..]));
    }

    #[tokio::test]
    async fn a_program_that_hangs_or_floods_is_ended() {
        let error = shell("exec sleep 600", Duration::from_millis(20)).await.unwrap_err();
        assert!(error.contains("did not answer"), "{error}");
        let error = shell("exec cat /dev/zero", LIMIT).await.unwrap_err();
        assert!(error.contains("more than"), "{error}");
        let error = talk(Command::new("/nonexistent/helper"), b"", LIMIT).await.unwrap_err();
        assert!(error.contains("cannot be started"), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_leads_out_of_the_path_is_not_run() {
        let registry = "ghcr.io".parse().unwrap();
        for name in ["../x", "/bin/sh", "a/b", "", ".", "-x", "a b", "a\0", "a;b", "é"] {
            let helper = Helper::new(name, Path::new("config.json"));
            let error = helper.get(&registry).await.unwrap_err().to_string();
            assert!(error.contains("no helper's name") && error.contains("config.json"), "{error}");
        }
    }

    #[test]
    fn an_answer_is_a_password_or_an_identity_token() {
        let registry = "ghcr.io".parse().unwrap();
        let helper = Helper::new("test", Path::new("config.json"));
        let read = |text: &str| helper.read(&registry, text.as_bytes());
        let password = Credential::Password { username: "me".to_owned(), password: "s".into() };
        assert_eq!(read(r#"{"ServerURL":"ghcr.io","Username":"me","Secret":"s"}"#).unwrap(), Some(password));
        let token = read(r#"{"ServerURL":"","Username":"<token>","Secret":"t"}"#).unwrap();
        assert_eq!(token, Some(Credential::IdentityToken("t".into())));
        assert_eq!(read(r#"{"ServerURL":"","Username":"","Secret":""}"#).unwrap(), None);
        for junk in ["", "hunter2", r#"{"Secret":"hunter2"}"#, "[]"] {
            let error = read(junk).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
