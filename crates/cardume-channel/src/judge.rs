//! The DHT's values that are records of channels.
use crate::{Counts, Id, Record, Refused};

/// Before the channel's id in the keys of the DHT.
const PREFIX: &str = "/channel/";

/// The key of the DHT under which the newest record of a channel is.
pub fn record_key(channel: Id) -> Vec<u8> {
    format!("{PREFIX}{channel}").into_bytes()
}

/// Checks what is put under the keys of channels.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    counts: Counts,
}

impl Judge {
    /// Counts what it refuses.
    pub const fn new(counts: Counts) -> Self {
        Self { counts }
    }
}

impl cardume_kad::Judge for Judge {
    fn knows(&self, key: &[u8]) -> bool {
        key.starts_with(PREFIX.as_bytes())
    }

    fn rank(&self, key: &[u8], value: &[u8]) -> Option<u64> {
        let judged = Record::decode(value).map_err(Refused::from).and_then(|record| {
            match record_key(record.channel()) == key {
                true => Ok(record.number()),
                false => Err(Refused::OtherChannel),
            }
        });
        judged.inspect_err(|refused| self.counts.refused(*refused)).ok()
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::{Cid, Hash};
    use cardume_kad::Judge as _;
    use libp2p_identity::ed25519::Keypair;

    use super::*;
    use crate::Body;

    #[test]
    fn a_record_counts_under_its_own_key_alone() {
        let key = Keypair::generate();
        let body = Body {
            number: 3,
            cid: Cid::blob(Hash::of(b"x")),
            size: 1,
            time: 0,
            note: String::new(),
        };
        let record = Record::sign(&key, body);
        let (judge, own) = (Judge::default(), record_key(record.channel()));
        assert_eq!(judge.rank(&own, record.bytes()), Some(3));
        let other = record_key(Id::of(&Keypair::generate().public()));
        assert!(judge.knows(&other) && !judge.knows(b"/pk/x"));
        assert_eq!(judge.rank(&other, record.bytes()), None);
        let mut forged = record.bytes().to_vec();
        forged[40] ^= 1;
        assert_eq!(judge.rank(&own, &forged), None);
        assert_eq!(judge.rank(&own, &[1; 2048]), None);
        let counted: Vec<_> = judge.counts.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("oversized", 1), ("forged", 1), ("other_channel", 1)]);
    }
}
