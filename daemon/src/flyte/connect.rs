//! By Connect: `flyteidl2.auth.AuthMetadataService`, which endpoints of version 2 have.

use http::{HeaderName, HeaderValue};

use crate::clock::Now;
use crate::flyte::Endpoint;
use crate::flyte::ask::Miss;
use crate::flyte::message::Said;
use crate::flyte::protobuf_json::{ClientMembers, MetadataMembers};
use crate::oauth::EndpointUrl;
use crate::oauth::answer::Answer;
use crate::oauth::http::Http;

const METADATA: &str = "/flyteidl2.auth.AuthMetadataService/GetOAuth2Metadata";
const CLIENT: &str = "/flyteidl2.auth.AuthMetadataService/GetPublicClientConfig";

/// A message without fields.
const EMPTY: &str = "{}";

/// Asks both questions.
pub(super) async fn ask(http: &Http, endpoint: &Endpoint, now: Now) -> Result<Said, Miss> {
    let metadata = call(http, endpoint, METADATA, now).await?;
    let metadata: MetadataMembers<'_> = metadata.members().map_err(Miss::of)?;
    let client = call(http, endpoint, CLIENT, now).await?;
    let client: ClientMembers<'_> = client.members().map_err(Miss::of)?;
    Ok(Said { metadata: metadata.into(), client: client.into() })
}

async fn call(http: &Http, endpoint: &Endpoint, path: &str, now: Now) -> Result<Answer, Miss> {
    let url = EndpointUrl::harmless(endpoint.at(path));
    let version = (HeaderName::from_static("connect-protocol-version"), HeaderValue::from_static("1"));
    http.post_json(&url, EMPTY, version, now).await.map_err(Miss::of)
}
