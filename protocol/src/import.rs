//! Sessions that other clients keep, and taking one over.
//!
//! Nothing here holds a token: the daemon reads it where it lies, and uses it itself.

use serde::{Deserialize, Serialize};

/// The query of `GET /v1/accounts/{a}/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportQuery {
    /// The Flyte endpoint whose sessions are looked for.
    pub endpoint: String,
}

/// The body of `POST /v1/accounts/{a}/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// The Flyte endpoint whose session is taken over. It must be the one that the account itself names.
    pub endpoint: String,
    /// What becomes of the other clients' copies.
    #[serde(default)]
    pub donors: Donors,
}

/// What becomes of the other clients' copies once a session has been taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Donors {
    /// They stay.
    #[default]
    Keep,
    /// The session, its copies, and what cannot be renewed are deleted: they are worth nothing any more. Other sessions
    /// stay.
    Delete,
}

/// The sessions that other clients keep for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignSessions {
    /// The sessions, the latest first.
    pub sessions: Vec<ForeignSession>,
    /// Whether a keyring is locked, so that there may be more.
    #[serde(default)]
    pub is_locked: bool,
}

/// A session that another client keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignSession {
    /// Whose it is.
    pub client: ForeignClient,
    /// Where it is, for a person.
    pub place: String,
    /// Whether it can be renewed, and so taken over.
    pub is_renewable: bool,
    /// Whether it is the one that would be taken over, or a copy of that.
    #[serde(default)]
    pub is_next: bool,
}

/// A client that keeps sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignClient {
    /// flytekit, `pyflyte`, `union`
    Flytekit,
    /// `flytectl`
    Flytectl,
    /// The SDK of Flyte 2
    Flyte,
    /// One that only a newer daemon knows.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels_as_this_json() {
        let text = r#"{"sessions":[{"client":"flytectl","place":"the keyring","is_renewable":true},{"client":"uctl",
            "place":"x","is_renewable":false,"more":1}]}"#;
        let read: ForeignSessions = serde_json::from_str(text).unwrap();
        assert_eq!(read.sessions[0].client, ForeignClient::Flytectl);
        assert_eq!(read.sessions[1].client, ForeignClient::Unknown);
        assert!(!read.sessions[0].is_next, "an older daemon does not say it");
        let request = ImportRequest { endpoint: "dns:///h".to_owned(), donors: Donors::Delete };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"endpoint":"dns:///h","donors":"delete"}"#);
        let plain: ImportRequest = serde_json::from_str(r#"{"endpoint":"dns:///h"}"#).unwrap();
        assert_eq!(plain.donors, Donors::Keep);
    }
}
