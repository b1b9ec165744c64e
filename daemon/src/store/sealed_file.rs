//! The format of a sealed file: a header that anyone can read, then what only the key opens.
//!
//! ```text
//! magic        8   "keyfob" 0x00 0x0a
//! format       2   big endian: 2, or 1, whose records know no proof keys
//! key id       8   which key it is sealed with
//! generation   8   big endian
//! nonce       24   random
//! ciphertext   n   XChaCha20-Poly1305
//! tag         16
//! ```
//!
//! The whole header, the account's name and what the file is for are authenticated, so no file passes for another
//! account's, for another generation or for another part of the account. The thing to get wrong: a file that does not
//! open may be sealed with another key, or come from a newer version. It is [`Refusal::Corrupt`] only when it is
//! neither.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::store::key::{Key, KeyId, NoRandomness};
use crate::store::slot::Slot;

const MAGIC: [u8; 8] = *b"keyfob\0\n";

/// The format that is written. A daemon of the first would drop the key that a refresh token is bound to, and so refuses
/// this one.
const FORMAT: u16 = 2;

/// The first format that is read.
const FIRST_FORMAT: u16 = 1;

const NONCE_LENGTH: usize = 24;

const TAG_LENGTH: usize = 16;

const HEADER_LENGTH: usize = MAGIC.len() + 2 + KeyId::LENGTH + 8 + NONCE_LENGTH;

/// How much longer a sealed file is than what is sealed in it.
pub(crate) const OVERHEAD: usize = HEADER_LENGTH + TAG_LENGTH;

/// What a sealed file holds.
pub(crate) struct Opened {
    /// Which version of the account's record it is: it grows with every save.
    pub(crate) generation: u64,
    /// The record.
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
}

/// Why a file does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A later version wrote it.
    NewerFormat,
    /// It is sealed with another key.
    WrongKey,
    /// It is not what anybody sealed for this slot.
    Corrupt,
}

/// Seals what is for a slot.
///
/// # Errors
/// Fails where the system has no random numbers.
pub(crate) fn seal(
    key: &Key,
    slot: Slot<'_>,
    generation: u64,
    mut plaintext: Zeroizing<Vec<u8>>,
) -> Result<Vec<u8>, NoRandomness> {
    let mut nonce = [0; NONCE_LENGTH];
    getrandom::fill(&mut nonce)?;
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&FORMAT.to_be_bytes());
    sealed.extend_from_slice(&key.id().0);
    sealed.extend_from_slice(&generation.to_be_bytes());
    sealed.extend_from_slice(&nonce);
    let tag = cipher(key)
        .encrypt_inout_detached(&nonce.into(), &authenticated(&sealed, slot), plaintext.as_mut_slice().into())
        .expect("a record is far below the cipher's limit of 256 GiB");
    sealed.extend_from_slice(&plaintext);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens a file that was sealed for a slot.
pub(crate) fn open(key: &Key, slot: Slot<'_>, sealed: &[u8]) -> Result<Opened, Refusal> {
    let (header, body) = sealed.split_at_checked(HEADER_LENGTH).ok_or(Refusal::Corrupt)?;
    let (magic, rest) = take::<{ MAGIC.len() }>(header);
    let (format, rest) = take::<2>(rest);
    let (key_id, rest) = take::<{ KeyId::LENGTH }>(rest);
    let (generation, rest) = take::<8>(rest);
    let (nonce, _) = take::<NONCE_LENGTH>(rest);
    let format = u16::from_be_bytes(format);
    if magic != MAGIC || format < FIRST_FORMAT {
        return Err(Refusal::Corrupt);
    }
    if format > FORMAT {
        return Err(Refusal::NewerFormat);
    }
    if KeyId(key_id) != key.id() {
        return Err(Refusal::WrongKey);
    }
    let mut plaintext = Zeroizing::new(body.to_vec());
    let nonce: XNonce = nonce.into();
    cipher(key)
        .decrypt_in_place(&nonce, &authenticated(header, slot), &mut *plaintext)
        .map_err(|_| Refusal::Corrupt)?;
    Ok(Opened { generation: u64::from_be_bytes(generation), plaintext })
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

/// Returns what the tag vouches for beside the ciphertext. The header has a fixed length and the name says its own, so no
/// two of these run together into the same bytes.
fn authenticated(header: &[u8], slot: Slot<'_>) -> Vec<u8> {
    let name = slot.account.as_str().as_bytes();
    let length = u16::try_from(name.len()).expect("a name has 64 bytes at the most");
    [header, &length.to_be_bytes(), name, slot.label()].concat()
}

fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (first, rest) = bytes.split_first_chunk().expect("the header has its full length");
    (*first, rest)
}

#[cfg(test)]
mod tests {
    use keyfob_protocol::account::AccountName;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"a record with a CANARY in it";

    #[test]
    fn what_was_sealed_opens() {
        let opened = open(&key(1), Slot::tokens(&name("prod")), &sealed()).unwrap();
        assert_eq!(opened.generation, 7);
        assert_eq!(opened.plaintext.as_slice(), SECRET);
        assert_eq!(sealed().len(), SECRET.len() + OVERHEAD);
    }

    #[test]
    fn no_changed_bit_is_accepted() {
        let sealed = sealed();
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[index] ^= 1 << bit;
                assert!(
                    open(&key(1), Slot::tokens(&name("prod")), &changed).is_err(),
                    "bit {bit} of byte {index}"
                );
            }
        }
    }

    #[test]
    fn no_other_length_is_accepted() {
        let sealed = sealed();
        for length in 0..sealed.len() {
            assert_eq!(refusal(&key(1), "prod", &sealed[..length]), Refusal::Corrupt, "{length} bytes");
        }
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(refusal(&key(1), "prod", &longer), Refusal::Corrupt);
    }

    #[test]
    fn a_record_of_another_account_or_of_another_generation_is_refused() {
        assert_eq!(refusal(&key(1), "corp", &sealed()), Refusal::Corrupt);
        let at = MAGIC.len() + 2 + KeyId::LENGTH;
        for generation in [0_u64, 6, 8, u64::MAX] {
            let mut changed = sealed();
            changed[at..at + 8].copy_from_slice(&generation.to_be_bytes());
            assert_eq!(refusal(&key(1), "prod", &changed), Refusal::Corrupt, "generation {generation}");
        }
    }

    #[test]
    fn tokens_and_a_login_of_one_account_do_not_pass_for_each_other() {
        let name = name("prod");
        let slots = [Slot::tokens(&name), Slot::login(&name)];
        for (sealed_for, opened_as) in [(0, 1), (1, 0)] {
            let sealed = seal(&key(1), slots[sealed_for], 7, Zeroizing::new(SECRET.to_vec())).unwrap();
            assert!(open(&key(1), slots[sealed_for], &sealed).is_ok());
            assert!(matches!(open(&key(1), slots[opened_as], &sealed), Err(Refusal::Corrupt)));
        }
    }

    #[test]
    fn another_key_and_a_later_format_are_told_from_damage() {
        assert_eq!(refusal(&key(2), "prod", &sealed()), Refusal::WrongKey);
        let mut later = sealed();
        later[MAGIC.len() + 1] = 3;
        assert_eq!(refusal(&key(1), "prod", &later), Refusal::NewerFormat);
        assert_eq!(refusal(&key(2), "prod", &later), Refusal::NewerFormat);
    }

    #[test]
    fn a_sealed_file_shows_nothing_and_is_never_the_same_twice() {
        let (first, second) = (sealed(), sealed());
        assert!(!first.windows(6).any(|window| window == b"CANARY"));
        assert_ne!(first[HEADER_LENGTH..], second[HEADER_LENGTH..]);
    }

    proptest! {
        #[test]
        fn nothing_that_we_did_not_seal_opens(
            header in 0..=HEADER_LENGTH,
            tail in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [&sealed()[..header], &tail].concat();
            prop_assert!(open(&key(1), Slot::tokens(&name("prod")), &bytes).is_err());
        }
    }

    fn sealed() -> Vec<u8> {
        seal(&key(1), Slot::tokens(&name("prod")), 7, Zeroizing::new(SECRET.to_vec())).unwrap()
    }

    fn refusal(key: &Key, account: &str, sealed: &[u8]) -> Refusal {
        match open(key, Slot::tokens(&name(account)), sealed) {
            Err(refusal) => refusal,
            Ok(_) => panic!("it opened"),
        }
    }

    fn key(seed: u8) -> Key {
        Key::parse(&[seed; Key::LENGTH]).unwrap()
    }

    fn name(text: &str) -> AccountName {
        text.parse().unwrap()
    }
}
