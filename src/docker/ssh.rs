//! A daemon on another machine, reached as Docker's client does it: `ssh HOST docker system dial-stdio`.
//!
//! Each request is a connection of its own, so that dropping its answer ends the `ssh` process and with it the daemon's work.

use std::io;
use std::process::Stdio;

use bollard::BollardRequest;
use bollard::errors::Error as BollardError;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// How much of what `ssh` says is kept.
const MAX_STDERR: u64 = 4096;

/// `ssh://[USER@]HOST[:PORT][/SOCKET]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshTarget {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    socket: Option<String>,
}

impl SshTarget {
    /// Reads an address. The message of the error is for people.
    pub(super) fn parse(address: &str) -> Result<Self, String> {
        let expected = "an address by ssh is ssh://[USER@]HOST[:PORT]";
        let rest = address.strip_prefix("ssh://").ok_or(expected)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err("ssh takes no password from an address".to_owned()),
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(expected)?)),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        // What begins with a hyphen would be a flag to ssh.
        let is_word = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:%".contains(&byte))
        };
        if !is_word(host) || user.is_some_and(|user| !is_word(user)) {
            return Err(expected.to_owned());
        }
        let port = port.map(|port| port.parse().map_err(|_| format!("{port:?} is no port"))).transpose()?;
        let socket = Some(path).filter(|path| path.len() > 1).map(str::to_owned);
        if socket.as_ref().is_some_and(|path| !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)))
        {
            return Err(format!("{path:?} is no path of a socket that can be passed to ssh"));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, socket })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--", &self.host, "docker"].map(str::to_owned));
        arguments.extend(self.socket.iter().map(|socket| format!("--host=unix://{socket}")));
        arguments.extend(["system", "dial-stdio"].map(str::to_owned));
        arguments
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new("ssh");
        command.args(self.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its own process group: Ctrl-C is ours to handle, and what is temporary is taken away over connections like this one.
        // Such a process cannot ask at the terminal either, hence the batch mode.
        #[cfg(unix)]
        command.process_group(0);
        command.kill_on_drop(true).spawn()
    }

    /// Makes one request.
    pub(super) async fn request(self, request: BollardRequest) -> Result<Response<Incoming>, BollardError> {
        let mut child = self.spawn().map_err(|error| io::Error::new(error.kind(), format!("starting ssh: {error}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("ssh has no pipes").into());
        };
        let stream = TokioIo::new(tokio::io::join(stdout, stdin));
        let said = tokio::spawn(first_of(stderr));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        // The process lives as long as the connection, which ends with the answer's body.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection by ssh ended");
            }
            drop(child);
        });
        match sender.send_request(to_origin(request)?).await {
            Ok(response) => Ok(response),
            Err(error) => {
                let said = said.await.unwrap_or_default();
                let said = said.trim();
                if said.is_empty() { Err(error.into()) } else { Err(io::Error::other(format!("ssh: {said}")).into()) }
            }
        }
    }
}

/// A request on a connection names its path only.
fn to_origin(request: BollardRequest) -> Result<BollardRequest, BollardError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>()?;
    parts.headers.insert(HOST, HeaderValue::from_static("docker"));
    Ok(BollardRequest::from_parts(parts, body))
}

async fn first_of(stream: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    let mut stream = stream.take(MAX_STDERR);
    if let Err(error) = stream.read_to_end(&mut said).await {
        tracing::debug!(%error, "what ssh says could not be read");
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_arguments() {
        for (address, arguments) in [
            ("ssh://box", "-o BatchMode=yes -o ConnectTimeout=30 -T -- box docker system dial-stdio"),
            (
                "ssh://me@box:2222",
                "-o BatchMode=yes -o ConnectTimeout=30 -T -l me -p 2222 -- box docker system dial-stdio",
            ),
            ("ssh://[::1]:22/", "-o BatchMode=yes -o ConnectTimeout=30 -T -p 22 -- ::1 docker system dial-stdio"),
            (
                "ssh://box/run/user/1000/docker.sock",
                "-o BatchMode=yes -o ConnectTimeout=30 -T -- box docker --host=unix:///run/user/1000/docker.sock system dial-stdio",
            ),
        ] {
            assert_eq!(SshTarget::parse(address).unwrap().arguments().join(" "), arguments, "{address}");
        }
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        for address in [
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://-l@box",
            "ssh://me:secret@box",
            "ssh://box:port",
            "ssh://a b",
            "ssh://box;id",
            "ssh://box/a;id",
            "ssh://[::1]22",
            "box",
        ] {
            assert!(SshTarget::parse(address).is_err(), "{address} was accepted");
        }
    }
}
