//! The programs that people use now, each signed in as far as it can be here.

mod flytekit;
mod git_cache;
mod issuer;
mod oidc_agent;
mod pizauth;

use std::path::PathBuf;

use crate::contender::Contender;
use crate::figures::Times;

/// Those that are installed.
pub(crate) struct Rivals {
    pizauth: Option<pizauth::Pizauth>,
    git_cache: Option<git_cache::GitCache>,
    oidc_agent: Option<oidc_agent::OidcAgent>,
    flytekit: Option<flytekit::Flytekit>,
}

impl Rivals {
    /// Starts those that are there; `pizauth` is the path of that one.
    pub(crate) fn start(pizauth: Option<PathBuf>) -> Self {
        Self {
            pizauth: pizauth.map(pizauth::Pizauth::start),
            git_cache: git_cache::GitCache::start(),
            oidc_agent: oidc_agent::OidcAgent::start(),
            flytekit: flytekit::Flytekit::start(),
        }
    }

    /// Returns those that can race thousands of times.
    pub(crate) fn quick(&self) -> Vec<Contender> {
        let pizauth = self.pizauth.iter().map(pizauth::Pizauth::show);
        let git_cache = self.git_cache.iter().map(git_cache::GitCache::get);
        let oidc_agent = self.oidc_agent.iter().map(oidc_agent::OidcAgent::token);
        pizauth.chain(git_cache).chain(oidc_agent).collect()
    }

    /// Returns those that take too long for that.
    pub(crate) fn slow(&self) -> Vec<Contender> {
        self.flytekit.iter().map(flytekit::Flytekit::program).collect()
    }

    /// Returns how long flytekit takes to look a token up once it runs.
    pub(crate) fn lookups(&self) -> Option<Times> {
        self.flytekit.as_ref().map(flytekit::Flytekit::lookups)
    }
}
