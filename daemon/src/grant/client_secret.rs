//! Fetches a client's secret from where the settings say it is, each time that it is needed.
//!
//! The thing to get wrong: only white space at the end is dropped. What precedes it may be part of the secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::grant::program::{self, Environment};
use crate::oauth::client_assertion::Assertor;
use crate::oauth::client_auth::{Credentials, Proof};
use crate::oauth::signing_key::{InvalidKey, SigningKey};
use crate::oauth::{ClientAuthentication, ClientSecret};
use crate::token::failure::{Failure, abnormal};

/// Far more than any secret has; a larger file is the wrong one.
const LARGEST_FILE: usize = 64 * 1024;

/// The mode bits by which others may write.
const OTHERS_WRITE: u32 = 0o022;

/// The mode bits by which others may read.
const OTHERS_READ: u32 = 0o044;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read the client secret in {path}: {reason}")]
    Unreadable { path: PathBuf, reason: io::Error },
    #[error("{path} is no client secret: it {what}")]
    Unusable { path: PathBuf, what: &'static str },
    #[error(
        "keyfobd was started without the variable {variable:?}, in which the client secret is: run keyfob stop, then keyfob \
         where it is set, or write client_secret = {{ file = \"/path/to/it\" }}"
    )]
    Unset { variable: String },
    #[error("the client secret is empty")]
    Empty,
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error(transparent)]
    Program(#[from] program::Error),
}

impl Error {
    fn classify(&self) -> Failure {
        match self {
            Self::Unreadable { .. }
            | Self::Unusable { .. }
            | Self::Unset { .. }
            | Self::Empty
            | Self::Key(_) => Failure::misconfigured(self.to_string()),
            Self::Program(error) => error.classify(),
        }
    }
}

/// Returns the client with its secret in hand. `audience` is whom it proves its identity to, where it signs that.
pub(crate) async fn credentials(
    client_id: &str,
    authentication: &ClientAuthentication,
    audience: &str,
    environment: &Environment,
) -> Result<Credentials, Failure> {
    let proof = match authentication {
        ClientAuthentication::None => Ok(Proof::None),
        ClientAuthentication::SecretBasic(secret) => fetch(secret, environment).await.map(Proof::Basic),
        ClientAuthentication::SecretBasicRawId(secret) => {
            fetch(secret, environment).await.map(Proof::BasicRawId)
        }
        ClientAuthentication::SecretPost(secret) => fetch(secret, environment).await.map(Proof::Post),
        ClientAuthentication::PrivateKeyJwt { key, key_id } => {
            assertor(key, key_id.clone(), audience, environment).await.map(Proof::Assertion)
        }
    };
    let proof = proof.map_err(|error| error.classify())?;
    Ok(Credentials { client_id: client_id.to_owned(), proof })
}

async fn assertor(
    key: &ClientSecret,
    key_id: Option<String>,
    audience: &str,
    environment: &Environment,
) -> Result<Assertor, Error> {
    let key = Arc::new(SigningKey::read(&fetch(key, environment).await?)?);
    Ok(Assertor { key, key_id, audience: audience.to_owned() })
}

async fn fetch(secret: &ClientSecret, environment: &Environment) -> Result<SecretString, Error> {
    let secret = match secret {
        ClientSecret::Value(secret) => secret.clone(),
        ClientSecret::Unset(variable) => return Err(Error::Unset { variable: variable.clone() }),
        ClientSecret::Command(argv) => program::output(argv, environment).await?,
        ClientSecret::File(path) => {
            let file = path.clone();
            let reading = tokio::task::spawn_blocking(move || read(&file));
            // Cancelled at the end of the daemon alone.
            reading.await.map_err(|gone| Error::Unreadable {
                path: path.clone(),
                reason: io::Error::other(abnormal(&gone)),
            })??
        }
    };
    if secret.expose_secret().is_empty() { Err(Error::Empty) } else { Ok(secret) }
}

fn read(path: &Path) -> Result<SecretString, Error> {
    let unreadable = |reason| Error::Unreadable { path: path.to_owned(), reason };
    let unusable = |what| Error::Unusable { path: path.to_owned(), what };
    // Without NONBLOCK a named pipe would hold us until somebody writes to it.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("O_NONBLOCK is a small flag");
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unusable("is not a regular file"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(unusable("can be written by others: chmod go-w"));
    }
    if metadata.mode() & OTHERS_READ != 0 {
        tracing::warn!(path = %path.display(), "the client secret can be read by others: chmod go-r");
    }
    let text = contents(file).map_err(unreadable)?;
    if text.len() > LARGEST_FILE {
        return Err(unusable("is larger than 64 KiB"));
    }
    match std::str::from_utf8(&text).map(str::trim_end) {
        Err(_) => Err(unusable("is not UTF-8")),
        Ok("") => Err(unusable("is empty")),
        Ok(secret) => Ok(secret.into()),
    }
}

fn contents(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // One byte more than allowed shows that there is too much; the rest is room for the reader to find the end in.
    let mut text = Zeroizing::new(Vec::with_capacity(LARGEST_FILE + 64));
    let most = u64::try_from(LARGEST_FILE + 1).expect("a small constant");
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::oauth::signing_key::tests::ec_pem;

    fn file(mode: u32, contents: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    async fn fetched(secret: ClientSecret) -> Result<String, Failure> {
        let authentication = ClientAuthentication::SecretPost(secret);
        let credentials =
            credentials("cli", &authentication, "https://i", &Environment::from_own([])).await?;
        Ok(credentials.secret().unwrap().expose_secret().to_owned())
    }

    #[tokio::test]
    async fn a_secret_file_loses_only_the_white_space_at_its_end() {
        for mode in [0o600, 0o400, 0o444] {
            let (_directory, path) = file(mode, b"  s3c ret\r\n\n");
            assert_eq!(fetched(ClientSecret::File(path)).await.unwrap(), "  s3c ret");
        }
        assert_eq!(fetched(ClientSecret::Value(" as is ".into())).await.unwrap(), " as is ");
    }

    #[tokio::test]
    async fn a_secret_file_that_changes_takes_effect_by_itself() {
        let (_directory, path) = file(0o600, b"old");
        assert_eq!(fetched(ClientSecret::File(path.clone())).await.unwrap(), "old");
        fs::write(&path, "new").unwrap();
        assert_eq!(fetched(ClientSecret::File(path)).await.unwrap(), "new");
    }

    #[tokio::test]
    async fn a_private_key_comes_from_the_same_places_and_is_told_from_other_texts() {
        let proof = async |text: &str| {
            let key = ClientSecret::Value(text.into());
            let authentication = ClientAuthentication::PrivateKeyJwt { key, key_id: None };
            credentials("cli", &authentication, "https://i", &Environment::from_own([])).await
        };
        let good = proof(ec_pem().expose_secret()).await.unwrap();
        assert!(matches!(&good.proof, Proof::Assertion(assertor) if assertor.audience == "https://i"));
        let failure = proof("CANARY").await.unwrap_err();
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        assert!(!failure.to_string().contains("CANARY"));
    }

    #[tokio::test]
    async fn a_file_that_can_be_no_secret_is_a_mistake_in_the_settings() {
        let (directory, path) = file(0o600, b"secret");
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (_d1, written_by_others) = file(0o666, b"secret");
        let (_d2, written_by_the_group) = file(0o660, b"secret");
        let (_d3, too_large) = file(0o600, &[b'x'; LARGEST_FILE + 1]);
        let (_d4, empty) = file(0o600, b" \n");
        let (_d5, binary) = file(0o600, b"\xff\xfe");
        let missing = path.with_file_name("missing");
        let folder = directory.path().to_owned();
        for path in [pipe, written_by_others, written_by_the_group, too_large, empty, binary, missing, folder]
        {
            let failure = fetched(ClientSecret::File(path.clone())).await.unwrap_err();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
            assert!(failure.to_string().contains(&path.display().to_string()), "{failure}");
        }
        let failure = fetched(ClientSecret::Value("".into())).await.unwrap_err();
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        let failure = fetched(ClientSecret::Unset("CI_SECRET".to_owned())).await.unwrap_err();
        assert!(failure.to_string().contains("\"CI_SECRET\""), "{failure}");
    }

    #[tokio::test]
    async fn the_largest_file_is_still_read() {
        let (_directory, path) = file(0o600, &[b'x'; LARGEST_FILE]);
        assert_eq!(fetched(ClientSecret::File(path)).await.unwrap().len(), LARGEST_FILE);
    }
}
