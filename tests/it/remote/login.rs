//! `login` and `logout`, as they are typed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::PASSWORD;
use super::real::{Tls, htpasswd};
use crate::support::executable;
use crate::support::registry::Registry;
use crate::support::run::{Ran, oci_store, run};

/// Runs a command line with a home folder, and text on standard input.
fn typed(home: &Path, line: &str, stdin: &str) -> Ran {
    let mut child = oci_store()
        .env("HOME", home)
        .args(line.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("it is piped").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends").into()
}

fn config(home: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(home.join(".docker/config.json")).expect("it is there")).expect("it is JSON")
}

/// Starts Docker's registry with passwords and returns it with a home folder.
pub(crate) fn guarded() -> Option<(Registry, tempfile::TempDir)> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = Registry::dockers_guarded(folder.path(), &htpasswd(folder.path()), None)?;
    Some((server, folder))
}

#[test]
fn a_login_is_kept_where_docker_keeps_it() {
    let Some((server, home)) = guarded() else { return };
    let (home, address) = (home.path(), server.address.as_str());
    let ran = typed(home, &format!("login -u me --password-stdin {address}"), &format!("{PASSWORD}\n"));
    assert_eq!(ran.line(), "Login Succeeded");
    assert!(!format!("{ran:?}").contains(PASSWORD));
    assert_eq!(config(home)["auths"][address]["auth"], "bWU6Y2FuYXJ5LXBhc3N3b3Jk");
    let mode = fs::metadata(home.join(".docker/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ran = typed(home, &format!("logout {address}"), "");
    assert_eq!(ran.line(), format!("Removed login credentials for {address}"));
    assert_eq!(config(home)["auths"], serde_json::json!({}));
    assert_eq!(typed(home, &format!("logout {address}"), "").line(), format!("Not logged in to {address}"));
}

#[test]
fn each_way_to_log_in_that_peers_have_works() {
    let Some((server, home)) = guarded() else { return };
    let (home, port) = (home.path(), server.address.rsplit(':').next().unwrap());
    for (line, stdin) in [
        // oras-py
        (format!("login -u me -p {PASSWORD} localhost:{port}"), ""),
        (format!("login -u me -p {PASSWORD} -k localhost:{port} --insecure"), ""),
        (format!("login -u me -k localhost:{port} --insecure --password-stdin"), "canary-password\n"),
        // Amazon's registry
        (format!("login --username AWS --password-stdin localhost:{port}"), "ecr-token\r\n"),
        (format!("login --username me --password-stdin --plain-http localhost:{port}"), PASSWORD),
    ] {
        let ran = typed(home, &line, stdin);
        assert_eq!(ran.line(), "Login Succeeded");
        assert_eq!(
            ran.stderr.contains("WARNING! Using --password via the CLI is insecure"),
            line.contains("-p "),
            "{ran:?}"
        );
    }
    let mut command = oci_store();
    command.env("HOME", home).env("OCI_STORE_USERNAME", "me").env("OCI_STORE_PASSWORD", PASSWORD);
    let ran = run(command.args(["login", "--format", "json", &format!("localhost:{port}")]));
    let document: serde_json::Value = serde_json::from_str(ran.line()).unwrap();
    assert_eq!((&document["username"], &document["registry"]), (&"me".into(), &format!("localhost:{port}").into()));
}

#[test]
fn a_password_that_is_not_taken_is_not_kept() {
    let Some((server, home)) = guarded() else { return };
    let (home, address) = (home.path(), server.address.as_str());
    let ran = typed(home, &format!("login -u me --password-stdin {address}"), "wrong-canary");
    ran.failed(12, "UNAUTHORIZED: authentication required");
    assert!(ran.stderr.contains("hint: ") && !ran.stderr.contains("wrong-canary"), "{ran:?}");
    assert!(!home.join(".docker").exists());
    for (line, stdin, says) in [
        (format!("login {address}"), "", "without a user name"),
        (format!("login -u me {address}"), "", "without a password"),
        (format!("login -u me --password-stdin {address}"), "\n", "it is empty"),
        (format!("login -u me -p x --anonymous {address}"), "", "cannot be used with"),
        ("login -u me -p x notahost".to_owned(), "", "names no registry"),
    ] {
        let ran = typed(home, &line, stdin);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
}

#[test]
fn certificates_are_checked_before_a_password_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (home, tls) = (folder.path(), Tls::new(folder.path()));
    let auth = htpasswd(home);
    let Some(server) = Registry::dockers_guarded(home, &auth, Some((&tls.certificate, &tls.key))) else { return };
    let login =
        |flags: &str| typed(home, &format!("login -u me --password-stdin {} {flags}", server.address), PASSWORD);
    let ran = login("-q");
    ran.failed(12, "is not trusted");
    assert!(ran.stderr.contains("--ca-file"), "{ran:?}");
    login(&format!("--ca-file {}", home.join("absent.pem").display())).failed(2, "absent.pem");
    assert_eq!(login(&format!("--ca-file {}", tls.ca.display())).line(), "Login Succeeded");
    assert_eq!(login("--insecure").line(), "Login Succeeded");
    login("--plain-http").failed(1, "HTTP request to an HTTPS server");
}

#[test]
fn a_helper_keeps_what_docker_would_have_it_keep() {
    let Some((server, home)) = guarded() else { return };
    let (home, address) = (home.path(), server.address.as_str());
    let helper = home.join("docker-credential-test");
    let kept = home.join("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in store) cat > {0};; erase) rm {0} || {{ echo no such thing; exit 1; }};; esac\n",
        kept.display()
    );
    executable(&helper, &script);
    fs::create_dir(home.join(".docker")).unwrap();
    let before = format!(r#"{{"credHelpers":{{"{address}":"test"}},"currentContext":"default"}}"#);
    fs::write(home.join(".docker/config.json"), before).unwrap();
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
    let command = |line: &str| {
        let mut command = oci_store();
        command.env("HOME", home).env("PATH", &path).env("OCI_STORE_PASSWORD", PASSWORD).args(line.split(' '));
        run(&mut command)
    };
    let ran = command(&format!("login -u me {address}"));
    assert_eq!(ran.line(), "Login Succeeded");
    assert!(!ran.stderr.contains("as it is"), "a helper is no plain file: {ran:?}");
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    assert_eq!(told, serde_json::json!({ "ServerURL": address, "Username": "me", "Secret": PASSWORD }));
    assert_eq!(config(home)["auths"][address], serde_json::json!({}));
    assert_eq!(config(home)["currentContext"], "default");
    assert!(command(&format!("logout {address}")).line().starts_with("Removed"));
    assert!(!kept.exists());
    // What the program says is told.
    command(&format!("logout {address}")).failed(12, "no such thing");
    fs::remove_file(&helper).unwrap();
    command(&format!("login -u me {address}")).failed(12, "docker-credential-test");
}

/// Reads until a text has come, and returns what has come.
fn until(output: &mut impl Read, text: &str) -> String {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read = output.read(&mut byte).expect("it can be read");
        assert_ne!(read, 0, "{text:?} did not come: {}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn a_password_that_is_typed_is_not_shown() {
    let Some((server, home)) = guarded() else { return };
    let (home, address) = (home.path(), server.address.as_str());
    let tty = home.join("tty");
    let line = format!("tty > {}; exec {} login {address}", tty.display(), env!("CARGO_BIN_EXE_oci-store"));
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("HOME", home)
        .env_remove("DOCKER_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is there");
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut stdout, &format!("Username for {address}: "));
    stdin.write_all(b"me\n").unwrap();
    until(&mut stdout, "Password: ");
    let terminal = fs::read_to_string(&tty).unwrap();
    let echoes = || {
        let asked = Command::new("stty").args(["-a", "-F", terminal.trim()]).output().expect("stty is there");
        !String::from_utf8_lossy(&asked.stdout).contains("-echo ")
    };
    // The question is shown just before the terminal is told to be silent.
    assert!((0..1000).any(|_| !echoes()), "the terminal shows what is typed");
    stdin.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    let rest = until(&mut stdout, "Login Succeeded");
    assert!(!rest.contains(PASSWORD), "{rest}");
    assert!(child.wait().unwrap().success());
}
