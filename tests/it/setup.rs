//! A user of Flyte moves over to keyfob with one command, and back with another.
//!
//! The files are what people have; what the real clients make of the result is asked of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration_tests::companion::{installed, source};
use integration_tests::config::HEAD;
use integration_tests::daemon::Daemon;
use integration_tests::flyte_admin::FlyteAdmin;
use integration_tests::home::Home;
use integration_tests::oidc_provider::{self, OidcProvider};
use integration_tests::process::Output;
use integration_tests::{programs, shim};
use keyfob_protocol::error::Exit;
use keyfob_protocol::login::LoginState;
use serde_json::{Value, json};

/// How long a token lives where no story waits for its end.
const LIFETIME: Duration = Duration::from_secs(600);

/// As `flytectl config init` writes it.
pub(crate) const PKCE: &str = "admin:\n  # For GRPC endpoints you might want to use dns:///flyte.myexample.com\n  endpoint: \
                    dns:///flyte.example.com\n  authType: Pkce\n  insecure: false\nlogger:\n  show-source: true\n";

pub(crate) const YAML: &str = ".flyte/config.yaml";
pub(crate) const BACKUP: &str = ".flyte/config.yaml.keyfob-backup";

#[test]
fn a_user_who_signed_in_by_a_browser_moves_over_and_back_byte_for_byte() {
    let home = with(YAML, PKCE);
    let output = setup(&home, &[]);
    assert_eq!(output.status, 0, "{output:?}");
    for shown in
        ["-  authType: Pkce", "+  authType: ExternalCommand", "+flyte = \"dns:///flyte.example.com\""]
    {
        assert!(output.stdout.contains(shown), "{shown}: {}", output.stdout);
    }
    assert!(output.stdout.ends_with("next: keyfob login flyte\n"), "{}", output.stdout);
    let expected = format!(
        "default_account = \"flyte\"\n\n# Added by keyfob setup flyte, from {}\n[accounts.flyte]\n\
         flyte = \"dns:///flyte.example.com\"\ngrant = \"authorization_code\"\n",
        home.path(YAML).display()
    );
    assert_eq!(fs::read_to_string(home.config()).unwrap(), expected);
    assert_eq!(fs::metadata(home.config()).unwrap().mode() & 0o777, 0o600);
    assert_eq!(read(&home, BACKUP), PKCE);

    let again = setup(&home, &[]);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
    let undone = setup(&home, &["--undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert_eq!(read(&home, YAML), PKCE);
    assert!(!home.config().exists() && !home.path(BACKUP).exists());
    assert_eq!(setup(&home, &["--undo"]).stdout, "there is nothing to undo\n");
}

#[test]
fn a_dry_run_shows_the_same_and_writes_nothing() {
    let home = with(YAML, PKCE);
    let dry = setup(&home, &["--dry-run"]);
    assert_eq!(dry.status, 0, "{dry:?}");
    assert!(dry.stdout.ends_with("nothing was written\n"), "{}", dry.stdout);
    assert_eq!(read(&home, YAML), PKCE);
    assert!(!home.config().exists() && !home.path(BACKUP).exists());
    let diff = |output: &Output| {
        let start = output.stdout.find("---").unwrap();
        output.stdout[start..output.stdout.rfind("\n\n").unwrap()].to_owned()
    };
    assert_eq!(diff(&setup(&home, &[])), diff(&dry));
    setup(&home, &["--undo", "--dry-run"]);
    assert!(home.path(BACKUP).exists());
}

#[test]
fn every_way_to_sign_in_becomes_an_account() {
    let cases = [
        ("authType: DeviceFlow", "grant = \"device_code\"\n"),
        ("authType: device_flow\n  scopes: [all]", "grant = \"device_code\"\nscopes = [\"all\"]\n"),
        (
            "authType: ClientSecret\n  clientId: ci\n  clientSecretLocation: /run/secrets/ci",
            "client_id = \"ci\"\nclient_secret = { file = \"/run/secrets/ci\" }\n",
        ),
        (
            "authType: ExternalCommand\n  command:\n    - gcloud # mine\n    - auth",
            "grant = \"command\"\ncommand = [\"gcloud\", \"auth\"]\n",
        ),
        (
            "authType: Pkce\n  insecureSkipVerify: false\n  caCertFilePath: /ca.pem\n  httpProxyURL: http://p:1",
            "tls = { ca_file = \"/ca.pem\" }\nhttp_proxy = \"http://p:1\"\n",
        ),
    ];
    for (settings, account) in cases {
        let text = format!("admin:\n  endpoint: dns:///flyte.example.com\n  {settings}\n");
        let home = with(YAML, &text);
        let output = setup(&home, &["prod"]);
        assert_eq!(output.status, 0, "{output:?}");
        let config = fs::read_to_string(home.config()).unwrap();
        assert!(config.contains("[accounts.prod]\n") && config.ends_with(account), "{settings}: {config}");
        let yaml = read(&home, YAML);
        assert!(
            yaml.contains("  authType: ExternalCommand\n") && yaml.contains("disableKeyring: true"),
            "{yaml}"
        );
        assert!(!yaml.contains("\n  clientSecretLocation"), "{yaml}");
        assert_eq!(setup(&home, &["--undo"]).status, 0);
        assert_eq!(read(&home, YAML), text);
    }
}

#[test]
fn a_command_of_ones_own_is_wrapped_and_a_running_daemon_takes_it_over() {
    let text = "admin:\n  endpoint: flyte.example.com:443\n  authType: ExternalCommand\n  command: [echo, from-echo]\n";
    let home = with(YAML, text);
    home.configure(&HEAD.replace("default_account = \"prod\"", ""));
    let before = fs::read_to_string(home.config()).unwrap();
    let daemon = Daemon::start_in(home);
    let output = setup(daemon.home(), &["mine"]);
    assert!(output.stdout.contains("keyfobd has added: mine\n"), "{output:?}");
    assert_eq!(daemon.shim(&["token", "mine"]).stdout, "from-echo\n");
    assert_eq!(daemon.shim(&["token"]).stdout, "from-echo\n", "it is not the default account");
    let undone = setup(daemon.home(), &["--undo"]);
    assert!(undone.stdout.contains("keyfobd has removed: mine\n"), "{undone:?}");
    assert_eq!(fs::read_to_string(daemon.home().config()).unwrap(), before);
    assert_eq!(daemon.shim(&["token", "mine"]).status, Exit::Configuration as i32);
}

#[test]
fn the_real_clients_read_the_command_as_it_was_meant() {
    let directory = programs::directory().to_str().unwrap();
    let cases = [
        (YAML, PKCE.to_owned(), ["flytekit", "flyte"].as_slice()),
        (YAML, PKCE.replace('\n', "\r\n"), &["flytekit", "flyte"]),
        (
            YAML,
            "admin:\n  endpoint: h\n  authType: ClientSecret\n  clientId: ci\n  clientSecretEnvVar: PATH\n"
                .to_owned(),
            &["flytekit", "flyte"],
        ),
        (
            ".flyte/config",
            "[platform]\nurl = h\n[credentials]\nauth_mode = basic\nclient_secret_env_var = PATH\n"
                .to_owned(),
            &["flytekit"],
        ),
    ];
    for (file, text, clients) in cases {
        // Once by its full path, once by the name that PATH leads to.
        for (path, program) in [
            ("/usr/bin:/bin".to_owned(), format!("{directory}/keyfob")),
            (format!("{directory}:/bin"), "keyfob".to_owned()),
        ] {
            let home = with(file, &text).set("PATH", &path);
            assert_eq!(setup(&home, &["prod"]).status, 0);
            for client in clients {
                let settings = settings(&home, client, file);
                assert_eq!(settings["auth_mode"], "ExternalCommand", "{client}: {}", read(&home, file));
                assert_eq!(
                    settings["command"],
                    json!([program, "token", "prod"]),
                    "{client}: {}",
                    read(&home, file)
                );
                assert!(*client != "flyte" || settings["disable_keyring"] == true, "{settings}");
            }
        }
    }
}

#[test]
fn a_secret_gets_a_file_of_its_own_and_is_never_shown() {
    // acme.union.ai:ci:CANARY-secret:acme, and the secret in flytekit's own file.
    let key = "YWNtZS51bmlvbi5haTpjaTpDQU5BUlktc2VjcmV0OmFjbWU=";
    let ini = "[platform]\nurl = acme.union.ai\n[credentials]\nauth_mode = ClientSecret\nclient_id = ci\n\
               client_secret = CANARY-secret\n";
    let cases = [
        (Home::new().set("FLYTE_API_KEY", key), None),
        (with(".flyte/config", ini), Some((".flyte/config", ini))),
        (with(YAML, PKCE).set("MY_KEY", key), Some((YAML, PKCE))),
    ];
    for (home, before) in cases {
        let arguments: &[&str] =
            if before.is_some_and(|(_, text)| text == PKCE) { &["--api-key-env", "MY_KEY"] } else { &[] };
        let output = setup(&home, arguments);
        assert_eq!(output.status, 0, "{output:?}");
        let secret = home.path("config/keyfob/secrets/acme");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "CANARY-secret");
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
        let config = fs::read_to_string(home.config()).unwrap();
        assert!(config.contains("grant = \"client_credentials\"\nclient_id = \"ci\"\n"), "{config}");
        assert!(config.contains("/secrets/acme\" }"), "{config}");
        if before.is_none() {
            let yaml = read(&home, YAML);
            assert!(yaml.ends_with("disableKeyring: true\ntask:\n  org: acme\n"), "{yaml}");
            let read = settings(&home, "flyte", YAML);
            assert_eq!((&read["auth_mode"], &read["org"]), (&json!("ExternalCommand"), &json!("acme")));
        }
        let undone = setup(&home, &["--undo"]);
        assert_eq!(undone.status, 0, "{undone:?}");
        let shown = [output.stdout, output.stderr, config, undone.stdout, undone.stderr].concat();
        assert!(!shown.contains("CANARY") && !shown.contains(key), "{shown}");
        assert!(!secret.exists());
        match before {
            Some((file, text)) => assert_eq!(read(&home, file), text),
            None => assert!(!home.path(YAML).exists()),
        }
    }
}

#[test]
fn a_newer_api_key_takes_the_place_of_the_older_one() {
    let key = |secret: &str| STANDARD.encode(format!("acme.union.ai:ci:{secret}:acme"));
    let home = Home::new().set("OLDER", &key("CANARY-1")).set("NEWER", &key("CANARY-2"));
    let stored = || fs::read_to_string(home.path("config/keyfob/secrets/acme")).unwrap();
    assert_eq!(setup(&home, &["--api-key-env", "OLDER"]).status, 0);
    assert_eq!(stored(), "CANARY-1");
    let output = setup(&home, &["--api-key-env", "NEWER"]);
    assert_eq!(stored(), "CANARY-2", "{output:?}");
    assert!(setup(&home, &["--api-key-env", "NEWER"]).stdout.contains("nothing to change"));
}

#[test]
fn what_a_person_changed_since_is_theirs() {
    let home = with(YAML, PKCE);
    setup(&home, &[]);
    let edited = read(&home, YAML).replace("insecure: false", "insecure: true");
    home.write(YAML, &edited, 0o600);
    let refused = setup(&home, &["--undo"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (Exit::Configuration as i32, ""));
    assert!(
        refused.stderr.contains("-  insecure: true") && refused.stderr.contains("keyfob-backup"),
        "{}",
        refused.stderr
    );
    assert_eq!(read(&home, YAML), edited);
    // The keys of the setup itself may be changed.
    home.write(
        YAML,
        &read(&home, YAML).replace("insecure: true", "insecure: false").replace("ExternalCommand", "Pkce"),
        0o600,
    );
    assert_eq!(setup(&home, &["--undo"]).status, 0);
    assert_eq!(read(&home, YAML), PKCE);

    // An account that was changed stays, and is named.
    setup(&home, &[]);
    let config = fs::read_to_string(home.config()).unwrap() + "scopes = [\"all\"]\n";
    home.configure(&config);
    let undone = setup(&home, &["--undo"]);
    assert!(undone.stdout.contains("the account flyte stays"), "{undone:?}");
    assert_eq!(fs::read_to_string(home.config()).unwrap(), config);
}

#[test]
fn an_older_backup_is_never_written_over() {
    let home = with(YAML, PKCE);
    setup(&home, &[]);
    let newer = PKCE.replace("Pkce", "DeviceFlow");
    home.write(YAML, &newer, 0o600);
    let refused = setup(&home, &["other"]);
    assert_eq!(refused.status, Exit::Configuration as i32, "{refused:?}");
    assert!(refused.stderr.contains("keyfob-backup"), "{}", refused.stderr);
    assert_eq!((read(&home, BACKUP), read(&home, YAML)), (PKCE.to_owned(), newer));
}

#[test]
fn a_link_stays_a_link_and_its_target_keeps_its_mode() {
    let home = with("dotfiles.yaml", PKCE);
    fs::set_permissions(home.path("dotfiles.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(home.path(".flyte")).unwrap();
    symlink("../dotfiles.yaml", home.path(YAML)).unwrap();
    assert_eq!(setup(&home, &[]).status, 0);
    assert!(home.path(YAML).is_symlink());
    assert!(read(&home, "dotfiles.yaml").contains("ExternalCommand"));
    assert_eq!(fs::metadata(home.path("dotfiles.yaml")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(setup(&home, &["--undo"]).status, 0);
    assert_eq!(read(&home, "dotfiles.yaml"), PKCE);
    assert!(home.path(YAML).is_symlink());
}

#[test]
fn a_file_that_cannot_be_changed_safely_is_refused_and_nothing_is_written() {
    let cases = [
        ("admin: {endpoint: h, authType: Pkce}\n", "line 1"),
        ("admin:\n\tendpoint: h\n", "line 2"),
        ("admin:\n  endpoint: h\n  authType: a\n  authType: b\n", "line 4"),
        ("admin:\n  authType: Pkce\n", "names no endpoint"),
        ("admin:\n  endpoint: h\n  authType: Kerberos\n", "authType is none"),
        ("admin:\n  endpoint: h\n  authType: ExternalCommand\n  command: a b,c\n", "write it as a list"),
        ("logger:\n  level: 1\n", "no section admin"),
    ];
    for (text, reason) in cases {
        let home = with(YAML, text);
        let output = setup(&home, &[]);
        assert_eq!((output.status, output.stdout.as_str()), (Exit::Configuration as i32, ""), "{output:?}");
        assert!(output.stderr.contains(reason), "{reason}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert_eq!(read(&home, YAML), text);
        assert!(!home.config().exists() && !home.path(BACKUP).exists());
    }
    let nothing = setup(&Home::new(), &[]);
    assert!(nothing.stderr.contains("--config"), "{nothing:?}");
    // A variable that is not set would keep keyfobd from starting, for the other accounts as well.
    let unset = "admin:\n  endpoint: h\n  authType: ClientSecret\n  clientSecretEnvVar: CI_SECRET\n";
    let home = with(YAML, unset);
    assert!(setup(&home, &[]).stderr.contains("CI_SECRET, which is not set here"));
    assert!(read(&home, YAML) == unset && !home.config().exists() && !home.path(BACKUP).exists());
    let home = with(YAML, "");
    fs::write(home.path(YAML), b"admin:\n  endpoint: \xff\n").unwrap();
    assert!(setup(&home, &[]).stderr.contains("not UTF-8"));
}

#[test]
fn a_setup_that_cannot_be_finished_changes_nothing() {
    // There is room for the name of the backup, and none for the longer one of what is written first.
    let file = format!(".flyte/{}.yaml", "x".repeat(236));
    let home = with(&file, PKCE);
    let output = setup(&home, &["--config", &file]);
    assert_eq!(output.status, Exit::Configuration as i32, "{output:?}");
    assert!(output.stderr.contains("cannot write"), "{}", output.stderr);
    assert_eq!(read(&home, &file), PKCE);
    assert_eq!(fs::read_dir(home.path(".flyte")).unwrap().count(), 1);
    assert!(!home.config().exists());
}

#[test]
fn no_copy_of_a_secret_can_be_read_by_others() {
    let text = PKCE.replace("insecure: false", "httpProxyURL: http://me:CANARY@proxy:3128");
    let home = with(YAML, &text);
    fs::set_permissions(home.path(YAML), fs::Permissions::from_mode(0o644)).unwrap();
    home.configure("# mine\n");
    fs::set_permissions(home.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let output = setup(&home, &[]);
    assert!(output.stdout.contains("only you can read it"), "{}", output.stdout);
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(home.config()), mode(home.path(BACKUP))), (0o600, 0o600));
    assert_eq!(setup(&home, &["--undo"]).status, 0);
    assert_eq!((read(&home, YAML), mode(home.path(YAML))), (text, 0o644));
}

#[test]
fn the_way_back_that_is_shown_finds_a_file_in_any_place() {
    let home = with("elsewhere.yaml", PKCE);
    let output = setup(&home, &["--config", "elsewhere.yaml"]);
    let path = home.path("elsewhere.yaml");
    let back = format!("to go back run: keyfob setup flyte --undo --config {}\n", path.display());
    assert!(output.stdout.contains(&back), "{}", output.stdout);
    assert_eq!(setup(&home, &["--undo", "--config", path.to_str().unwrap()]).status, 0);
    assert_eq!(read(&home, "elsewhere.yaml"), PKCE);

    // In every command that is shown a name is one word for a shell.
    let home = with("my own.yaml", PKCE);
    let quoted = format!("--undo --config '{}'\n", home.path("my own.yaml").display());
    let output = setup(&home, &["--config", "my own.yaml"]);
    assert!(output.stdout.contains(&quoted), "{}", output.stdout);
    let refused = setup(&home, &["other", "--config", "my own.yaml"]);
    assert!(refused.stderr.ends_with(&quoted), "{}", refused.stderr);
}

#[test]
fn a_session_stays_on_the_way_back_and_can_still_be_ended() {
    let issuer = OidcProvider::start(LIFETIME);
    let admin = FlyteAdmin::start(&issuer);
    let yaml =
        format!("admin:\n  endpoint: {}\n  insecure: true\n  authType: DeviceFlow\n", admin.endpoint());
    let home = with(YAML, &yaml);
    home.configure(&HEAD.replace("default_account = \"prod\"", ""));
    let daemon = Daemon::start_in(home);
    assert_eq!(setup(daemon.home(), &[]).status, 0);
    let (page, code) = daemon.begin_login("flyte");
    oidc_provider::log_in(&page, &code);
    assert_eq!(daemon.login_outcome("flyte"), LoginState::SignedIn, "{}", daemon.log());

    let dry = setup(daemon.home(), &["--undo", "--dry-run"]);
    assert!(dry.stdout.ends_with("to end it, first run: keyfob logout flyte\n"), "{dry:?}");
    let undone = setup(daemon.home(), &["--undo"]);
    let kept = "note: the session of flyte stays with keyfob, and the client signs in by itself; to end it, set up \
                again and run: keyfob logout flyte\n";
    assert!(undone.stdout.ends_with(kept), "{undone:?}");
    assert_eq!(setup(daemon.home(), &[]).status, 0);
    assert!(issuer.honours(&daemon.token("flyte").access_token));
    let ended = daemon.shim(&["logout", "flyte"]);
    assert_eq!(ended.stdout, "signed out of flyte; the issuer revoked the tokens\n");
    let undone = setup(daemon.home(), &["--undo"]);
    assert!(!undone.stdout.contains("stays with keyfob"), "{undone:?}");
}

#[test]
fn an_account_that_two_files_share_stays_for_the_other_one() {
    let home = with(YAML, PKCE);
    home.write(".flyte/config", "[platform]\nurl = flyte.example.com\n", 0o600);
    assert_eq!(setup(&home, &[]).status, 0);
    assert_eq!(setup(&home, &["--config", YAML]).status, 0);
    let shared = fs::read_to_string(home.config()).unwrap();
    let undone = setup(&home, &["--undo"]);
    let user = format!("config.toml: {} uses it\n", home.path(YAML).display());
    assert!(undone.stdout.ends_with(&user), "{}", undone.stdout);
    assert_eq!(fs::read_to_string(home.config()).unwrap(), shared);
    assert!(read(&home, YAML).contains("token, flyte]"));
}

#[test]
fn an_account_of_the_same_name_is_kept_and_another_name_asked_for() {
    let home = with(YAML, PKCE);
    let mine = "[accounts.flyte]\ngrant = \"command\"\ncommand = [\"mine\"]\n";
    home.configure(mine);
    let refused = setup(&home, &[]);
    assert_eq!(refused.status, Exit::Configuration as i32, "{refused:?}");
    assert!(refused.stderr.contains("keyfob setup flyte ACCOUNT"), "{}", refused.stderr);
    assert_eq!(
        (read(&home, YAML), fs::read_to_string(home.config()).unwrap()),
        (PKCE.to_owned(), mine.to_owned())
    );
    assert_eq!(setup(&home, &["prod"]).status, 0);
    let config = fs::read_to_string(home.config()).unwrap();
    // The only account was the default until now.
    assert!(config.starts_with("default_account = \"flyte\"\n[accounts.flyte]\n"), "{config}");
    let elsewhere = setup(&home, &["other"]);
    assert!(elsewhere.stderr.contains("uses the account prod already"), "{elsewhere:?}");
    setup(&home, &["--undo"]);
    assert_eq!(fs::read_to_string(home.config()).unwrap(), mine);
}

#[test]
fn whatever_would_defeat_the_command_is_named() {
    let traps = "admin:\n  endpoint: h\n  authType: Pkce\n  insecure: true\n  proxyCommand: [x]\n  useAuth: true\n  \
                 clientSecretLocation: /s\nunion:\n  auth:\n    type: PKCE\n";
    let home =
        with(YAML, traps).set("FLYTE_CREDENTIALS_AUTH_MODE", "Pkce").set("FLYTE_ADMIN_INSECURE", "false");
    let home = home.set("FLYTE_API_KEY", "CANARY").set("FLYTE_AUTH_PROXY_COMMAND", "[x]");
    fs::create_dir(home.path(".union")).unwrap();
    home.write(".union/config.yaml", PKCE, 0o600);
    let output = setup(&home, &[]);
    for trap in [
        "FLYTE_CREDENTIALS_AUTH_MODE is set",
        "FLYTE_ADMIN_INSECURE is set",
        "FLYTE_API_KEY is set",
        "FLYTE_AUTH_PROXY_COMMAND is set",
        "insecure is true",
        "proxyCommand is set",
        "useAuth is set",
        "clientSecretLocation is a comment now",
        "the section union",
        "flytectl asks for one token in each run",
    ] {
        assert!(output.stdout.contains(trap), "{trap}: {}", output.stdout);
    }
    let other = home.path(".union/config.yaml");
    let next = format!("union reads {0}; for it run: keyfob setup flyte --config {0}", other.display());
    assert!(output.stdout.contains(&next), "{}", output.stdout);
    assert!(!output.stdout.contains("CANARY"));
    // The same account serves both.
    let output = setup(&home, &["--config", other.to_str().unwrap(), "second"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(read(&home, ".union/config.yaml").contains("token, second]"));
}

#[test]
fn what_flytectl_alone_reads_of_a_client_secret_is_found_out_or_told_of() {
    let text = "admin:\n  endpoint: h\n  authType: ClientSecret\n  clientId: ci\n  clientSecretLocation: /s\n  \
                tokenUrl: https://login.example.com/token\n  useAudienceFromAdmin: true\n";
    let home = with(YAML, text);
    let output = setup(&home, &[]);
    let config = fs::read_to_string(home.config()).unwrap();
    // Without an audience an account takes the one of its Flyte endpoint.
    let account = "flyte = \"dns:///h\"\ngrant = \"client_credentials\"\nclient_id = \"ci\"\nclient_secret = { file = \"/s\" }\n";
    assert!(config.ends_with(account), "{config}");
    assert!(output.stdout.contains("tokenUrl is left out of the account"), "{}", output.stdout);
    assert!(!output.stdout.contains("useAudienceFromAdmin is"), "{}", output.stdout);
    assert_eq!(read(&home, YAML).matches("\n  tokenUrl: ").count(), 1);
    assert_eq!(setup(&home, &["--undo"]).status, 0);
    assert_eq!(read(&home, YAML), text);
    let home = with(YAML, &format!("{text}  audience: mine\n"));
    let output = setup(&home, &[]);
    assert!(output.stdout.contains("useAudienceFromAdmin is left out of the account"), "{}", output.stdout);
    assert!(fs::read_to_string(home.config()).unwrap().ends_with("audience = \"mine\"\n"));
}

#[test]
fn each_client_looks_in_its_own_places_first() {
    let home = with(YAML, PKCE);
    home.write(".flyte/config", "[platform]\nurl = flyte.example.com\n", 0o600);
    let output = setup(&home, &["--dry-run"]);
    let ini = home.path(".flyte/config");
    assert!(
        output.stdout.starts_with(&format!("{}, which flytekit reads\n", ini.display())),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("flytectl and flyte read"), "{}", output.stdout);
    let elsewhere = home.write("elsewhere.yaml", PKCE, 0o600);
    let home = home.set("FLYTECTL_CONFIG", elsewhere.to_str().unwrap());
    let output = setup(&home, &["--dry-run"]);
    let first = format!("{}, which flytekit and flytectl read\n", elsewhere.display());
    assert!(output.stdout.starts_with(&first), "{}", output.stdout);
}

/// Makes a home with one file in it.
pub(crate) fn with(file: &str, text: &str) -> Home {
    let home = Home::new();
    fs::create_dir_all(home.path(file).parent().unwrap()).unwrap();
    home.write(file, text, 0o600);
    home
}

pub(crate) fn setup(home: &Home, arguments: &[&str]) -> Output {
    shim::run(home, &[&["setup", "flyte"], arguments].concat())
}

pub(crate) fn read(home: &Home, file: &str) -> String {
    fs::read_to_string(home.path(file)).unwrap()
}

/// Asks a real client what it makes of a file.
pub(crate) fn settings(home: &Home, client: &str, file: &str) -> Value {
    let mut command = home.command(installed("venv/bin/python"));
    command.arg(source("flyte_settings.py")).arg(client).arg(home.path(file));
    let output = home.spawn_command(command).wait();
    serde_json::from_str(output.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
