//! The two messages as JSON: camelCase as protobuf writes it, or snake_case as flyteadmin's gateway does.
//!
//! The thing to get wrong: a server may send either spelling, and one that sends both has said one thing twice.

use serde::Deserialize;

use crate::flyte::message::{OAuth2Metadata, PublicClientConfig};
use crate::oauth::json::{Member, text};

/// [`OAuth2Metadata`] in JSON.
#[derive(Deserialize)]
pub(super) struct MetadataMembers<'a> {
    #[serde(borrow)]
    issuer: Member<'a>,
    #[serde(borrow, alias = "authorizationEndpoint")]
    authorization_endpoint: Member<'a>,
    #[serde(borrow, alias = "tokenEndpoint")]
    token_endpoint: Member<'a>,
    #[serde(borrow, alias = "codeChallengeMethodsSupported")]
    code_challenge_methods_supported: Member<'a>,
    #[serde(borrow, alias = "deviceAuthorizationEndpoint")]
    device_authorization_endpoint: Member<'a>,
}

/// [`PublicClientConfig`] in JSON.
#[derive(Deserialize)]
pub(super) struct ClientMembers<'a> {
    #[serde(borrow, alias = "clientId")]
    client_id: Member<'a>,
    #[serde(borrow, alias = "redirectUri")]
    redirect_uri: Member<'a>,
    #[serde(borrow)]
    scopes: Member<'a>,
    #[serde(borrow, alias = "authorizationMetadataKey")]
    authorization_metadata_key: Member<'a>,
    #[serde(borrow)]
    audience: Member<'a>,
}

impl From<MetadataMembers<'_>> for OAuth2Metadata {
    fn from(members: MetadataMembers<'_>) -> Self {
        Self {
            issuer: string(members.issuer),
            authorization_endpoint: string(members.authorization_endpoint),
            token_endpoint: string(members.token_endpoint),
            code_challenge_methods_supported: strings(members.code_challenge_methods_supported),
            device_authorization_endpoint: string(members.device_authorization_endpoint),
        }
    }
}

impl From<ClientMembers<'_>> for PublicClientConfig {
    fn from(members: ClientMembers<'_>) -> Self {
        Self {
            client_id: string(members.client_id),
            redirect_uri: string(members.redirect_uri),
            scopes: strings(members.scopes),
            authorization_metadata_key: string(members.authorization_metadata_key),
            audience: string(members.audience),
        }
    }
}

fn string(member: Member<'_>) -> String {
    text(member).unwrap_or_default()
}

/// Reads an array of strings; what is none is empty.
fn strings(member: Member<'_>) -> Vec<String> {
    member.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::json::object;

    #[test]
    fn both_spellings_of_the_gateway_are_read() {
        for names in [["client_id", "authorization_metadata_key"], ["clientId", "authorizationMetadataKey"]] {
            let text =
                format!(r#"{{"{}":"c","{}":"h","scopes":["all"],"audience":null}}"#, names[0], names[1]);
            let client = PublicClientConfig::from(object::<ClientMembers<'_>>(text.as_bytes()).unwrap());
            let expected = PublicClientConfig {
                client_id: "c".to_owned(),
                authorization_metadata_key: "h".to_owned(),
                scopes: vec!["all".to_owned()],
                ..PublicClientConfig::default()
            };
            assert_eq!(client, expected);
        }
        for name in ["device_authorization_endpoint", "deviceAuthorizationEndpoint"] {
            let text = format!(r#"{{"{name}":"https://i/d","issuer":7,"scopesSupported":[]}}"#);
            let metadata = OAuth2Metadata::from(object::<MetadataMembers<'_>>(text.as_bytes()).unwrap());
            assert_eq!(metadata.device_authorization_endpoint, "https://i/d");
            assert_eq!(metadata.issuer, "");
        }
    }

    #[test]
    fn one_thing_said_twice_is_not_believed() {
        let text = br#"{"clientId":"a","client_id":"b"}"#;
        assert!(object::<ClientMembers<'_>>(text).is_err());
    }
}
