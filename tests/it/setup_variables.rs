//! A user whose client goes by variables, alone or over its file, moves over as well.
//!
//! Each account is what the client would have used, so the cases are the clients' own ways to read a variable.

use std::fs;
use std::os::unix::fs::MetadataExt;

use integration_tests::companion::{installed, source};
use integration_tests::home::Home;
use serde_json::{Value, json};

use crate::setup::{BACKUP, PKCE, YAML, read, setup, with};

/// What flytekit goes by where it has no file.
const FLYTEKIT: [(&str, &str); 8] = [
    ("FLYTE_PLATFORM_URL", "dns:///ci.example.com"),
    ("FLYTE_PLATFORM_INSECURE", "False"),
    ("FLYTE_PLATFORM_CA_CERT_FILE_PATH", "/etc/ca bundle.pem"),
    ("FLYTE_CREDENTIALS_AUTH_MODE", "client_credentials"),
    ("FLYTE_CREDENTIALS_CLIENT_ID", "ci"),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET", "CANARY-secret"),
    ("FLYTE_CREDENTIALS_SCOPES", "all,offline"),
    ("FLYTE_CREDENTIALS_AUDIENCE", "https://ci.example.com"),
];

#[test]
fn a_client_without_a_file_gets_one_and_its_secret_is_never_shown() {
    let home = set(Home::new(), &FLYTEKIT);
    let output = setup(&home, &[]);
    assert_eq!(output.status, 0, "{output:?}");
    let secret = home.path("config/keyfob/secrets/ci");
    let config = fs::read_to_string(home.config()).unwrap();
    let account = format!(
        "[accounts.ci]\nflyte = \"dns:///ci.example.com\"\ngrant = \"client_credentials\"\nclient_id = \"ci\"\n\
         client_secret = {{ file = \"{}\" }}\nscopes = [\"all\", \"offline\"]\naudience = \"https://ci.example.com\"\n\
         tls = {{ ca_file = \"/etc/ca bundle.pem\" }}\n",
        secret.display()
    );
    assert!(config.ends_with(&account), "{config}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "CANARY-secret");
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    for name in ["FLYTE_CREDENTIALS_AUTH_MODE", "FLYTE_CREDENTIALS_CLIENT_SECRET", "FLYTE_PLATFORM_URL"] {
        assert!(output.stdout.contains(&format!("note: {name} is set")), "{name}: {}", output.stdout);
    }
    assert!(output.stdout.contains("as flytekit reads them\n"), "{}", output.stdout);
    let client = settings(&home);
    assert_eq!((&client["auth_mode"], &client["command"][1]), (&json!("ExternalCommand"), &json!("token")));

    let home = unset(home, &FLYTEKIT);
    let undone = setup(&home, &["--undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert!(!home.path(YAML).exists() && !home.config().exists() && !secret.exists());
    let shown = [output.stdout, output.stderr, config, undone.stdout, undone.stderr].concat();
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[test]
fn what_a_variable_says_wins_over_the_file_as_in_the_client() {
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, &'c str);
    let cases: [Case<'_>; 4] = [
        (
            &[("FLYTE_CREDENTIALS_AUTH_MODE", "DeviceFlow"), ("FLYTE_PLATFORM_URL", "other.example.com:443")],
            "flyte = \"dns:///other.example.com:443\"\ngrant = \"device_code\"\n",
            "does not name their endpoint: write dns:///other.example.com:443 there before you unset them",
        ),
        (
            &[("FLYTE_CREDENTIALS_AUTH_MODE", "external_process"), ("FLYTE_CREDENTIALS_COMMAND", "shim,a b")],
            "grant = \"command\"\ncommand = [\"shim\", \"a b\"]\n",
            "as flytekit reads them\n",
        ),
        (
            &[("FLYTE_AUTH_TYPE", "ExternalCommand"), ("FLYTE_AUTH_COMMAND", "shim 'a b' c,d")],
            "grant = \"command\"\ncommand = [\"shim\", \"a b\", \"c,d\"]\n",
            "as flyte reads them\n",
        ),
        (
            &[("FLYTE_ADMIN_INSECURE", "false")],
            "flyte = \"dns:///flyte.example.com\"\ngrant = \"authorization_code\"\n",
            "flyte sends no token then, even where its value is false; unset it\n",
        ),
    ];
    for (variables, account, remark) in cases {
        let home = set(with(YAML, PKCE), variables);
        let output = setup(&home, &["prod"]);
        assert_eq!(output.status, 0, "{output:?}");
        let config = fs::read_to_string(home.config()).unwrap();
        assert!(config.ends_with(&format!("[accounts.prod]\n{account}")), "{config}");
        assert!(output.stdout.contains(remark), "{remark}: {}", output.stdout);
        assert!(setup(&home, &[]).stdout.contains("nothing to change"));
        // The variables are gone by then, as they should be.
        let home = unset(home, variables);
        assert_eq!(setup(&home, &["--undo"]).status, 0);
        assert_eq!(read(&home, YAML), PKCE);
        assert!(!home.config().exists() && !home.path(BACKUP).exists());
    }
}

#[test]
fn without_an_endpoint_variables_are_no_client() {
    let home = set(Home::new(), &FLYTEKIT[1..]);
    assert!(setup(&home, &[]).stderr.contains("there is no configuration of a Flyte client"));
    // The SDK of Flyte 2 goes by none of its own where it has no file.
    let home = Home::new().set("FLYTE_ADMIN_ENDPOINT", "dns:///h");
    assert!(setup(&home, &[]).stderr.contains("there is no configuration of a Flyte client"));
    assert!(!home.config().exists());
}

fn set(home: Home, variables: &[(&str, &str)]) -> Home {
    variables.iter().fold(home, |home, (name, value)| home.set(name, value))
}

fn unset(home: Home, variables: &[(&str, &str)]) -> Home {
    variables.iter().fold(home, |home, (name, _)| home.set(name, ""))
}

/// Asks flytekit what it makes of the new file, once the variables are gone.
fn settings(home: &Home) -> Value {
    let mut command = home.command(installed("venv/bin/python"));
    for (name, _) in FLYTEKIT {
        command.env_remove(name);
    }
    command.arg(source("flyte_settings.py")).arg("flytekit").arg(home.path(YAML));
    let output = home.spawn_command(command).wait();
    serde_json::from_str(output.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
