//! Remote registries: real ones, and some that misbehave on purpose.

mod auth;
mod credentials;
mod downloads;
mod lists;
mod login;
mod real;
mod uploads;

pub(crate) use login::guarded;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use oci_store::remote::{
    Credential, Error, Kind, Login, RegistryName, RemoteOptions, RemoteRegistry, RemoteRepository, Timeouts,
};
use oci_store::transfer;
use storage_layout::{Algorithm, ByteStream, Descriptor};

/// The password that nobody but the registry may see.
pub(crate) const PASSWORD: &str = "canary-password";

/// Options for a server in this process: few retries, since it misbehaves on purpose.
fn options() -> RemoteOptions {
    RemoteOptions { plain_http: true, retries: 3, ..RemoteOptions::default() }
}

/// The same, with no time to lose.
fn impatient() -> RemoteOptions {
    let timeouts = Timeouts { idle: Duration::from_millis(100), ..Timeouts::default() };
    RemoteOptions { retries: 0, timeouts, ..options() }
}

fn with_password() -> RemoteOptions {
    let credential = Credential::Password { username: "me".to_owned(), password: PASSWORD.into() };
    RemoteOptions { login: Login::As(credential), ..options() }
}

fn registry(address: &str, options: &RemoteOptions) -> RemoteRegistry {
    RemoteRegistry::connect(&address.parse::<RegistryName>().expect("it is one"), options)
        .expect("the options are good")
}

fn repository(address: &str, options: &RemoteOptions) -> RemoteRepository {
    registry(address, options).repository(&"team/app".parse().expect("it is a name"))
}

/// Returns a descriptor of some bytes.
fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new("application/octet-stream", Algorithm::Sha256.digest(bytes), bytes.len() as u64)
}

fn stream(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(64 * 1024).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces).boxed()
}

async fn collect(stream: ByteStream) -> std::io::Result<Vec<u8>> {
    Ok(stream.try_collect::<Vec<_>>().await?.concat())
}

/// Returns bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Returns the registry's error in an error of a transfer.
fn remote_error(error: &transfer::Error) -> &Error {
    match error {
        transfer::Error::Remote(error) | transfer::Error::Interrupted(error) => {
            error.downcast_ref().expect("it is a registry's")
        }
        other => panic!("{other:?} is no registry's"),
    }
}

fn kind(error: &transfer::Error) -> Kind {
    remote_error(error).kind()
}
