//! `keyfob setup flyte`: a user of Flyte or Union moves over with one command, and back with another. `keyfob setup systemd`
//! has a part of its own.
//!
//! Reads how a client signs in, makes an account of it, and has the client run `keyfob token`. Nothing of it is on the
//! way of `keyfob token`. The thing to get wrong: the file belongs to a person, so every byte but the ones that must
//! change stays, and all that changes is shown.

mod api_key;
pub(crate) mod clients;
mod config;
mod diff;
mod endpoint;
pub(crate) mod error;
mod file;
mod import;
mod ini;
mod plan;
mod section;
mod settings;
pub(crate) mod shell;
pub(crate) mod surroundings;
mod systemd;
mod traps;
mod undo;
mod variables;
mod yaml;

use std::path::Path;

use keyfob_protocol::account::AccountName;

use crate::arguments::setup::{Direction, Session, SetupOptions, Subject, Writing};
use crate::client::Client;
use crate::clock;
use crate::connection;
use crate::control;
use crate::display;
use crate::failure::Failure;
use crate::setup::clients::{Found, Program};
use crate::setup::endpoint::Endpoint;
use crate::setup::file::{Access, backup_of};
use crate::setup::plan::{Plan, USUAL_FILE};
use crate::setup::section::Section;
use crate::setup::settings::SignIn;
use crate::setup::surroundings::Surroundings;
use crate::setup::undo::Undo;
use crate::setup::variables::Overrides;
use crate::setup::yaml::admin;

/// Sets up, or undoes it, and returns what to tell. The daemon is started for taking over a session, and for nothing
/// else.
pub(crate) fn run(
    subject: &Subject,
    surroundings: &Surroundings,
    client: &Client,
) -> Result<String, Failure> {
    match subject {
        Subject::Systemd(options) => systemd::run(options, surroundings, &client.running()),
        Subject::Flyte(options) => match options.direction {
            Direction::Setup => set_up(options, surroundings, client),
            Direction::Undo => take_back(options, surroundings, &client.running()),
        },
    }
}

fn set_up(options: &SetupOptions, surroundings: &Surroundings, client: &Client) -> Result<String, Failure> {
    let plan = Plan::make(options, surroundings)?;
    let mut text = changes(&plan);
    if options.writing == Writing::Really && !plan.is_done() {
        plan.apply()?;
        text.push_str(&done(&plan, surroundings));
        text.push_str(&reload(&client.running()));
    }
    text.push_str(&remarks(&plan, surroundings));
    if options.writing == Writing::Not {
        return Ok(text + "nothing was written\n");
    }
    text.push_str(&sessions(&plan, options, client));
    Ok(text)
}

/// Shows what changes.
fn changes(plan: &Plan) -> String {
    let readers: Vec<String> = plan.found.programs.iter().map(Program::to_string).collect();
    let path = shown(&plan.file.path);
    let mut text = match readers.is_empty() {
        true => format!("{path}\n"),
        false => {
            format!("{path}, which {} read{}\n", and(&readers), if readers.len() == 1 { "s" } else { "" })
        }
    };
    if plan.is_done() {
        text.push_str("it runs keyfob already, so there is nothing to change\n");
        return text;
    }
    text.push('\n');
    text.push_str(&diff::unified(&plan.file.path, plan.file.text(), &plan.changed));
    if let Some(changed) = &plan.config_changed {
        text.push_str(&diff::unified(&plan.config.path, plan.config.text(), changed));
    }
    text.push('\n');
    text
}

/// Says what was done beside the changes.
fn done(plan: &Plan, surroundings: &Surroundings) -> String {
    let mut text = String::new();
    if plan.changed != plan.file.text() {
        if plan.file.exists() {
            text.push_str(&format!("the original is kept as {}; ", shown(&backup_of(&plan.file.path))));
        }
        // Any other file is found only from some directories, or with some variables.
        let is_usual = plan.file.path == surroundings.home.join(USUAL_FILE);
        let option =
            if is_usual { String::new() } else { format!(" --config {}", shell::word(&plan.file.path)) };
        text.push_str(&format!("to go back run: keyfob setup flyte --undo{option}\n"));
    }
    if plan.config_changed.is_some() && plan.config_access() == Access::Private {
        let config = shown(&plan.config.path);
        text.push_str(&format!("{config} has the password of the proxy in it, so only you can read it\n"));
    }
    if let Some((file, _)) = &plan.secret {
        text.push_str(&format!("the client secret is in {}, which only you can read\n", shown(&file.path)));
    }
    text
}

/// Warns of what is in the way.
fn remarks(plan: &Plan, surroundings: &Surroundings) -> String {
    let is_ini = clients::is_ini(&plan.file.path);
    let mut remarks = traps::find(&plan.section, surroundings, !is_ini && admin::has_union(plan.file.text()));
    for key in section::OVERRIDING.into_iter().filter(|key| plan.section.has(key)) {
        remarks.push(format!("{key} is a comment now: with it flytekit and flyte ignore the command"));
    }
    if is_ini {
        remarks
            .push("only flytekit reads this kind of file; flytectl and flyte want a config.yaml".to_owned());
    }
    remarks.extend(plan.overrides.as_ref().map(|overrides| of_variables(plan, overrides)));
    if let SignIn::Secret { secret: settings::Secret::Variable(name), .. } = &plan.settings.sign_in {
        remarks.push(format!(
            "keyfobd reads the client secret from {name}: it must be set where keyfobd starts"
        ));
    }
    if let SignIn::Secret { .. } = &plan.settings.sign_in {
        remarks.extend(of_flytectl_alone(&plan.section));
    }
    if plan.settings.insecure_skip_verify && !plan.settings.skips_verification() {
        remarks.push("insecureSkipVerify is left out of the account: it checks by caCertFilePath".to_owned());
    }
    if let SignIn::Command(_) = &plan.settings.sign_in {
        remarks.push("keyfobd runs the command with HOME, PATH, the locale and little else".to_owned());
    }
    if let Some(name) = plan.account.as_ref().filter(|_| !plan.has_account()) {
        let config = shown(&plan.config.path);
        remarks
            .push(format!("{config} has no account {name}: add it, or go back with --undo and set up again"));
    }
    for Found { path, programs } in &plan.others {
        let programs: Vec<String> = programs.iter().map(Program::to_string).collect();
        let reads = if programs.len() == 1 { "reads" } else { "read" };
        let (path, word) = (shown(path), shell::word(path));
        remarks.push(format!(
            "{} {reads} {path}; for it run: keyfob setup flyte --config {word}",
            and(&programs)
        ));
    }
    if !is_ini {
        remarks.push(traps::ALWAYS.to_owned());
    }
    remarks.iter().map(|remark| format!("note: {remark}\n")).collect()
}

/// Tells of keys that only flytectl reads, and only with a client secret.
fn of_flytectl_alone(section: &Section) -> Vec<String> {
    let mut remarks = Vec::new();
    if section.has("tokenUrl") {
        remarks.push(
            "tokenUrl is left out of the account: keyfob learns the token endpoint from the Flyte endpoint; where that \
             names another one, write token_endpoint in place of flyte"
                .to_owned(),
        );
    }
    if section.truth("useAudienceFromAdmin") && section.has("audience") {
        remarks.push(
            "useAudienceFromAdmin is left out of the account, which has the audience of the file; without that line it \
             takes the one of the Flyte endpoint"
                .to_owned(),
        );
    }
    remarks
}

/// Tells of variables that the account was made of, and of an endpoint that stands in them alone.
fn of_variables(plan: &Plan, Overrides { reader, names }: &Overrides) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let names = and(&names);
    let path = shown(&plan.file.path);
    let endpoint = &plan.settings.endpoint;
    let written = plan::read(&plan.file).ok();
    let written = written.as_ref().and_then(|section| section.text("endpoint"));
    let is_written = written.is_some_and(|text| Endpoint::parse(text).is_ok_and(|it| it == *endpoint));
    // A new file says all of it.
    let difference = if is_written || !plan.file.exists() {
        String::new()
    } else {
        format!("; {path} does not name their endpoint: write {endpoint} there before you unset them")
    };
    format!("the account is made of {names} as well, as {reader} reads them{difference}")
}

/// Takes over a session or tells of those that there are, then says what to run next.
fn sessions(plan: &Plan, options: &SetupOptions, client: &Client) -> String {
    let Some(account) = &plan.account else { return format!("next: {}\n", next(plan)) };
    let endpoint = &plan.settings.endpoint;
    match options.session {
        Session::Leave => {
            let shadows = import::shadows(&client.running(), account, endpoint);
            let text: String = shadows.iter().map(|remark| format!("note: {remark}\n")).collect();
            format!("{text}next: {}\n", next(plan))
        }
        Session::TakeOver => match import::take_over(client, account, endpoint) {
            Ok(others) => {
                let text: String = others.iter().map(|remark| format!("note: {remark}\n")).collect();
                format!("{text}{account} is signed in with the session of the client\nnext: keyfob status\n")
            }
            Err(failure) => {
                let line = failure.line(clock::now());
                format!("note: no session was taken over: {line}\nnext: {}\n", next(plan))
            }
        },
    }
}

/// Returns the command to run next.
fn next(plan: &Plan) -> String {
    match (&plan.settings.sign_in, &plan.account) {
        (SignIn::Browser | SignIn::Device, Some(name)) => format!("keyfob login {name}"),
        (SignIn::Keyfob(_), _) => "keyfob status".to_owned(),
        (SignIn::Browser | SignIn::Device | SignIn::Secret { .. } | SignIn::Command(_), _) => {
            let reads = |program| plan.found.programs.contains(&program);
            if reads(Program::Flytectl) {
                "flytectl get project".to_owned()
            } else if reads(Program::Flyte) {
                "flyte get project".to_owned()
            } else {
                "keyfob status".to_owned()
            }
        }
    }
}

fn take_back(
    options: &SetupOptions,
    surroundings: &Surroundings,
    running: &Client,
) -> Result<String, Failure> {
    let Some(undo) = Undo::make(options, surroundings)? else {
        return Ok("there is nothing to undo\n".to_owned());
    };
    let mut text = diff::unified(&undo.file.path, undo.file.text(), undo.backup.text());
    if let Some(changed) = &undo.config_changed {
        text.push_str(&diff::unified(&undo.config.path, undo.config.text(), changed));
    }
    text.push('\n');
    // Asked before the daemon forgets the account.
    let signed_in = undo.account.as_ref().filter(|name| import::is_signed_in(running, name));
    let kept = signed_in.map_or_else(String::new, |name| session_kept(name, &undo, options.writing));
    match options.writing {
        Writing::Not => text.push_str("nothing was written\n"),
        Writing::Really => {
            undo.apply()?;
            text.push_str(&reload(running));
            undo.clean_up()?;
            text.push_str(&format!("{} is as it was\n", shown(&undo.file.path)));
        }
    }
    if let (Some(name), None) = (&undo.account, &undo.config_changed)
        && config::has(undo.config.text(), name.as_str())
    {
        let config = shown(&undo.config.path);
        let reason = match &undo.user {
            Some(path) => format!("{} uses it", shown(path)),
            None => "it was not added for this file, or changed since".to_owned(),
        };
        text.push_str(&format!("note: the account {name} stays in {config}: {reason}\n"));
    }
    Ok(text + &kept)
}

/// Tells that a session is not undone: what was taken over has its only copy here.
fn session_kept(name: &AccountName, undo: &Undo, writing: Writing) -> String {
    let how = match (writing, &undo.config_changed) {
        (Writing::Not, _) => format!("to end it, first run: keyfob logout {name}"),
        (Writing::Really, None) => format!("to end it run: keyfob logout {name}"),
        (Writing::Really, Some(_)) => {
            format!("to end it, set up again and run: keyfob logout {name}")
        }
    };
    format!("note: the session of {name} stays with keyfob, and the client signs in by itself; {how}\n")
}

/// Has a running daemon read its configuration.
fn reload(running: &Client) -> String {
    match control::reload(running) {
        Ok(report) => report.lines().map(|line| format!("keyfobd has {line}\n")).collect(),
        Err(Failure::Unreachable { error: connection::Error::Absent, .. }) => String::new(),
        Err(failure) => {
            let details: String = failure.details().iter().map(|detail| format!("  {detail}\n")).collect();
            format!("note: keyfobd did not take it over: {}\n{details}", failure.line(clock::now()))
        }
    }
}

fn shown(path: &Path) -> String {
    display::line(&path.display().to_string())
}

fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}
