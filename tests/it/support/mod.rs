//! What the tests share.

pub(crate) mod azure;
pub(crate) mod docker;
pub(crate) mod fake_docker;
#[path = "../../../storage-layout/tests/contract/google.rs"]
pub(crate) mod google;
pub(crate) mod googleapis;
pub(crate) mod image;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod run;
pub(crate) mod s3;
pub(crate) mod server;
pub(crate) mod sshd;
pub(crate) mod tls_proxy;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Returns a variable that names a service, or says that the test is skipped, or fails if the service is required.
pub(crate) fn service(kind: &str, variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        let required = std::env::var("OCI_STORE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name.trim() == kind), "{kind} is required and {variable} is not set");
        skipped(&format!("{variable} is not set (tests/all.sh starts what is needed)"));
    }
    found
}

/// Says why a test does not run.
#[expect(clippy::print_stdout, reason = "the test runner shows it with --nocapture")]
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Writes a program.
pub(crate) fn executable(file: &Path, script: &str) {
    fs::write(file, script).expect("a file can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Returns a name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
