//! What is to be run, how often and how long.

use std::time::Duration;

use integration_tests::issuer::settings::Rotation;

/// How it is called.
pub(crate) const USAGE: &str =
    "usage: endure kills [--count N] [--rotation grace|strict|none] [--settings say|silent] [--accounts N]
       endure soak|idle|outage [--minutes N]
       endure terminations|races|starts|connects|drips [--count N]
       all take --seed N";

/// The grace time of an issuer that has one: the shortest that is in use.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    Kills,
    Soak,
    Outage,
    Terminations,
    Races,
    Starts,
    Connects,
    Drips,
    Idle,
}

/// Whether the settings of the accounts say how their issuer rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    No,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) run: Run,
    pub(crate) seed: u64,
    pub(crate) rotation: Rotation,
    pub(crate) said: Said,
    count: Option<u64>,
    minutes: Option<u64>,
    accounts: Option<u64>,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Returns what is wrong, in words.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let run = match arguments.next().as_deref() {
            Some("kills") => Run::Kills,
            Some("soak") => Run::Soak,
            Some("outage") => Run::Outage,
            Some("terminations") => Run::Terminations,
            Some("races") => Run::Races,
            Some("starts") => Run::Starts,
            Some("connects") => Run::Connects,
            Some("drips") => Run::Drips,
            Some("idle") => Run::Idle,
            Some(other) => return Err(format!("there is no run {other}")),
            None => return Err("name a run".to_owned()),
        };
        let rotation = Rotation::Grace(GRACE);
        let said = Said::Yes;
        let mut options = Self { run, seed: 1, rotation, said, count: None, minutes: None, accounts: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} takes a whole number"));
            match name.as_str() {
                "--seed" => options.seed = number()?,
                "--count" => options.count = Some(number()?),
                "--minutes" => options.minutes = Some(number()?),
                "--accounts" => options.accounts = Some(number()?),
                "--settings" => options.said = said_by(&value)?,
                "--rotation" => options.rotation = rotation_of(&value)?,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(options)
    }

    pub(crate) fn count(&self, usual: u64) -> u64 {
        self.count.unwrap_or(usual)
    }

    pub(crate) fn time(&self, usual_minutes: u64) -> Duration {
        Duration::from_secs(60 * self.minutes.unwrap_or(usual_minutes))
    }

    pub(crate) fn accounts(&self, usual: usize) -> usize {
        self.accounts.map_or(usual, |number| usize::try_from(number).unwrap_or(usual))
    }
}

fn rotation_of(value: &str) -> Result<Rotation, String> {
    match value {
        "grace" => Ok(Rotation::Grace(GRACE)),
        "strict" => Ok(Rotation::Strict),
        "none" => Ok(Rotation::Omitted),
        other => Err(format!("there is no rotation {other}")),
    }
}

fn said_by(value: &str) -> Result<Said, String> {
    match value {
        "say" => Ok(Said::Yes),
        "silent" => Ok(Said::No),
        other => Err(format!("settings say it or are silent, and not {other}")),
    }
}

/// Returns what the settings of an account say about a rotation.
pub(crate) fn setting(rotation: Rotation, said: Said) -> String {
    match (said, rotation) {
        (Said::No, _) => String::new(),
        (Said::Yes, Rotation::Omitted | Rotation::Repeated) => "rotation = \"none\"".to_owned(),
        (Said::Yes, Rotation::Strict) => "rotation = \"strict\"".to_owned(),
        (Said::Yes, Rotation::Grace(grace) | Rotation::GraceGivesBackSpent(grace)) => {
            format!("rotation = \"grace\"\nrotation_grace = {}", grace.as_secs())
        }
    }
}

/// Returns the name of a rotation, for people.
pub(crate) fn told(rotation: Rotation) -> &'static str {
    match rotation {
        Rotation::Omitted | Rotation::Repeated => "no rotation",
        Rotation::Strict => "strict rotation",
        Rotation::Grace(_) => "rotation with 10 s of grace",
        Rotation::GraceGivesBackSpent(_) => "rotation with a broken grace",
    }
}
