//! What an AuthMetadataService says, as it says it, by whichever way: nothing is checked yet.
//!
//! The numbers are the same in `flyteidl.service` (version 1) and `flyteidl2.auth` (version 2). The thing to get wrong:
//! a value that is not set is an empty text here, and means "absent".

use serde::{Deserialize, Serialize};

/// Both requests: they have no fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Empty {}

/// `OAuth2MetadataResponse`, without what we have no use for.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OAuth2Metadata {
    #[prost(string, tag = "1")]
    pub(crate) issuer: String,
    #[prost(string, tag = "2")]
    pub(crate) authorization_endpoint: String,
    #[prost(string, tag = "3")]
    pub(crate) token_endpoint: String,
    #[prost(string, repeated, tag = "8")]
    pub(crate) code_challenge_methods_supported: Vec<String>,
    #[prost(string, tag = "10")]
    pub(crate) device_authorization_endpoint: String,
}

/// `PublicClientAuthConfigResponse`, without what we have no use for.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PublicClientConfig {
    #[prost(string, tag = "1")]
    pub(crate) client_id: String,
    #[prost(string, tag = "2")]
    pub(crate) redirect_uri: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) scopes: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) authorization_metadata_key: String,
    #[prost(string, tag = "6")]
    pub(crate) audience: String,
}

/// Both answers of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Where its issuer is.
    pub(crate) metadata: OAuth2Metadata,
    /// Which client to be; empty where the service does not say.
    pub(crate) client: PublicClientConfig,
}

#[cfg(test)]
impl Said {
    /// Returns what a service says that sends people to the issuer at this address.
    pub(crate) fn example(issuer: &str) -> Self {
        Self {
            metadata: OAuth2Metadata {
                issuer: issuer.to_owned(),
                authorization_endpoint: format!("{issuer}/authorize"),
                token_endpoint: format!("{issuer}/token"),
                code_challenge_methods_supported: vec!["S256".to_owned()],
                device_authorization_endpoint: format!("{issuer}/device"),
            },
            client: PublicClientConfig {
                client_id: "flytectl".to_owned(),
                redirect_uri: "http://localhost:53593/callback".to_owned(),
                scopes: vec!["all".to_owned(), "offline".to_owned()],
                authorization_metadata_key: "flyte-authorization".to_owned(),
                audience: "https://flyte.example.com".to_owned(),
            },
        }
    }
}
