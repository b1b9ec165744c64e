//! What would make a client ignore the command, or fail with it, although the file is right.
//!
//! The thing to get wrong: variables win over the file, and flyte takes any text for true, `false` as well.

use crate::setup::api_key;
use crate::setup::section::Section;
use crate::setup::surroundings::Surroundings;

/// Variables, and what the client that reads them does with them.
const VARIABLES: [(&str, &str); 18] = [
    ("FLYTE_CREDENTIALS_AUTH_MODE", "flytekit takes it instead of authType"),
    ("FLYTE_CREDENTIALS_COMMAND", "flytekit takes it instead of the command"),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET", "nothing needs it beside a command"),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET_LOCATION", "flytekit takes the secret instead of the command"),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET_ENV_VAR", "flytekit takes the secret instead of the command"),
    ("FLYTE_PLATFORM_URL", "flytekit takes it instead of the endpoint"),
    ("FLYTE_AUTH_TYPE", "flyte takes it instead of authType"),
    ("FLYTE_ADMIN_AUTHTYPE", "flyte takes it instead of authType"),
    ("FLYTE_AUTH_COMMAND", "flyte takes it instead of the command"),
    ("FLYTE_ADMIN_COMMAND", "flyte takes it instead of the command"),
    ("FLYTE_ADMIN_CLIENTSECRETLOCATION", "flyte takes the secret instead of the command"),
    ("FLYTE_ADMIN_CLIENTSECRETENVVAR", "flyte takes the secret instead of the command"),
    ("FLYTE_AUTH_PROXY_COMMAND", "flyte 2.12 fails with it"),
    ("FLYTE_ADMIN_PROXYCOMMAND", "flyte 2.12 fails with it"),
    ("UNION_SERVERLESS_ENDPOINT", "union takes it instead of the file"),
    ("FLYTE_ADMIN_ENDPOINT", "flyte takes it instead of the endpoint"),
    ("FLYTE_ADMIN_INSECURE", "flyte sends no token then, even where its value is false"),
    (
        "FLYTE_ADMIN_INSECURESKIPVERIFY",
        "flyte believes every certificate then, even where its value is false",
    ),
];

/// Returns a sentence for each trap.
pub(crate) fn find(section: &Section, surroundings: &Surroundings, has_union: bool) -> Vec<String> {
    let is_set = |name: &str| surroundings.variable(name).is_some();
    let mut traps: Vec<String> = VARIABLES
        .iter()
        .filter(|(name, _)| is_set(name))
        .map(|(name, effect)| format!("{name} is set: {effect}; unset it"))
        .collect();
    for name in api_key::VARIABLES.into_iter().filter(|name| is_set(name)) {
        traps.push(format!("{name} is set: flyte and union take it instead of the file; unset it"));
    }
    if section.truth("insecure") {
        traps.push(
            "insecure is true: flyte sends no token to such an endpoint; flytekit and flytectl do".to_owned(),
        );
    }
    if section.has("proxyCommand") {
        traps.push("proxyCommand is set: flyte 2.12 fails with it; flytekit and flytectl use it".to_owned());
    }
    if section.has("authorizationHeader") {
        traps.push(
            "authorizationHeader is set: flytectl alone reads it; flyte always sends authorization"
                .to_owned(),
        );
    }
    for key in ["useAuth", "authorizationServerUrl", "tokenUrl"].into_iter().filter(|key| section.has(key)) {
        traps.push(format!("{key} is set: it means nothing beside a command, and is left as it is"));
    }
    if has_union {
        traps.push("the section union says again how to sign in: only the program union reads it".to_owned());
    }
    traps
}

/// What holds for every setup.
pub(crate) const ALWAYS: &str = "flytectl asks for one token in each run; flyte sends it as the header authorization, whatever the server names";
