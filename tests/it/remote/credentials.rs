//! Credentials that are kept in files and by helpers, used by commands.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{PASSWORD, guarded};
use crate::support::executable;
use crate::support::image::docker_save;
use crate::support::run::{Ran, oci_store, run};

/// Runs a line in a home folder that is also where programs are looked for first.
fn typed(home: &Path, line: &str) -> Ran {
    let path = format!("{}:{}", home.display(), std::env::var("PATH").expect("there is a PATH"));
    let mut command = oci_store();
    command.current_dir(home).env("HOME", home).env("PATH", path).env("REGISTRY_AUTH_FILE", home.join("auth.json"));
    let ran = run(command.args(line.split(' ')));
    assert!(!format!("{ran:?}").contains(PASSWORD), "the password is shown: {ran:#?}");
    ran
}

/// Puts images into the folder `bucket`.
fn fill(home: &Path, tags: &[&str]) {
    for tag in tags {
        fs::write(home.join("app.tar"), docker_save("app:1", tag, &[1000])).expect("a file can be written");
        typed(home, &format!("copy docker-archive:app.tar fs://bucket/app:{tag}")).line();
    }
}

#[test]
fn a_helper_is_asked_once_for_each_end_of_a_copy() {
    let Some((server, home)) = guarded() else { return };
    let (home, address) = (home.path(), server.address.as_str());
    fill(home, &["v1", "v2", "v3"]);
    fs::create_dir(home.join(".docker")).unwrap();
    fs::write(home.join(".docker/config.json"), format!(r#"{{"credHelpers":{{"{address}":"test"}}}}"#)).unwrap();
    let helper = |answer: &str| {
        let log = home.join("asked").display().to_string();
        let script = format!("#!/bin/sh\n[ $1 = get ] && cat >> {log} && echo >> {log} && {answer}\n");
        executable(&home.join("docker-credential-test"), &script);
    };
    helper(&format!(r#"echo '{{"ServerURL":"{address}","Username":"me","Secret":"{PASSWORD}"}}'"#));
    let asked = || fs::read_to_string(home.join("asked")).unwrap_or_default();
    let ran = typed(home, &format!("copy --all-tags fs://bucket/app docker://{address}/team/app"));
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 3), "{ran:#?}");
    assert_eq!(asked(), format!("{address}\n"));
    assert_eq!(typed(home, &format!("tags docker://{address}/team/app")).stdout, "v1\nv2\nv3\n");
    let back = typed(home, &format!("copy docker://{address}/team/app:v2 oci:back"));
    assert_eq!(back.digest(), typed(home, "copy fs://bucket/app:v2 oci:same").digest());
    assert_eq!(asked().lines().count(), 3);
    // What the helper says instead is told; a registry that it does not know is asked without a password.
    helper("echo the vault is locked; exit 1");
    typed(home, &format!("tags docker://{address}/team/app")).failed(12, "the vault is locked");
    helper("echo credentials not found in native keychain; exit 1");
    typed(home, &format!("tags docker://{address}/team/app")).failed(12, "UNAUTHORIZED");
    let before = asked();
    typed(home, &format!("tags --anonymous docker://{address}/team/app")).failed(12, "UNAUTHORIZED");
    assert_eq!(asked(), before);
}

#[test]
fn the_longest_key_that_fits_a_repository_counts() {
    let Some((server, home)) = guarded() else { return };
    let (home, address) = (home.path(), server.address.as_str());
    fill(home, &["v1"]);
    let auth = |password: &str| serde_json::json!({"auth": BASE64_STANDARD.encode(format!("me:{password}"))});
    let keys = serde_json::json!({"auths": {
        address: auth("wrong"),
        format!("{address}/team"): auth(PASSWORD),
        format!("{address}/team/closed"): auth("wrong"),
    }});
    fs::write(home.join("auth.json"), keys.to_string()).unwrap();
    for (repository, may) in [
        ("team/app", true),
        ("team/deep/app", true),
        ("team", true),
        ("teamwork/app", false),
        ("app", false),
        ("team/closed", false),
        ("team/closed/app", false),
    ] {
        let copied = typed(home, &format!("copy fs://bucket/app:v1 docker://{address}/{repository}:v1"));
        let listed = typed(home, &format!("tags {address}/{repository}"));
        if may {
            copied.line();
            assert_eq!(listed.line(), "v1", "{repository}");
        } else {
            copied.failed(12, "the registry answered 401");
            listed.failed(12, "UNAUTHORIZED");
        }
    }
}
