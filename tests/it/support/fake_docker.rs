//! A daemon that fails as the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};

/// What the fake daemon answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status and a body.
    Whole(u16, Vec<u8>),
    /// 200 and the pieces of a body, which does not end.
    Cut(Vec<Vec<u8>>),
    /// 200 and the pieces of a body.
    Pieces(Vec<Vec<u8>>),
    /// Nothing.
    Hang,
}

impl Reply {
    pub(crate) fn json(status: u16, document: &serde_json::Value) -> Self {
        Self::Whole(status, document.to_string().into_bytes())
    }
}

/// A request to the fake daemon: its method and its path with the query.
pub(crate) type Script = dyn Fn(&str, &str) -> Option<Reply> + Send + Sync;

/// A Docker daemon on a socket that answers by a script, and else as a healthy one without images does.
#[derive(Debug)]
pub(crate) struct FakeDocker {
    folder: tempfile::TempDir,
    seen: Arc<Seen>,
}

/// The requests that came.
#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    changed: Condvar,
}

impl FakeDocker {
    pub(crate) fn new(script: impl Fn(&str, &str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("the path is short");
        let seen: Arc<Seen> = Arc::default();
        let (kept, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), seen, script) = (client, Arc::clone(&seen), Arc::clone(&script)) else { return };
                std::thread::spawn(move || answer(client, &seen, script.as_ref()));
            }
        });
        Self { folder, seen: kept }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// Returns the requests that came, such as `GET /_ping`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("nothing panics while holding it").clone()
    }

    /// Waits until a request came.
    pub(crate) fn wait_for(&self, request: &str) {
        let requests = self.seen.requests.lock().expect("nothing panics while holding it");
        let waited = self.seen.changed.wait_while(requests, |requests| !requests.iter().any(|seen| seen == request));
        drop(waited.expect("nothing panics while holding it"));
    }
}

fn answer(client: UnixStream, seen: &Seen, script: &Script) {
    let mut reader = BufReader::new(client.try_clone().expect("a socket is cloned"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    seen.requests.lock().expect("nothing panics while holding it").push(format!("{method} {path}"));
    seen.changed.notify_all();
    if head.iter().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked")) {
        read_chunks(&mut reader);
    }
    let reply = script(method, path).unwrap_or_else(|| usual(path));
    let mut client = client;
    let written = match reply {
        Reply::Whole(status, body) => write!(
            client,
            "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .and_then(|()| client.write_all(&body)),
        Reply::Cut(pieces) => write_chunks(&mut client, &pieces),
        Reply::Pieces(pieces) => write_chunks(&mut client, &pieces).and_then(|()| client.write_all(b"0\r\n\r\n")),
        Reply::Hang => std::io::copy(&mut reader, &mut std::io::sink()).map(drop),
    };
    drop(written);
}

fn write_chunks(client: &mut UnixStream, pieces: &[Vec<u8>]) -> std::io::Result<()> {
    client.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
    for piece in pieces {
        write!(client, "{:x}\r\n", piece.len())?;
        client.write_all(piece)?;
        client.write_all(b"\r\n")?;
    }
    Ok(())
}

fn read_chunks(reader: &mut impl BufRead) {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
        let length = u64::from_str_radix(line.trim(), 16).unwrap_or_default();
        drop(std::io::copy(&mut reader.take(length + 2), &mut std::io::sink()));
        if length == 0 {
            return;
        }
    }
}

fn usual(path: &str) -> Reply {
    match path {
        "/_ping" => Reply::Whole(200, b"OK".into()),
        "/version" => Reply::json(
            200,
            &serde_json::json!({
                "Components": [{"Name": "Engine", "Version": "20.10"}], "Version": "20.10", "ApiVersion": "1.41",
                "Os": "linux", "Arch": "amd64",
            }),
        ),
        "/info" => Reply::json(200, &serde_json::json!({"Driver": "overlay2", "DriverStatus": [["a", "b"]]})),
        _ => Reply::json(404, &serde_json::json!({"message": "no such thing"})),
    }
}
