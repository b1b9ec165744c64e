//! Which program reads which file: each looks in its own places, in its own order.
//!
//! The thing to get wrong: flytekit prefers `~/.flyte/config`, which the others cannot read, and flyte prefers a
//! `config.yaml` of the working directory to the variables. Files of the working directory may be anybody's, so they
//! count only where they speak of Flyte.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::setup::surroundings::Surroundings;
use crate::setup::yaml::admin;

/// A program that reads configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Flytekit,
    Flytectl,
    Flyte,
    Union,
}

/// A file and who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) programs: Vec<Program>,
}

impl Program {
    const ALL: [Self; 4] = [Self::Flytekit, Self::Flytectl, Self::Flyte, Self::Union];

    /// Returns the file that it would read.
    fn file(self, surroundings: &Surroundings) -> Option<PathBuf> {
        let here = |name: &str| Some(surroundings.directory.join(name));
        let home = |name: &str| Some(surroundings.home.join(name));
        let variable = |name: &str| surroundings.variable(name).map(|path| surroundings.directory.join(path));
        let places = match self {
            Self::Flytekit => vec![
                variable("_FLYTECTL_CONFIG_PYFLYTE_OVERRIDE").or_else(|| variable("FLYTECTL_CONFIG")),
                here("flytekit.config"),
                home(".flyte/config"),
                home(".flyte/config.yaml"),
            ],
            Self::Flytectl => vec![variable("FLYTECTL_CONFIG").or_else(|| home(".flyte/config.yaml"))],
            Self::Flyte => {
                let repository = repository(&surroundings.directory);
                vec![
                    here("config.yaml").filter(|path| speaks_of_flyte(path)),
                    here(".flyte/config.yaml"),
                    repository.map(|root| root.join(".flyte/config.yaml")),
                    variable("UCTL_CONFIG"),
                    variable("FLYTECTL_CONFIG"),
                    home(".union/config.yaml"),
                    home(".flyte/config.yaml"),
                ]
            }
            Self::Union => vec![
                variable("UNION_CONFIG").or_else(|| variable("UNIONAI_CONFIG")),
                home(".union/config.yaml"),
                home(".uctl/config.yaml"),
            ],
        };
        places.into_iter().flatten().find(|path| path.is_file())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flytekit => "flytekit",
            Self::Flytectl => "flytectl",
            Self::Flyte => "flyte",
            Self::Union => "union",
        })
    }
}

/// Returns the files that the programs would read from here, the one of the most common program first.
pub(crate) fn find(surroundings: &Surroundings) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for program in Program::ALL {
        let Some(path) = program.file(surroundings) else { continue };
        match found.iter_mut().find(|other| is_same(&other.path, &path)) {
            Some(other) => other.programs.push(program),
            None => found.push(Found { path, programs: vec![program] }),
        }
    }
    found
}

/// Tells whether flytekit reads a file as INI: it goes by the end of the name.
pub(crate) fn is_ini(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    !name.ends_with(b"yaml") && !name.ends_with(b"yml")
}

/// Tells whether two names are of one file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn repository(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().find(|ancestor| ancestor.join(".git").exists()).map(Path::to_owned)
}

fn speaks_of_flyte(path: &Path) -> bool {
    std::fs::read_to_string(path)
        .is_ok_and(|text| admin::read(&text).is_ok_and(|section| section.has("endpoint")))
}
