//! A server that speaks as the XML API of Google Cloud Storage does, as far as `object_store` uses it.
//!
//! No emulator takes those writes. What it answers is what <https://cloud.google.com/storage/docs/xml-api/overview> says: the
//! codes of <https://cloud.google.com/storage/docs/xml-api/reference-status>, a generation for each version of an object,
//! preconditions on it, and multipart uploads whose parts, but the last, have 5 MiB or more.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use tokio::net::TcpListener;

/// The bucket.
pub(crate) const BUCKET: &str = "images";
/// Another one, for copies between the two.
const OTHER: &str = "other";
/// A larger object is not copied by one request.
const REWRITTEN: usize = 1024 * 1024;
/// The smallest part that may be followed by another.
const PART: usize = 5 * 1024 * 1024;
/// How many names a listing has at most.
const PAGE: usize = 1000;
const MODIFIED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, (String, BTreeMap<usize, Bytes>)>,
    /// How many versions and uploads there were.
    count: u64,
}

#[derive(Clone, Debug)]
struct Object {
    content: Bytes,
    generation: u64,
}

type Query = BTreeMap<String, String>;

/// Starts a server with empty buckets and returns its URL.
pub(crate) async fn start() -> String {
    let buckets = Arc::new([BUCKET, OTHER].map(|name| (name, Mutex::new(State::default()))));
    let router = Router::new().fallback(move |request: Request| {
        let buckets = Arc::clone(&buckets);
        async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = to_bytes(body, usize::MAX).await else { return refusal(400, "IncompleteBody") };
            let query = parts.uri.query().unwrap_or_default();
            let query: Query = query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
                .collect();
            let path = parts.uri.path().trim_start_matches('/');
            let find = |name: &str| {
                let (_, state) = buckets.iter().find(|(bucket, _)| *bucket == decode(name))?;
                Some(state.lock().expect("no request panics"))
            };
            if let (Some(names), "POST") = (path.strip_prefix("storage/v1/b/"), parts.method.as_str()) {
                let names: Vec<&str> = names.split('/').collect();
                let [from, "o", source, "rewriteTo", "b", to, "o", target] = names[..] else {
                    return refusal(404, "NotFound");
                };
                // One after the other: they may be the same.
                let Some(object) = find(from).and_then(|state| state.objects.get(&decode(source)).cloned()) else {
                    return refusal(404, "NoSuchKey");
                };
                let Some(mut state) = find(to) else { return refusal(404, "NoSuchBucket") };
                return rewrite(&mut state, decode(target), object, &query);
            }
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            let Some(state) = find(bucket) else { return refusal(404, "NoSuchBucket") };
            answer(state, &parts.method, decode(key), &query, &parts.headers, body)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

/// Opens the bucket of a server.
pub(crate) fn store(url: &str) -> GoogleCloudStorage {
    GoogleCloudStorageBuilder::new()
        .with_base_url(url)
        .with_bucket_name(BUCKET)
        .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: "token".to_owned() })))
        .build()
        .expect("the settings are right")
}

fn answer(
    mut state: MutexGuard<'_, State>,
    method: &Method,
    key: String,
    query: &Query,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let upload = query.get("uploadId");
    match (method.as_str(), upload) {
        ("GET", _) if key.is_empty() => list(&state, query),
        ("GET" | "HEAD", _) => read(&state, &key, headers, method == Method::HEAD),
        ("PUT", Some(upload)) => {
            let Some(number) = query.get("partNumber").and_then(|number| number.parse().ok()) else {
                return refusal(400, "InvalidArgument");
            };
            let Some((_, parts)) = state.uploads.get_mut(upload) else { return refusal(404, "NoSuchUpload") };
            let tag = e_tag(&body);
            parts.insert(number, body);
            [(header::ETAG, tag)].into_response()
        }
        ("PUT", None) => {
            let existing = state.objects.get(&key).map_or(0, |object| object.generation);
            let wanted = headers.get("x-goog-if-generation-match").and_then(|value| value.to_str().ok());
            if wanted.is_some_and(|wanted| wanted.parse() != Ok(existing)) {
                return refusal(412, "PreconditionFailed");
            }
            let Some(source) = headers.get("x-goog-copy-source") else { return write(&mut state, key, body) };
            let source = decode(source.to_str().unwrap_or_default());
            let source = source.trim_start_matches('/').strip_prefix(&format!("{BUCKET}/")).map(str::to_owned);
            match source.and_then(|source| state.objects.get(&source)).cloned() {
                Some(object) => {
                    let tag = e_tag(&object.content);
                    drop(write(&mut state, key, object.content));
                    format!("<CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>").into_response()
                }
                None => refusal(404, "NoSuchKey"),
            }
        }
        ("DELETE", Some(upload)) => match state.uploads.remove(upload) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => refusal(404, "NoSuchUpload"),
        },
        ("DELETE", None) => match state.objects.remove(&key) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => refusal(404, "NoSuchKey"),
        },
        ("POST", None) if query.contains_key("uploads") => {
            state.count += 1;
            let id = format!("upload-{}", state.count);
            state.uploads.insert(id.clone(), (key, BTreeMap::new()));
            format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>")
                .into_response()
        }
        ("POST", Some(upload)) => complete(&mut state, upload, &body),
        _ => refusal(405, "MethodNotAllowed"),
    }
}

/// Copies in two steps what is large, as Google's does.
fn rewrite(state: &mut State, key: String, object: Object, query: &Query) -> Response {
    match query.get("rewriteToken").map(String::as_str) {
        None if object.content.len() > REWRITTEN => r#"{"done": false, "rewriteToken": "a+b/c=="}"#.into_response(),
        None | Some("a+b/c==") => {
            drop(write(state, key, object.content));
            r#"{"done": true}"#.into_response()
        }
        Some(_) => refusal(400, "InvalidArgument"),
    }
}

fn write(state: &mut State, key: String, content: Bytes) -> Response {
    state.count += 1;
    let (generation, tag) = (state.count, e_tag(&content));
    state.objects.insert(key, Object { content, generation });
    ([(header::ETAG.as_str(), tag), ("x-goog-generation", generation.to_string())], "").into_response()
}

fn read(state: &State, key: &str, headers: &HeaderMap, head: bool) -> Response {
    let Some(Object { content, generation }) = state.objects.get(key) else { return refusal(404, "NoSuchKey") };
    let size = content.len();
    let described = [
        (header::ETAG.as_str(), e_tag(content)),
        (header::LAST_MODIFIED.as_str(), MODIFIED.to_owned()),
        ("x-goog-generation", generation.to_string()),
    ];
    if head {
        return (described, [(header::CONTENT_LENGTH, size.to_string())], "").into_response();
    }
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return (described, content.clone()).into_response();
    };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return refusal(400, "InvalidArgument");
    };
    let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), last) => (first, last.unwrap_or(usize::MAX).min(size.saturating_sub(1))),
        (Err(_), Ok(suffix)) => (size.saturating_sub(suffix), size.saturating_sub(1)),
        (Err(_), Err(_)) => return refusal(400, "InvalidArgument"),
    };
    if first >= size || last < first {
        return refusal(416, "InvalidRange");
    }
    let range = [(header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))];
    (StatusCode::PARTIAL_CONTENT, described, range, content.slice(first..=last)).into_response()
}

fn list(state: &State, query: &Query) -> Response {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let (prefix, delimiter) = (get("prefix"), get("delimiter"));
    let after = if query.contains_key("continuation-token") { get("continuation-token") } else { get("start-after") };
    let limit = get("max-keys").parse().unwrap_or(PAGE).min(PAGE);
    let (mut found, mut last, mut truncated) = (Vec::new(), String::new(), false);
    for (key, object) in state.objects.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let group = rest.find(delimiter).filter(|_| !delimiter.is_empty());
        let group = group.map(|at| key[..prefix.len() + at + delimiter.len()].to_owned());
        // A continuation goes on behind a group as a whole.
        if group.as_ref().is_some_and(|group| *group == last || after.starts_with(group.as_str())) {
            continue;
        }
        if found.len() == limit {
            truncated = true;
            break;
        }
        last = group.clone().unwrap_or_else(|| key.clone());
        found.push(match group {
            Some(group) => format!("<CommonPrefixes><Prefix>{group}</Prefix></CommonPrefixes>"),
            None => format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>{}</ETag>\
                 <Size>{}</Size></Contents>",
                e_tag(&object.content),
                object.content.len()
            ),
        });
    }
    let next = if truncated { format!("<NextContinuationToken>{last}</NextContinuationToken>") } else { String::new() };
    let count = found.len();
    format!(
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix>\
         <KeyCount>{count}</KeyCount><IsTruncated>{truncated}</IsTruncated>{next}{}</ListBucketResult>",
        found.concat()
    )
    .into_response()
}

fn complete(state: &mut State, upload: &str, body: &[u8]) -> Response {
    let Some((key, sent)) = state.uploads.get(upload) else { return refusal(404, "NoSuchUpload") };
    let text = String::from_utf8_lossy(body).into_owned();
    let mut parts = Vec::new();
    for part in text.split("<Part>").skip(1) {
        let element = |name: &str| Some(part.split_once(&format!("<{name}>"))?.1.split_once("</")?.0);
        let number = element("PartNumber").and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| sent.get(&number).map(|part| (number, part))) {
            Some((number, part)) if element("ETag") == Some(&e_tag(part)) => parts.push((number, part.clone())),
            _ => return refusal(400, "InvalidPart"),
        }
    }
    if parts.is_empty() || !parts.is_sorted_by_key(|(number, _)| *number) {
        return refusal(400, "InvalidPartOrder");
    }
    if parts[..parts.len() - 1].iter().any(|(_, part)| part.len() < PART) {
        return refusal(400, "EntityTooSmall");
    }
    let content: Vec<u8> = parts.iter().flat_map(|(_, part)| part.to_vec()).collect();
    let (key, tag) = (key.clone(), e_tag(&content));
    state.uploads.remove(upload);
    drop(write(state, key, content.into()));
    format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>").into_response()
}

fn refusal(status: u16, code: &str) -> Response {
    let body =
        format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}.</Message></Error>");
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

fn e_tag(content: &[u8]) -> String {
    format!("\"{}\"", &storage_layout::Algorithm::Sha256.digest(content).hex()[..32])
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |bytes: &[u8]| u8::from_str_radix(std::str::from_utf8(bytes).ok()?, 16).ok();
        if let (b'%', Some(byte)) = (first, after.get(..2).and_then(hex)) {
            decoded.push(byte);
            rest = &after[2..];
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
