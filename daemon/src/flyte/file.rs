//! What an endpoint said, on disk: so that a daemon that starts while the endpoint is down still renews.
//!
//! There is no secret in it, but it says where secrets go: it lies in a directory that is ours alone, and what is read is
//! checked like what came from the network. The thing to get wrong: it is a cache. A file that cannot be used is a
//! warning, and never in the way.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Stamp;
use crate::flyte::Endpoint;
use crate::flyte::message::Said;
use crate::oauth::transport::Transport;
use crate::token::digest::hex;

/// The one format so far. A file with another one is of no use.
const VERSION: u32 = 1;

/// The largest file. What is said has a dozen short texts.
const LARGEST: u64 = 64 * 1024;

/// Where an endpoint's answers are kept.
#[derive(Clone, Debug)]
pub(super) struct CacheFile {
    path: PathBuf,
    endpoint: String,
}

/// What was said, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    version: u32,
    /// For people who look into the file, and to tell files apart whose names are the same.
    endpoint: String,
    pub(super) said_at: Stamp,
    pub(super) said: Said,
}

impl CacheFile {
    /// Names the file of an endpoint that is asked under a policy. Under another policy somebody else may have answered.
    pub(super) fn of(state: &Path, endpoint: &Endpoint, transport: &Transport) -> Self {
        let endpoint = endpoint.at("").to_string();
        let digest = Sha256::digest(format!("{endpoint}\0{transport:?}"));
        let name = hex(&digest[..16]);
        Self { path: state.join("flyte").join(format!("{name}.json")), endpoint }
    }

    /// Returns what the file says, if it can be used.
    pub(super) fn read(&self) -> Option<Remembered> {
        match self.contents() {
            Ok(remembered) => remembered,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "going on without the file");
                None
            }
        }
    }

    fn contents(&self) -> io::Result<Option<Remembered>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        let remembered: Remembered = serde_json::from_slice(&bytes)?;
        let is_ours = remembered.version == VERSION && remembered.endpoint == self.endpoint;
        if is_ours { Ok(Some(remembered)) } else { Err(io::Error::other("it is of another version")) }
    }

    /// Writes what was said, whole or not at all.
    pub(super) fn write(&self, said: Said, said_at: Stamp) {
        let endpoint = self.endpoint.clone();
        let remembered = Remembered { version: VERSION, endpoint, said_at, said };
        if let Err(error) = self.replace(&remembered) {
            tracing::warn!(path = %self.path.display(), %error, "cannot keep what the Flyte endpoint said");
        }
    }

    fn replace(&self, remembered: &Remembered) -> io::Result<()> {
        let new = self.path.with_extension("new");
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(remembered)?)?;
        // A crash must not leave an empty file under the good name.
        file.sync_data()?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock::Clock;
    use crate::flyte::Plaintext;
    use crate::oauth::transport::Trust;

    fn file(state: &Path) -> CacheFile {
        let endpoint = Endpoint::parse("flyte.example.com", Plaintext::Refused).unwrap();
        CacheFile::of(state, &endpoint, &Transport::default())
    }

    #[test]
    fn what_was_said_is_read_again_and_only_we_may() {
        let state = tempfile::tempdir().unwrap();
        let (file, clock) = (file(state.path()), Clock::system());
        assert_eq!(file.read(), None);
        for issuer in ["https://a", "https://b"] {
            let stamp = clock.stamp(clock.now().moment);
            file.write(Said::example(issuer), stamp.clone());
            let read = file.read().unwrap();
            assert_eq!((read.said, read.said_at), (Said::example(issuer), stamp));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file.path), mode(file.path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_as_good_as_none() {
        let state = tempfile::tempdir().unwrap();
        let (file, clock) = (file(state.path()), Clock::system());
        file.write(Said::example("https://a"), clock.stamp(clock.now().moment));
        let good = fs::read_to_string(&file.path).unwrap();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("https://flyte.example.com", "https://flyte.example.org"),
            format!("{good}{}", " ".repeat(70_000)).replacen('{', &" ".repeat(70_000), 1),
        ] {
            fs::write(&file.path, bad).unwrap();
            assert_eq!(file.read(), None);
        }
        fs::write(&file.path, good).unwrap();
        assert!(file.read().is_some());
    }

    #[test]
    fn what_was_said_without_a_check_of_certificates_is_kept_apart() {
        let endpoint = Endpoint::parse("flyte.example.com", Plaintext::Refused).unwrap();
        let plain = Endpoint::parse("flyte.example.com", Plaintext::Wanted).unwrap();
        let credulous = Transport { trust: Trust::Anyone, ..Transport::default() };
        let paths = [
            CacheFile::of(Path::new("/s"), &endpoint, &Transport::default()).path,
            CacheFile::of(Path::new("/s"), &endpoint, &credulous).path,
            CacheFile::of(Path::new("/s"), &plain, &Transport::default()).path,
        ];
        assert!(paths[0] != paths[1] && paths[0] != paths[2] && paths[1] != paths[2]);
    }
}
