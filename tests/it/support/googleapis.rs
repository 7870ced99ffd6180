//! Google's own addresses, for a program that knows no others.

use super::tls_proxy::TlsProxy;

/// Gives tokens, and is the proxy of an HTTPS client that wants `www.googleapis.com`: what is asked for there is to be had of a
/// server on loopback.
///
/// Docker's registry has the address of Google's uploads built in; everything else it asks of `STORAGE_EMULATOR_HOST`.
#[derive(Debug)]
pub(crate) struct GoogleApis {
    proxy: TlsProxy,
    /// Holds the file of a service account.
    folder: tempfile::TempDir,
    emulator: String,
}

impl GoogleApis {
    /// Starts in front of a server of that URL.
    pub(crate) fn new(emulator: &str) -> Self {
        let upstream = emulator.to_owned();
        let proxy = TlsProxy::new("www.googleapis.com", move |target| match target {
            "/token" => (
                "200 OK\r\nContent-Type: application/json".to_owned(),
                r#"{"access_token": "token", "token_type": "Bearer", "expires_in": 3600}"#.to_owned(),
            ),
            path => (format!("307 Temporary Redirect\r\nLocation: {upstream}{path}"), String::new()),
        });
        let key = std::fs::read_to_string(proxy.key()).expect("it is there");
        let account = serde_json::json!({
            "type": "service_account", "project_id": "test", "client_email": "test@test", "client_id": "1",
            "private_key_id": "1", "private_key": key, "token_uri": format!("http://{}/token", proxy.address),
        });
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("account.json"), account.to_string()).expect("a file can be written");
        Self { proxy, folder, emulator: emulator.to_owned() }
    }

    /// Returns what leads a client of Google's here and to the emulator.
    pub(crate) fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("GOOGLE_APPLICATION_CREDENTIALS", self.folder.path().join("account.json").display().to_string()),
            ("SSL_CERT_FILE", self.proxy.certificate().display().to_string()),
            ("HTTPS_PROXY", format!("http://{}", self.proxy.address)),
            ("STORAGE_EMULATOR_HOST", self.emulator.trim_start_matches("http://").to_owned()),
        ]
    }
}
