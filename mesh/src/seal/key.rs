//! Keys: the secrets that instances share, and those of messages that are derived from them.

use std::io;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
};
use sha2::{Digest as _, Sha256};

use super::{Channel, Refused};
use crate::identity::{NodeId, Session};

/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// Bytes that sealing adds.
pub(super) const TAG_BYTES: usize = 16;

/// What stands for a key where there is none.
const NO_KEY: [u8; 4] = [0; 4];

/// The secrets of a mesh: one that seals, and perhaps one more that opens, while a mesh changes from one to the other.
#[derive(Clone, Default)]
pub struct Keyring {
    present: Option<Shared>,
    previous: Option<Shared>,
}

/// Why a text is not a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Too short to be safe.
    #[error(
        "the key of the mesh has {0} bytes; use at least {SECRET_BYTES_MIN}, as `openssl rand -hex 32` prints"
    )]
    TooShort(usize),
    /// The file cannot be read.
    #[error("cannot read the key of the mesh from {0}: {1}")]
    File(String, #[source] io::Error),
}

#[derive(Clone)]
struct Shared {
    id: [u8; 4],
    prk: Prk,
}

/// The key of the messages of one sender to one receiver on one channel.
pub(super) struct MessageKey(LessSafeKey);

struct KeyBytes;

// === impl Keyring ===

impl Keyring {
    /// A keyring that seals nothing: for addresses that only this machine reaches.
    pub fn open() -> Self {
        Self::default()
    }

    /// With a secret, and perhaps the one before. White space around a secret is not part of it.
    pub fn new(secret: &str, previous: Option<&str>) -> Result<Self, KeyError> {
        Ok(Self { present: Some(Shared::new(secret)?), previous: previous.map(Shared::new).transpose()? })
    }

    /// As [`new`](Self::new), from files.
    pub fn from_files(file: &str, previous: Option<&str>) -> Result<Self, KeyError> {
        let read =
            |file: &str| std::fs::read_to_string(file).map_err(|error| KeyError::File(file.into(), error));
        Self::new(&read(file)?, previous.map(read).transpose()?.as_deref())
    }

    /// Whether messages are sealed.
    pub fn seals(&self) -> bool {
        self.present.is_some()
    }

    /// Names the secret that seals, without telling it.
    pub(super) fn id(&self) -> [u8; 4] {
        self.present.as_ref().map_or(NO_KEY, |shared| shared.id)
    }

    pub(super) fn knows(&self, id: [u8; 4]) -> bool {
        if self.seals() { self.find(id).is_some() } else { id == NO_KEY }
    }

    pub(super) fn seals_with(
        &self,
        sender: NodeId,
        receiver: NodeId,
        session: Session,
        channel: Channel,
    ) -> Option<MessageKey> {
        self.present.as_ref().map(|shared| shared.derive(sender, receiver, session, channel))
    }

    pub(super) fn opens_with(
        &self,
        id: [u8; 4],
        sender: NodeId,
        receiver: NodeId,
        session: Session,
        channel: Channel,
    ) -> Option<MessageKey> {
        self.find(id).map(|shared| shared.derive(sender, receiver, session, channel))
    }

    fn find(&self, id: [u8; 4]) -> Option<&Shared> {
        [&self.present, &self.previous].into_iter().flatten().find(|shared| shared.id == id)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({})", if self.seals() { "sealed" } else { "open" })
    }
}

// === impl Shared ===

impl Shared {
    fn new(secret: &str) -> Result<Self, KeyError> {
        let secret = secret.trim();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::TooShort(secret.len()));
        }
        let digest = Sha256::digest([b"revenprox mesh key id", secret.as_bytes()].concat());
        // The lowest bit is set, so that no key is taken for none.
        let id = [digest[0] | 1, digest[1], digest[2], digest[3]];
        Ok(Self { id, prk: Salt::new(HKDF_SHA256, b"revenprox mesh 1").extract(secret.as_bytes()) })
    }

    fn derive(&self, sender: NodeId, receiver: NodeId, session: Session, channel: Channel) -> MessageKey {
        let mut info = vec![channel as u8];
        for number in [sender.0, receiver.0, session.incarnation, session.salt] {
            info.extend_from_slice(&number.to_le_bytes());
        }
        let info = [&info[..]];
        let derived = self.prk.expand(&info, KeyBytes).expect("32 bytes are few for HKDF");
        let mut bytes = [0; 32];
        derived.fill(&mut bytes).expect("as many bytes as were asked for");
        let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("AES-256 has keys of 32 bytes");
        MessageKey(LessSafeKey::new(key))
    }
}

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

// === impl MessageKey ===

impl MessageKey {
    /// Seals what lies between the head and the room for the tag, in place.
    pub(super) fn seal(&self, number: u64, head: usize, message: &mut [u8]) {
        let (head, rest) = message.split_at_mut(head);
        let (body, room) = rest.split_at_mut(rest.len() - TAG_BYTES);
        let sealed = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(&*head), body);
        let tag = sealed.expect("a message is far shorter than AES-GCM allows");
        room.copy_from_slice(tag.as_ref());
    }

    /// Opens what follows the head, in place. Returns how long it is without the tag.
    pub(super) fn open(&self, number: u64, head: usize, message: &mut [u8]) -> Result<usize, Refused> {
        let (head, body) = message.split_at_mut(head);
        let opened = self.0.open_in_place(nonce(number), Aad::from(&*head), body);
        opened.map(|body| body.len()).map_err(|_| Refused::Forged)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
