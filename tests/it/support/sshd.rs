//! A machine to be reached by ssh: this one.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::docker::Docker;
use super::run::run;
use super::{executable, service};

/// OpenSSH's server on loopback with keys of its own, ended with the test. Docker's client finds a daemon there.
#[derive(Debug)]
pub(crate) struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
}

impl Sshd {
    /// Starts it; whoever runs the tests is let in, as the host `build-machine`.
    pub(crate) fn start(docker: &Docker) -> Option<Self> {
        let program = service("sshd", "OCI_STORE_TEST_SSHD")?;
        // What sshd does before it knows who comes, it does in there.
        drop(fs::create_dir("/run/sshd"));
        let folder = tempfile::tempdir().expect("a folder can be made");
        let at = folder.path();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            let made = run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at.join(key)));
            assert_eq!(made.code, Some(0), "{made:#?}");
        }
        // Taken and given back, as sshd cannot tell which port it took; another process may take it in between.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("bound").port();
            write_configuration(at, port, docker);
            let mut child = Command::new(&program)
                .args(["-D", "-e", "-f"])
                .arg(at.join("sshd_config"))
                .stderr(fs::File::create(at.join("log")).expect("a file can be made"))
                .stdin(Stdio::null())
                .spawn()
                .expect("sshd starts");
            if is_up(&mut child, port) {
                return Some(Self { child, folder });
            }
            drop(child.kill());
            drop(child.wait());
        }
        panic!("sshd did not start: {}", fs::read_to_string(at.join("log")).unwrap_or_default());
    }

    /// Returns a PATH whose `ssh` is OpenSSH's with a configuration that knows `build-machine`.
    pub(crate) fn path(&self) -> OsString {
        let mut path = self.folder.path().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").expect("there is a PATH"));
        path
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until the port is open, but no longer than the process lives.
fn is_up(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) && child.try_wait().expect("it can be asked").is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn write_configuration(at: &Path, port: u16, docker: &Docker) {
    let folder = at.display();
    let server = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nStrictModes no\n\
         UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n\
         KbdInteractiveAuthentication no\nLogLevel VERBOSE\n         SetEnv DOCKER_HOST={}\n",
        docker.host
    );
    let client = format!(
        "Host build-machine\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking accept-new\n"
    );
    // OpenSSH's client looks into the home folder of whoever runs it, whatever HOME says.
    let ssh = format!("#!/bin/sh\nPATH=${{PATH#*:}}\nexec ssh -F '{folder}/ssh_config' \"$@\"\n");
    for (name, content) in [("sshd_config", server), ("ssh_config", client)] {
        fs::write(at.join(name), content).expect("a file can be written");
    }
    executable(&at.join("ssh"), &ssh);
}
