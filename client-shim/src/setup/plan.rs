//! What a setup is going to do, worked out in full before anything is written.
//!
//! The thing to get wrong: whatever can be refused is refused here, so that no half of a setup is ever left behind.

use std::path::{Path, PathBuf};

use keyfob_protocol::account::AccountName;
use secrecy::{ExposeSecret, SecretString};

use crate::arguments::setup::SetupOptions;
use crate::setup::clients::{self, Found, Program};
use crate::setup::config::{self, Added};
use crate::setup::endpoint::Endpoint;
use crate::setup::error::Error;
use crate::setup::file::{Access, Snapshot, Staged, backup_of};
use crate::setup::section::Section;
use crate::setup::settings::{Secret, Settings, SignIn};
use crate::setup::surroundings::Surroundings;
use crate::setup::variables::{self, Overrides};
use crate::setup::yaml::{YamlError, admin};
use crate::setup::{api_key, ini};

/// Where a new configuration goes, below the home: all clients but union's look there.
pub(crate) const USUAL_FILE: &str = ".flyte/config.yaml";

/// What a setup is going to do.
pub(crate) struct Plan {
    /// The client's configuration.
    pub(crate) file: Snapshot,
    /// Who reads it, as far as is known.
    pub(crate) found: Found,
    /// The files that other programs read.
    pub(crate) others: Vec<Found>,
    pub(crate) section: Section,
    /// What of it stands in variables.
    pub(crate) overrides: Option<Overrides>,
    pub(crate) settings: Settings,
    /// What the client's configuration is going to be.
    pub(crate) changed: String,
    /// The account; none where the file runs keyfob for its default account.
    pub(crate) account: Option<AccountName>,
    /// keyfob's configuration.
    pub(crate) config: Snapshot,
    /// What it is going to be, where it changes.
    pub(crate) config_changed: Option<String>,
    /// A secret that gets a file of its own.
    pub(crate) secret: Option<(Snapshot, SecretString)>,
}

impl Plan {
    /// Works out what to do.
    pub(crate) fn make(options: &SetupOptions, surroundings: &Surroundings) -> Result<Self, Error> {
        let (found, others) = choose(options, surroundings)?;
        let file = Snapshot::read(&found.path)?;
        let (section, overrides) = match key(options, surroundings, &file)? {
            Some(section) => (section, None),
            None => configured(&file, &found.programs, surroundings)?,
        };
        let name = name(options, &section)?;
        let settings = settings(&section, &file.path, surroundings, &surroundings.secret(&name))?;
        let plan = Self {
            changed: file.text().to_owned(),
            account: Some(name),
            config: Snapshot::read(&surroundings.config)?,
            config_changed: None,
            secret: None,
            file,
            found,
            others,
            section,
            overrides,
            settings,
        };
        if let SignIn::Secret { secret: Secret::Variable(name), .. } = &plan.settings.sign_in
            && surroundings.variable(name).is_none()
        {
            return Err(Error::NoVariable(name.clone()));
        }
        match plan.settings.sign_in.clone() {
            SignIn::Keyfob(argv) => plan.completing(options, &argv),
            SignIn::Browser | SignIn::Device | SignIn::Secret { .. } | SignIn::Command(_) => {
                plan.moving(surroundings)
            }
        }
    }

    /// Moves a file over that does not run keyfob yet.
    fn moving(mut self, surroundings: &Surroundings) -> Result<Self, Error> {
        let Some(name) = self.account.clone() else { return Ok(self) };
        let account = self.settings.table(&name);
        let (config, path) = (&self.config, &self.file.path);
        let mark = match &self.overrides {
            Some(_) => config::mark_with_variables(path, &account),
            None => config::mark(path),
        };
        self.config_changed = match config::add(config.text(), &config.path, &name, &account, &mark)? {
            Added::Changed(text) => Some(text),
            Added::Unchanged => None,
        };
        let secret_file = surroundings.secret(&name);
        if let Some(secret) = self.section.secret.clone().filter(|_| self.settings.reads(&secret_file)) {
            self.secret = Some((Snapshot::read(&secret_file)?, secret));
        }
        self.changed = rewrite(&self.file, &surroundings.command(&name), &self.settings)?;
        let backup = Snapshot::read(&backup_of(&self.file.path))?;
        if backup.exists() && backup.text() != self.file.text() && self.changed != self.file.text() {
            return Err(Error::BackupLeft { backup: backup.path, path: self.file.path });
        }
        Ok(self)
    }

    /// Completes a file that runs keyfob already.
    fn completing(mut self, options: &SetupOptions, argv: &[String]) -> Result<Self, Error> {
        self.account = argv.get(2).and_then(|name| name.parse().ok());
        if let (Some(wanted), Some(used)) = (&options.account, &self.account)
            && wanted != used
        {
            return Err(Error::OtherAccount { path: self.file.path, account: used.to_string() });
        }
        self.changed = rewrite(&self.file, argv, &self.settings)?;
        Ok(self)
    }

    /// Tells whether everything is as it should be.
    pub(crate) fn is_done(&self) -> bool {
        let has_secret = |(file, secret): &(Snapshot, SecretString)| file.text() == secret.expose_secret();
        self.changed == self.file.text()
            && self.config_changed.is_none()
            && self.secret.as_ref().is_none_or(has_secret)
    }

    /// Tells whether keyfob's configuration is going to have the account.
    pub(crate) fn has_account(&self) -> bool {
        let text = self.config_changed.as_deref().unwrap_or(self.config.text());
        self.account.as_ref().is_none_or(|name| config::has(text, name.as_str()))
    }

    /// Does it. Everything is written beside its place first, so that what can fail does so before anything has
    /// changed. The client's configuration takes its place last: it names what must be there by then.
    pub(crate) fn apply(&self) -> Result<(), Error> {
        let mut staged = Vec::new();
        if let Some((file, secret)) = &self.secret {
            staged.push(file.stage(secret.expose_secret(), Access::Private)?);
        }
        if let Some(text) = &self.config_changed {
            staged.push(self.config.stage(text, self.config_access())?);
        }
        let kept =
            if self.changed == self.file.text() { None } else { Some(self.stage_client(&mut staged)?) };
        let put = staged.into_iter().try_for_each(Staged::put);
        if let (Err(_), Some(Some(backup))) = (&put, kept) {
            backup.remove()?;
        }
        put
    }

    /// Tells who may read keyfob's configuration from now on.
    pub(crate) fn config_access(&self) -> Access {
        let has_password = self.settings.http_proxy.as_ref().is_some_and(|proxy| proxy.contains('@'));
        if has_password { Access::Private } else { Access::Kept }
    }

    /// Writes the client's configuration beside its place, and its backup; returns that if it was not there before.
    fn stage_client(&self, staged: &mut Vec<Staged>) -> Result<Option<Snapshot>, Error> {
        if let Some(directory) = self.file.path.parent().filter(|_| !self.file.exists()) {
            std::fs::create_dir_all(directory)
                .map_err(|source| Error::Unwritable { path: directory.to_owned(), source })?;
        }
        staged.push(self.file.stage(&self.changed, Access::Kept)?);
        let backup = backup_of(&self.file.path);
        // An older one is the state to go back to.
        if Snapshot::read(&backup)?.exists() {
            return Ok(None);
        }
        self.file.keep_as(&backup)?;
        Ok(Some(Snapshot::read(&backup)?))
    }
}

/// Reads what a file says about its endpoint.
pub(crate) fn read(file: &Snapshot) -> Result<Section, Error> {
    if clients::is_ini(&file.path) {
        ini::read(file.text()).map_err(|source| Error::Ini { path: file.path.clone(), source })
    } else {
        admin::read(file.text()).map_err(|source| Error::Yaml { path: file.path.clone(), source })
    }
}

/// Returns a file with a command in it.
pub(crate) fn rewrite(file: &Snapshot, argv: &[String], settings: &Settings) -> Result<String, Error> {
    if clients::is_ini(&file.path) {
        return ini::rewrite(file.text(), argv)
            .map_err(|source| Error::Ini { path: file.path.clone(), source });
    }
    match admin::rewrite(file.text(), argv) {
        Err(YamlError::NoAdmin) if file.text().trim().is_empty() => Ok(admin::write(settings, argv)),
        rewritten => rewritten.map_err(|source| Error::Yaml { path: file.path.clone(), source }),
    }
}

/// Reads a section in these surroundings. A relative path in it begins where the clients are run from.
pub(crate) fn settings(
    section: &Section,
    file: &Path,
    surroundings: &Surroundings,
    own_secret: &Path,
) -> Result<Settings, Error> {
    Settings::read(section, file, &surroundings.directory, own_secret)
}

/// Finds the file that is meant, and those that other programs read.
fn choose(options: &SetupOptions, surroundings: &Surroundings) -> Result<(Found, Vec<Found>), Error> {
    let mut all = clients::find(surroundings);
    if let Some(path) = &options.file {
        let path = surroundings.directory.join(path);
        let at = all.iter().position(|found| found.path == path);
        let found = at.map_or_else(|| Found { path, programs: Vec::new() }, |at| all.remove(at));
        // Whoever names a file knows of the others.
        return Ok((found, Vec::new()));
    }
    if !all.is_empty() {
        let found = all.remove(0);
        return Ok((found, all));
    }
    let usual: PathBuf = surroundings.home.join(USUAL_FILE);
    let has_key = options.api_key.is_some() || known_key(surroundings).is_some();
    if has_key || variables::name_an_endpoint(surroundings) {
        Ok((Found { path: usual, programs: Vec::new() }, all))
    } else {
        Err(Error::NothingFound(usual))
    }
}

/// Reads an API key: the one that is named, or any where there is no file; none where variables say what a file would.
fn key(
    options: &SetupOptions,
    surroundings: &Surroundings,
    file: &Snapshot,
) -> Result<Option<Section>, Error> {
    let variable = match &options.api_key {
        Some(variable) => variable.as_str(),
        None if file.exists() => return Ok(None),
        None => match known_key(surroundings) {
            Some(variable) => variable,
            // In its place there is going to be a new one, in the format that all clients read.
            None if variables::name_an_endpoint(surroundings) && !clients::is_ini(&file.path) => {
                return Ok(None);
            }
            None => return Err(Error::NotThere(file.path.clone())),
        },
    };
    let no_key = || Error::NoApiKey { variable: variable.to_owned() };
    surroundings.variable(variable).and_then(api_key::read).map(Some).ok_or_else(no_key)
}

/// Reads what a client would go by: its file, and the variables that it takes instead.
fn configured(
    file: &Snapshot,
    programs: &[Program],
    surroundings: &Surroundings,
) -> Result<(Section, Option<Overrides>), Error> {
    if !file.exists() {
        // Of the others none goes by variables alone.
        let mut section = Section::default();
        let overrides = variables::put_over(&mut section, &[Program::Flytekit], surroundings);
        return Ok((section, overrides));
    }
    let mut section = read(file)?;
    let own = settings(&section, &file.path, surroundings, &surroundings.config);
    if own.is_ok_and(|own| matches!(own.sign_in, SignIn::Keyfob(_))) {
        return Ok((section, None));
    }
    let readers = match programs {
        [] if clients::is_ini(&file.path) => &[Program::Flytekit],
        // Whoever is started with its name.
        [] => [Program::Flytekit, Program::Flyte].as_slice(),
        programs => programs,
    };
    let overrides = variables::put_over(&mut section, readers, surroundings);
    Ok((section, overrides))
}

fn known_key(surroundings: &Surroundings) -> Option<&'static str> {
    api_key::VARIABLES.into_iter().find(|name| surroundings.variable(name).is_some())
}

/// Returns the name of the account: the one that is given, or one after the endpoint.
fn name(options: &SetupOptions, section: &Section) -> Result<AccountName, Error> {
    match (&options.account, section.text("endpoint")) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some(endpoint)) => Ok(Endpoint::parse(endpoint)?.suggested_name().parse()?),
        // What is missing is told when the settings are read.
        (None, None) => Ok(Endpoint::GENERIC_NAME.parse()?),
    }
}
