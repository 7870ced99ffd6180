//! Lists of tags and of repositories.

use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::json;
use storage_layout::RepositoryName;

use super::dispatch::{Call, json};
use super::error::{ApiError, ErrorCode};
use super::pagination::{MAX_PAGE, Paging};

/// GET tags, end-8: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags>
pub(super) async fn list(call: &Call, name: &RepositoryName) -> Result<Response, ApiError> {
    let paging = Paging::parse(&call.query)?;
    let repository = call.state.repository(name);
    if !repository.exists().await? {
        let message = format!("nothing was ever pushed to the repository {name}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, message));
    }
    let page = repository.list_tags(paging.limit, paging.last).await?;
    let tags: Vec<&str> = page.items.iter().map(storage_layout::Tag::as_str).collect();
    let mut response = json(StatusCode::OK, "application/json", &json!({ "name": name, "tags": tags }));
    if let Some(link) = paging.link(&format!("/v2/{name}/tags/list"), &tags, page.more) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// GET catalog, which is not in the specification:
/// <https://distribution.github.io/distribution/spec/api/#listing-repositories>
pub(super) async fn catalog(call: &Call) -> Result<Response, ApiError> {
    let mut paging = Paging::parse(&call.query)?;
    paging.limit.get_or_insert(MAX_PAGE);
    let page = call.state.store.list_repositories(paging.limit, paging.last).await?;
    let names: Vec<&str> = page.items.iter().map(RepositoryName::as_str).collect();
    let mut response = json(StatusCode::OK, "application/json", &json!({ "repositories": names }));
    if let Some(link) = paging.link("/v2/_catalog", &names, page.more) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}
