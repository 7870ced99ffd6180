//! The S3 server of the tests.

use std::process::Command;

use super::{service, unique};

/// A part of the test bucket that is this test's own.
#[derive(Clone, Debug)]
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) root: String,
}

impl S3 {
    /// Returns the test server, if there is one.
    pub(crate) fn get() -> Option<Self> {
        Self::of("s3", "S3")
    }

    /// Returns the server of other make, if there is one.
    pub(crate) fn versity() -> Option<Self> {
        Self::of("versity", "VERSITY")
    }

    fn of(kind: &str, prefix: &str) -> Option<Self> {
        let endpoint = service(kind, &format!("OCI_STORE_TEST_{prefix}_ENDPOINT"))?;
        let variable = |name: &str| {
            let name = format!("OCI_STORE_TEST_{prefix}_{name}");
            std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set though the endpoint is"))
        };
        Some(Self {
            endpoint,
            bucket: variable("BUCKET"),
            access_key: variable("ACCESS_KEY"),
            secret_key: variable("SECRET_KEY"),
            root: unique("test"),
        })
    }

    /// Points a command at this part of the bucket.
    pub(crate) fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_ACCESS_KEY_ID", &self.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret_key)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("OCI_STORE_ROOT_DIR", &self.root)
    }

    /// Returns the port of the endpoint on loopback.
    pub(crate) fn port(&self) -> u16 {
        let (_, port) = self.endpoint.rsplit_once(':').expect("the endpoint has a port");
        port.trim_end_matches('/').parse().expect("a port is a number")
    }

    /// Opens this part of the bucket.
    pub(crate) fn objects(&self) -> std::sync::Arc<dyn object_store::ObjectStore> {
        let store = object_store::aws::AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_bucket_name(&self.bucket)
            .with_region("us-east-1")
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key)
            .with_allow_http(true)
            .build()
            .expect("the test server's settings are right");
        std::sync::Arc::new(object_store::prefix::PrefixStore::new(store, self.root.as_str()))
    }

    /// Makes a bucket beside the one of the tests.
    pub(crate) fn make_bucket(&self, name: &str) {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "-X", "PUT", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user"])
            .arg(format!("{}:{}", self.access_key, self.secret_key))
            .arg(format!("{}/{name}", self.endpoint.trim_end_matches('/')))
            .output()
            .expect("curl starts");
        assert!(output.status.success(), "{output:?}");
    }

    /// Tells which multipart uploads the server keeps that were never completed, below this test's root.
    pub(crate) fn unfinished_uploads(&self) -> String {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"])
            .arg(format!("{}:{}", self.access_key, self.secret_key))
            .arg(format!("{}/{}?uploads=", self.endpoint.trim_end_matches('/'), self.bucket))
            .output()
            .expect("curl starts");
        assert!(output.status.success(), "{output:?}");
        let listed = String::from_utf8(output.stdout).expect("the answer is text");
        listed.split("<Upload>").filter(|upload| upload.contains(&self.root)).collect()
    }
}
