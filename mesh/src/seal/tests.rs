use super::*;
use crate::sim::Random;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn session(n: u64) -> Session {
    Session { incarnation: n, salt: n + 1 }
}

fn sealer(secret: &str) -> Sealer {
    Sealer::new(Keyring::new(secret, None).unwrap(), NodeId::of("a"), session(1))
}

fn opener(secret: &str) -> Opener {
    Opener::new(Keyring::new(secret, None).unwrap(), NodeId::of("b"))
}

fn seal(sealer: &mut Sealer) -> Vec<u8> {
    sealer.seal(Channel::Link, NodeId::of("b"), session(7), b"hello")
}

fn open(opener: &mut Opener, message: &[u8]) -> Result<(Head, Vec<u8>), Refused> {
    let mut message = message.to_vec();
    opener.open(Channel::Link, &mut message).map(|(head, body)| (head, message[body].to_vec()))
}

#[test]
fn a_message_arrives_once_and_says_who_sent_it() {
    let (mut sealer, mut opener) = (sealer(SECRET), opener(SECRET));
    for number in 1..=3 {
        let message = seal(&mut sealer);
        assert!(!message.windows(5).any(|part| part == b"hello"));
        let (head, body) = open(&mut opener, &message).unwrap();
        assert_eq!(body, b"hello");
        let (sender, receiver) = (NodeId::of("a"), NodeId::of("b"));
        let wanted = Head {
            channel: Channel::Link,
            sender,
            receiver,
            session: session(1),
            answers: session(7),
            number,
        };
        assert_eq!(head, wanted);
        assert_eq!(open(&mut opener, &message), Err(Refused::Replayed));
    }
}

/// The vector of the specification.
#[test]
fn the_envelope_is_as_specified() {
    let message = seal(&mut sealer(SECRET));
    let hex: Vec<_> = message.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    assert_eq!(hex, include_str!("vector.txt").trim());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let message = seal(&mut sealer(SECRET));
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&mut opener(SECRET), &flipped).is_err(), "bit {bit}");
    }
    for len in 0..message.len() {
        assert!(open(&mut opener(SECRET), &message[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_message_is_for_its_receiver_and_channel_only() {
    let message = seal(&mut sealer(SECRET));
    let mut third = Opener::new(Keyring::new(SECRET, None).unwrap(), NodeId::of("c"));
    assert_eq!(open(&mut third, &message), Err(Refused::Misdirected));
    let mut readdressed = message.clone();
    readdressed[20..28].copy_from_slice(&NodeId::of("c").0.to_le_bytes());
    assert_eq!(open(&mut third, &readdressed), Err(Refused::Forged));
    assert_eq!(opener(SECRET).open(Channel::Request, &mut message.clone()), Err(Refused::Foreign));
    let mut rechannelled = message;
    rechannelled[4] = Channel::Request as u8;
    assert_eq!(opener(SECRET).open(Channel::Request, &mut rechannelled), Err(Refused::Forged));
}

#[test]
fn keys_are_changed_without_a_break() {
    let old = seal(&mut sealer(SECRET));
    let both = || Keyring::new(OTHER, Some(SECRET)).unwrap();
    let new = seal(&mut Sealer::new(both(), NodeId::of("a"), session(2)));
    let mut opener_of_both = Opener::new(both(), NodeId::of("b"));
    assert!(open(&mut opener_of_both, &old).is_ok() && open(&mut opener_of_both, &new).is_ok());
    assert_eq!(open(&mut opener(OTHER), &old), Err(Refused::Key));
    assert!(open(&mut opener(OTHER), &new).is_ok());
}

#[test]
fn sealed_and_open_meshes_do_not_mix() {
    let mut bare = Sealer::new(Keyring::open(), NodeId::of("a"), session(1));
    let message = seal(&mut bare);
    assert_eq!(open(&mut opener(SECRET), &message), Err(Refused::Key));
    let mut bare_opener = Opener::new(Keyring::open(), NodeId::of("b"));
    assert_eq!(open(&mut bare_opener, &seal(&mut sealer(SECRET))), Err(Refused::Key));
    assert_eq!(open(&mut bare_opener, &message).unwrap().1, b"hello");
    assert_eq!(open(&mut bare_opener, &message), Err(Refused::Replayed));
}

#[test]
fn other_versions_say_so() {
    let mut message = seal(&mut sealer(SECRET));
    message[3] = 9;
    assert_eq!(open(&mut opener(SECRET), &message), Err(Refused::Version(9)));
}

#[test]
fn a_key_has_a_length() {
    assert!(matches!(Keyring::new(" short ", None), Err(KeyError::TooShort(5))));
    assert!(Keyring::new(&format!("{SECRET}\n"), None).is_ok());
    assert!(matches!(Keyring::from_files("/nowhere/key", None), Err(KeyError::File(..))));
}

/// What strangers send costs no memory, and nothing of it is taken.
#[test]
fn a_hundred_thousand_forged_messages_leave_no_trace() {
    let (mut random, mut opener) = (Random::new(1), opener(SECRET));
    let message = seal(&mut sealer(SECRET));
    for n in 0..100_000 {
        let mut forged = message.clone();
        let len = if n % 3 == 0 { random.below(message.len() + 1) } else { message.len() };
        forged.truncate(len);
        for _ in 0..=random.below(8) {
            let at = random.below(len.max(1));
            if let Some(byte) = forged.get_mut(at) {
                *byte ^= 1 + u8::try_from(random.below(255)).unwrap();
            }
        }
        if forged != message {
            assert!(open(&mut opener, &forged).is_err());
        }
    }
    assert_eq!(opener.senders(), 0);
}

#[test]
fn senders_are_bounded() {
    let mut opener = Opener::new(Keyring::open(), NodeId::of("b"));
    for n in 0..SENDERS_MAX as u64 + 100 {
        let mut sealer = Sealer::new(Keyring::open(), NodeId(n), session(n));
        open(&mut opener, &seal(&mut sealer)).unwrap();
    }
    assert_eq!(opener.senders(), SENDERS_MAX);
}
