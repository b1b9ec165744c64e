//! `keyfob setup flyte --undo`: the client's configuration as it was, and the account gone.
//!
//! The thing to get wrong: what a person has changed since belongs to them. Only a file that differs from its backup in
//! nothing but the keys of a setup is put back, and only an account that is as it was written, and that no other file
//! uses, is taken out.

use std::path::{Path, PathBuf};

use keyfob_protocol::account::AccountName;

use crate::arguments::setup::SetupOptions;
use crate::setup::clients;
use crate::setup::config;
use crate::setup::diff;
use crate::setup::error::Error;
use crate::setup::file::{Snapshot, backup_of};
use crate::setup::plan::{USUAL_FILE, read, rewrite, settings};
use crate::setup::section::Value;
use crate::setup::settings::{Settings, SignIn};
use crate::setup::surroundings::Surroundings;
use crate::setup::yaml::admin;

/// What an undo is going to do.
pub(crate) struct Undo {
    pub(crate) file: Snapshot,
    pub(crate) backup: Snapshot,
    pub(crate) config: Snapshot,
    /// keyfob's configuration without the account; none where it stays.
    pub(crate) config_changed: Option<String>,
    /// The account that the file used.
    pub(crate) account: Option<AccountName>,
    /// Another file that uses it still, so that it stays.
    pub(crate) user: Option<PathBuf>,
    secret: Option<Snapshot>,
}

/// The command of no account, where the file has none: the backup is compared with another one in its place.
const NOBODY: [&str; 2] = ["keyfob", "token"];

impl Undo {
    /// Works out what to do; nothing where there is nothing to undo.
    pub(crate) fn make(options: &SetupOptions, surroundings: &Surroundings) -> Result<Option<Self>, Error> {
        let paths = match &options.file {
            Some(path) => vec![surroundings.directory.join(path)],
            None => {
                let usual = surroundings.home.join(USUAL_FILE);
                clients::find(surroundings).into_iter().map(|found| found.path).chain([usual]).collect()
            }
        };
        let Some(path) = paths.into_iter().find(|path| backup_of(path).symlink_metadata().is_ok()) else {
            return Ok(None);
        };
        let (file, backup) = (Snapshot::read(&path)?, Snapshot::read(&backup_of(&path))?);
        let argv = argv(&file, surroundings);
        if !is_only_ours(&file, &backup, &argv, surroundings) {
            let diff = diff::unified(&file.path, file.text(), backup.text());
            let diff = diff.lines().map(str::to_owned).collect();
            return Err(Error::EditedSince { path, backup: backup.path, diff });
        }
        let account = argv.get(2).and_then(|name| name.parse().ok());
        let config = Snapshot::read(&surroundings.config)?;
        let user = account.as_ref().and_then(|name| other_user(name, &path, surroundings));
        let config_changed =
            without(&config, account.as_ref().filter(|_| user.is_none()), &file, &backup, surroundings);
        let secret =
            account.as_ref().filter(|_| config_changed.is_some()).map(|name| surroundings.secret(name));
        let secret = secret.map(|path| Snapshot::read(&path)).transpose()?;
        Ok(Some(Self { file, backup, config, config_changed, account, user, secret }))
    }

    /// Does it. The backup goes last: until then all can be done again.
    pub(crate) fn apply(&self) -> Result<(), Error> {
        if self.backup.text().is_empty() {
            self.file.remove()?;
        } else if self.file.text() != self.backup.text() {
            self.file.replace(self.backup.text())?;
        }
        if let Some(text) = &self.config_changed {
            self.config.replace(text)?;
        }
        if let Some(secret) = self.secret.as_ref().filter(|secret| secret.exists()) {
            secret.remove()?;
        }
        self.backup.remove()
    }

    /// Removes a configuration in which nothing is left, once the daemon has read it.
    pub(crate) fn clean_up(&self) -> Result<(), Error> {
        if self.config_changed.as_deref() == Some("") {
            Snapshot::read(&self.config.path)?.remove()?;
        }
        Ok(())
    }
}

/// Returns another file whose command is for the account: two clients may share one.
fn other_user(name: &AccountName, path: &Path, surroundings: &Surroundings) -> Option<PathBuf> {
    let others = clients::find(surroundings).into_iter().map(|found| found.path);
    others.filter(|other| !clients::is_same(other, path)).find(|other| {
        let file = Snapshot::read(other).ok();
        file.is_some_and(|file| argv(&file, surroundings).get(2).is_some_and(|used| used == name.as_str()))
    })
}

fn argv(file: &Snapshot, surroundings: &Surroundings) -> Vec<String> {
    let section = read(file).ok();
    let sign_in = section
        .and_then(|section| settings(&section, &file.path, surroundings, &surroundings.config).ok())
        .map(|settings| settings.sign_in);
    match sign_in {
        Some(SignIn::Keyfob(argv)) => argv,
        Some(SignIn::Browser | SignIn::Device | SignIn::Secret { .. } | SignIn::Command(_)) | None => {
            NOBODY.map(str::to_owned).to_vec()
        }
    }
}

/// Tells whether the file differs from its backup in nothing but what a setup changes.
fn is_only_ours(file: &Snapshot, backup: &Snapshot, argv: &[String], surroundings: &Surroundings) -> bool {
    if file.text() == backup.text() {
        return true;
    }
    let Some(settings) = without_sign_in(file, surroundings) else { return false };
    if backup.text().trim().is_empty() {
        return file.text() == admin::write(&settings, argv);
    }
    // The backup has another name, but it is to be read as the same kind of file.
    let original = backup.named(&file.path);
    match (rewrite(file, argv, &settings), rewrite(&original, argv, &settings)) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), _) => false,
    }
}

/// Returns what a file says beside how to sign in.
fn without_sign_in(file: &Snapshot, surroundings: &Surroundings) -> Option<Settings> {
    let mut section = read(file).ok()?;
    section.set("authType", Value::Text("Pkce".to_owned()));
    settings(&section, &file.path, surroundings, &surroundings.config).ok()
}

/// Returns keyfob's configuration without the account, where that is as it was written.
fn without(
    config: &Snapshot,
    account: Option<&AccountName>,
    file: &Snapshot,
    backup: &Snapshot,
    surroundings: &Surroundings,
) -> Option<String> {
    let name = account?;
    let secret = surroundings.secret(name);
    let by_file = || {
        let section = read(&backup.named(&file.path)).ok()?;
        Some(settings(&section, &file.path, surroundings, &secret).ok()?.table(name))
    };
    let by_key = || {
        // Of an API key nothing is left but what it came to: an endpoint, and a client whose secret is here.
        let section = config::section_of(&config::added_for(config.text(), name, &file.path)?)?;
        Some(settings(&section, &file.path, surroundings, &secret).ok()?.table(name))
    };
    let mark = config::mark(&file.path);
    let remove = |written: String| config::remove(config.text(), name, &written, &mark);
    let with_variables = || {
        let (mark, account) = config::added_with_variables(config.text(), name, &file.path)?;
        config::remove(config.text(), name, &account, &mark)
    };
    by_file().and_then(remove).or_else(|| by_key().and_then(remove)).or_else(with_variables)
}
