//! The lifecycle rules of an S3 bucket.

use std::time::Duration;

use hyper::{Method, Request};
use object_store::ClientOptions;
use object_store::aws::AmazonS3;
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};

use crate::backend::describe;
use crate::backend::leftovers::{Dialect, Leftovers};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html>
const DIALECT: Dialect = Dialect {
    action: "AbortIncompleteMultipartUpload",
    days: "DaysAfterInitiation",
    prefix: "Prefix",
    has_status: true,
    advice: "give the bucket a lifecycle rule with AbortIncompleteMultipartUpload, after a week for example",
};
/// How long the signature of the question holds.
const SIGNATURE: Duration = Duration::from_mins(1);

/// Asks what the rules do about unfinished uploads.
pub(super) async fn ask(store: &AmazonS3, options: &ClientOptions, root: &Path) -> Leftovers {
    let query = SignedUrlOptions::default().with_query([("lifecycle", "")]);
    match store.signed_url_opts(Method::GET, &Path::default(), SIGNATURE, &query).await {
        Ok(url) => {
            let question = Request::get(url.as_str()).body(HttpRequestBody::empty()).expect("a signed URL is one");
            DIALECT.ask(options, question, root.as_ref()).await
        }
        Err(error) => Leftovers::Unknown(describe(&error)),
    }
}
