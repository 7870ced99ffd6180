//! Which manifests refer to a manifest: signatures, attestations, bills of materials.

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;
use storage_layout::media_type::OCI_INDEX;
use storage_layout::{Digest, RepositoryName};

use super::dispatch::{Call, json};
use super::error::ApiError;
use super::headers;

/// GET referrers, end-12: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>
///
/// Never 404: a client would take that for a registry that cannot do this.
pub(super) async fn list(call: &Call, name: &RepositoryName, subject: &Digest) -> Result<Response, ApiError> {
    let artifact_type = call.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let manifests = call.state.repository(name).referrers(subject, artifact_type).await?;
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let mut response = json(StatusCode::OK, OCI_INDEX, &index);
    if artifact_type.is_some() {
        response.headers_mut().insert(headers::OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}
