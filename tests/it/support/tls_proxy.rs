//! A proxy that is also the server behind it, by plain HTTP and by TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, IsCa, KeyPair, PKCS_RSA_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Answers what is asked for: the target of a request → status line, headers that are not of the connection, and body.
pub(crate) type Answer = dyn Fn(&str) -> (String, String) + Send + Sync;

/// Takes every host for its own: a client reaches it by this proxy, or directly, and finds a certificate for one name.
#[derive(Debug)]
pub(crate) struct TlsProxy {
    folder: tempfile::TempDir,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl TlsProxy {
    /// Starts as the server of that name.
    pub(crate) fn new(host: &str, answer: impl Fn(&str) -> (String, String) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key can be made");
        let mut params = CertificateParams::new([host.to_owned()]).expect("the name is good");
        params.is_ca = IsCa::ExplicitNoCa;
        let certificate = params.self_signed(&key).expect("it signs itself");
        let write = |name: &str, pem| std::fs::write(folder.path().join(name), pem).expect("it can be written");
        write("cert.pem", certificate.pem());
        write("key.pem", key.serialize_pem());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .expect("the key is the certificate's");
        let (config, answer): (_, Arc<Answer>) = (Arc::new(config), Arc::new(answer));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), config, answer) = (client, Arc::clone(&config), Arc::clone(&answer)) else { return };
                // A client that goes away is none of the test's business.
                std::thread::spawn(move || drop(serve(client, config, answer.as_ref())));
            }
        });
        Self { folder, address }
    }

    /// Returns the file of the certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Returns the file of the certificate's key, which is one of RSA as Google's service accounts have.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

fn serve(mut client: TcpStream, config: Arc<ServerConfig>, answer: &Answer) -> std::io::Result<()> {
    let (method, target) = read_head(&mut client)?;
    if method != "CONNECT" {
        client.write_all(reply(answer(&target)).as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        // What the client still sends is read to the end: else the connection is reset, with the answer on it.
        return std::io::copy(&mut client, &mut std::io::sink()).map(drop);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tunnel = StreamOwned::new(connection, client);
    let (_, target) = read_head(&mut tunnel)?;
    tunnel.write_all(reply(answer(&target)).as_bytes())?;
    tunnel.conn.send_close_notify();
    tunnel.flush()?;
    tunnel.sock.shutdown(Shutdown::Write)?;
    std::io::copy(&mut tunnel.sock, &mut std::io::sink()).map(drop)
}

fn reply((head, body): (String, String)) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Reads a request's head and returns its method and target.
fn read_head(client: &mut impl Read) -> std::io::Result<(String, String)> {
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ').map(str::to_owned);
    Ok((words.next().unwrap_or_default(), words.next().unwrap_or_default()))
}
