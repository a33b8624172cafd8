//! What a channel says: a number and what is at it, signed.
use std::cmp::Ordering;

use cardume_content::Cid;
use libp2p_identity::ed25519;

use crate::Id;

/// The first byte of every record.
const VERSION: u8 = 1;
/// Before what is signed, so that no signature made for something else is one of a record.
const DOMAIN: &[u8] = b"cardume-channel-record:";
/// Bytes of a signature.
const SIGNATURE: usize = 64;
/// Version, channel, number, CID, size, time and the note's length.
const FIXED: usize = 1 + Id::LEN + 8 + Cid::LEN + 8 + 8 + 2;

/// The longest note, in bytes.
pub const MAX_NOTE: usize = 256;
/// The longest record, in bytes.
pub const MAX_RECORD: usize = FIXED + MAX_NOTE + SIGNATURE;

/// One statement of a channel, signed by its key and checked.
///
/// Records of one channel are ordered: by number, and of two with the same number, which only a key that was used in
/// two places makes, by their bytes, so that everybody settles on the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    channel: Id,
    body: Body,
    bytes: Vec<u8>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Counts the records of a channel, from 1.
    pub number: u64,
    /// What is there now.
    pub cid: Cid,
    /// Bytes of all its files.
    pub size: u64,
    /// When it was signed, by the publisher's clock, in seconds since 1970.
    pub time: u64,
    /// What the publisher says about it: at most 256 bytes, without control characters.
    pub note: String,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is too long to be one.
    #[error("it has more than {MAX_RECORD} bytes")]
    Oversized,
    /// Its bytes are laid out otherwise.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// Its channel has not signed it.
    #[error("its signature is not of its channel")]
    Forged,
}

/// Why a note cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note has at most {MAX_NOTE} bytes, and no control characters")]
pub struct NoteError;

/// Whether a note may be part of a record.
///
/// # Errors
/// When it is too long, or has control characters.
pub fn check_note(note: &str) -> Result<(), NoteError> {
    if note.len() <= MAX_NOTE && !note.chars().any(char::is_control) {
        return Ok(());
    }
    Err(NoteError)
}

impl Record {
    /// Signs what a channel says. The note must have been checked.
    pub(crate) fn sign(key: &ed25519::Keypair, body: Body) -> Self {
        let channel = Id::of(&key.public());
        let mut bytes = Vec::with_capacity(FIXED + body.note.len() + SIGNATURE);
        bytes.push(VERSION);
        bytes.extend(channel.as_bytes());
        bytes.extend(body.number.to_be_bytes());
        bytes.extend(body.cid.to_bytes());
        bytes.extend(body.size.to_be_bytes());
        bytes.extend(body.time.to_be_bytes());
        let note = u16::try_from(body.note.len()).expect("a note has at most 256 bytes");
        bytes.extend(note.to_be_bytes());
        bytes.extend(body.note.as_bytes());
        bytes.extend(key.sign(&[DOMAIN, &bytes].concat()));
        Self { channel, body, bytes }
    }

    /// Reads and checks a record.
    ///
    /// # Errors
    /// When it is none, or its channel has not signed it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::Oversized);
        }
        let (channel, body, signed) = parse(bytes).map_err(RecordError::Malformed)?;
        let (message, signature) = bytes.split_at_checked(signed).ok_or(RecordError::Forged)?;
        if !channel.has_signed(&[DOMAIN, message].concat(), signature) {
            return Err(RecordError::Forged);
        }
        let bytes = bytes.to_vec();
        Ok(Self { channel, body, bytes })
    }

    /// The record as it is sent and kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose it is.
    pub const fn channel(&self) -> Id {
        self.channel
    }

    /// What it says.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// Counts the records of a channel, from 1.
    pub const fn number(&self) -> u64 {
        self.body.number
    }

    /// What is there.
    pub const fn cid(&self) -> Cid {
        self.body.cid
    }

    /// How it stands to another record of the same channel.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        (self.number(), &self.bytes).cmp(&(other.number(), &other.bytes))
    }
}

/// The parts of a record, and how many of its bytes are signed.
fn parse(bytes: &[u8]) -> Result<(Id, Body, usize), &'static str> {
    let mut rest = bytes;
    let [version] = take::<1>(&mut rest)?;
    if version != VERSION {
        return Err("of another version");
    }
    let channel = Id::from_bytes(&take::<32>(&mut rest)?).ok_or("its channel is no key")?;
    let number = u64::from_be_bytes(take(&mut rest)?);
    if number == 0 {
        return Err("numbers begin with 1");
    }
    let cid = Cid::from_bytes(&take::<36>(&mut rest)?).map_err(|_| "no CID of this network")?;
    let size = u64::from_be_bytes(take(&mut rest)?);
    let time = u64::from_be_bytes(take(&mut rest)?);
    let len = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let (note, signature) = rest.split_at_checked(len).ok_or("too short")?;
    let note = std::str::from_utf8(note).map_err(|_| "its note is no text")?;
    check_note(note).map_err(|_| "its note is too long, or has control characters")?;
    if signature.len() != SIGNATURE {
        return Err("its signature has not 64 bytes");
    }
    let body = Body {
        number,
        cid,
        size,
        time,
        note: note.to_owned(),
    };
    Ok((channel, body, bytes.len() - SIGNATURE))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or("too short")?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardume_content::Hash;
    use proptest::prelude::*;

    fn body(number: u64, note: &str) -> Body {
        Body {
            number,
            cid: Cid::directory(Hash::of(b"content")),
            size: 3,
            time: 1_800_000_000,
            note: note.into(),
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_signed_and_fits() {
        let key = ed25519::Keypair::generate();
        for note in ["", "a note", &"n".repeat(MAX_NOTE)] {
            let record = Record::sign(&key, body(7, note));
            assert_eq!(Record::decode(record.bytes()).as_ref(), Ok(&record));
            assert_eq!(
                record,
                Record::sign(&key, body(7, note)),
                "the same bytes each time"
            );
            assert!(record.bytes().len() <= MAX_RECORD && MAX_RECORD <= 1024);
        }
    }

    /// The bytes of `docs/protocols/channel.md`.
    #[test]
    fn the_example_of_the_protocol_page_holds() {
        let mut secret = [1; 32];
        let secret = ed25519::SecretKey::try_from_bytes(&mut secret).unwrap();
        let record = Record::sign(&ed25519::Keypair::from(secret), body(7, "hi"));
        let hex: String = record.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let page = include_str!("../../../docs/protocols/channel.md");
        let page: String = page.split_whitespace().collect();
        assert!(page.contains(&hex), "{hex}");
        assert!(
            page.contains(&record.channel().to_string()),
            "{}",
            record.channel()
        );
    }

    #[test]
    fn what_was_changed_cut_or_signed_for_something_else_is_refused() {
        let key = ed25519::Keypair::generate();
        let record = Record::sign(&key, body(7, "note"));
        for at in 0..record.bytes().len() {
            let mut changed = record.bytes().to_vec();
            changed[at] ^= 1;
            assert!(Record::decode(&changed).is_err(), "byte {at}");
            assert!(Record::decode(&record.bytes()[..at]).is_err(), "{at} bytes");
        }
        let (message, _) = record.bytes().split_at(record.bytes().len() - SIGNATURE);
        let bare = [message, &key.sign(message)].concat();
        assert_eq!(
            Record::decode(&bare),
            Err(RecordError::Forged),
            "without the domain"
        );
        let longer = [record.bytes(), &[0]].concat();
        assert!(matches!(Record::decode(&longer), Err(RecordError::Malformed(_))));
        assert_eq!(Record::decode(&[1; MAX_RECORD + 1]), Err(RecordError::Oversized));
        let control = Record::sign(&key, body(7, "line\nline"));
        assert!(matches!(
            Record::decode(control.bytes()),
            Err(RecordError::Malformed(_))
        ));
        let zero = Record::sign(&key, body(0, ""));
        assert!(matches!(
            Record::decode(zero.bytes()),
            Err(RecordError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Record::decode(&bytes).is_err());
        }
    }
}
