//! Google's own addresses, for a program that knows no others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Gives tokens, and is the proxy of an HTTPS client that wants `www.googleapis.com`: what is asked for there is to be had of a
/// server on loopback.
///
/// Docker's registry has the address of Google's uploads built in; everything else it asks of `STORAGE_EMULATOR_HOST`.
#[derive(Debug)]
pub(crate) struct GoogleApis {
    /// The key and certificate of `www.googleapis.com`, and a service account.
    folder: tempfile::TempDir,
    address: String,
    emulator: String,
}

impl GoogleApis {
    /// Starts in front of a server of that URL.
    pub(crate) fn new(emulator: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
            .args(["-addext", "subjectAltName=DNS:www.googleapis.com", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder.path())
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let key = std::fs::read_to_string(folder.path().join("key.pem")).expect("openssl wrote it");
        let account = serde_json::json!({
            "type": "service_account", "project_id": "test", "client_email": "test@test", "client_id": "1",
            "private_key_id": "1", "private_key": key, "token_uri": format!("http://{address}/token"),
        });
        std::fs::write(folder.path().join("account.json"), account.to_string()).expect("a file can be written");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from_pem_file(folder.path().join("cert.pem")).expect("openssl wrote it");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("openssl wrote it");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("the key is the certificate's");
        let (config, emulator) = (Arc::new(config), emulator.to_owned());
        let upstream = emulator.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), config, upstream) = (client, Arc::clone(&config), upstream.clone()) else { return };
                // A client that goes away is none of the test's business.
                std::thread::spawn(move || drop(answer(client, config, &upstream)));
            }
        });
        Self { folder, address, emulator }
    }

    /// Returns what leads a client of Google's here and to the emulator.
    pub(crate) fn variables(&self) -> [(&'static str, String); 4] {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("GOOGLE_APPLICATION_CREDENTIALS", file("account.json")),
            ("SSL_CERT_FILE", file("cert.pem")),
            ("HTTPS_PROXY", format!("http://{}", self.address)),
            ("STORAGE_EMULATOR_HOST", self.emulator.trim_start_matches("http://").to_owned()),
        ]
    }
}

/// Answers one request.
fn answer(mut client: TcpStream, config: Arc<ServerConfig>, upstream: &str) -> std::io::Result<()> {
    let target = read_head(&mut client)?;
    if target.starts_with('/') {
        let token = r#"{"access_token": "token", "token_type": "Bearer", "expires_in": 3600}"#;
        write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{token}",
            token.len()
        )?;
        client.shutdown(Shutdown::Write)?;
        // Its body is read to the end: a connection that is closed before that is reset, with the answer on it.
        return std::io::copy(&mut client, &mut std::io::sink()).map(drop);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tunnel = StreamOwned::new(connection, client);
    let path = read_head(&mut tunnel)?;
    write!(
        tunnel,
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {upstream}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    tunnel.conn.send_close_notify();
    tunnel.flush()
}

/// Reads a request's head and returns what it asks for.
fn read_head(client: &mut impl Read) -> std::io::Result<String> {
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first.split(' ').nth(1).unwrap_or_default().to_owned())
}
