//! By plain HTTP: flyteadmin's gateway, or what stands in for it.
//!
//! The thing to get wrong: a backend of version 2 has the metadata there but not the client. That is no failure: whether
//! a client is missing is known only to who has read the account.

use crate::clock::Now;
use crate::flyte::Endpoint;
use crate::flyte::ask::{Miss, Nature};
use crate::flyte::message::{PublicClientConfig, Said};
use crate::flyte::protobuf_json::{ClientMembers, MetadataMembers};
use crate::oauth::EndpointUrl;
use crate::oauth::answer::Answer;
use crate::oauth::http::Http;

const METADATA: &str = "/.well-known/oauth-authorization-server";
const CLIENT: &str = "/config/v1/flyte_client";

/// Asks both questions.
pub(super) async fn ask(http: &Http, endpoint: &Endpoint, now: Now) -> Result<Said, Miss> {
    let metadata = get(http, endpoint, METADATA, now).await?;
    let metadata: MetadataMembers<'_> = metadata.members().map_err(Miss::of)?;
    let client = get(http, endpoint, CLIENT, now).await?;
    let client = match client.members::<ClientMembers<'_>>().map_err(Miss::of) {
        Ok(client) => client.into(),
        Err(Miss { nature: Nature::Absent, .. }) => PublicClientConfig::default(),
        Err(miss) => return Err(miss),
    };
    Ok(Said { metadata: metadata.into(), client })
}

async fn get(http: &Http, endpoint: &Endpoint, path: &str, now: Now) -> Result<Answer, Miss> {
    http.get(&EndpointUrl::harmless(endpoint.at(path)), now).await.map_err(Miss::of)
}
