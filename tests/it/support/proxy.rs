//! A proxy that breaks when the test says so.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Passes bytes on between a client and a server on loopback until it has passed a given number from client to server; from
/// then on every connection is cut and none is accepted.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    broken: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy in front of a port.
    pub(crate) fn new(server: u16, until: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (broken, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let state = (Arc::clone(&broken), passed);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { continue };
                if state.0.load(Ordering::SeqCst) {
                    continue;
                }
                let (broken, passed) = (Arc::clone(&state.0), Arc::clone(&state.1));
                let (from_client, to_server) =
                    (client.try_clone().expect("cloned"), server.try_clone().expect("cloned"));
                std::thread::spawn(move || pass(from_client, to_server, &broken, Some((&passed, until))));
                let broken = Arc::clone(&state.0);
                std::thread::spawn(move || pass(server, client, &broken, None));
            }
        });
        Self { port, broken }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, broken: &AtomicBool, count: Option<(&AtomicU64, u64)>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if let Some((passed, until)) = count
            && passed.fetch_add(length as u64, Ordering::SeqCst) + length as u64 > until
        {
            broken.store(true, Ordering::SeqCst);
        }
        if length == 0 || broken.load(Ordering::SeqCst) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Both ends are told, so that nobody waits for the other.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
