//! Requests in DAG-CBOR: an array of the kind and its fields.
//!
//! ```text
//! [0, cid, [[start, end], …]]   Get
//! [1, [cid, …]]                 GetMany
//! [2, cid, since or null]       Have
//! [3, cid]                      Swarm
//! ```
use std::{fmt, io};

use cardume_content::Cid;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess},
};
use serde_bytes::ByteArray;

use super::{invalid, refused};
use crate::Request;

const GET: u64 = 0;
const GET_MANY: u64 = 1;
const HAVE: u64 = 2;
const SWARM: u64 = 3;

type CidBytes = ByteArray<36>;

pub(super) fn encode(request: &Request) -> io::Result<Vec<u8>> {
    request.check().map_err(refused)?;
    let cid = |cid: &Cid| CidBytes::new(cid.to_bytes());
    match request {
        Request::Get { cid: of, ranges } => {
            let ranges: Vec<_> = ranges.iter().map(|range| (range.start, range.end)).collect();
            serde_ipld_dagcbor::to_vec(&(GET, cid(of), ranges))
        }
        Request::GetMany { cids } => {
            serde_ipld_dagcbor::to_vec(&(GET_MANY, cids.iter().map(cid).collect::<Vec<_>>()))
        }
        Request::Have { cid: of, since } => serde_ipld_dagcbor::to_vec(&(HAVE, cid(of), since)),
        Request::Swarm { cid: of } => serde_ipld_dagcbor::to_vec(&(SWARM, cid(of))),
    }
    .map_err(refused)
}

pub(super) fn decode(header: &[u8]) -> io::Result<Request> {
    let Form(request) = serde_ipld_dagcbor::from_slice(header).map_err(invalid)?;
    request.check().map_err(invalid)?;
    Ok(request)
}

/// A request as it stands on the wire.
struct Form(Request);

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Form;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Form, A::Error> {
        Ok(Form(match field::<u64, _>(&mut seq)? {
            GET => {
                let cid = cid(field(&mut seq)?)?;
                let ranges: Vec<(u64, u64)> = field(&mut seq)?;
                Request::Get {
                    cid,
                    ranges: ranges.into_iter().map(|(start, end)| start..end).collect(),
                }
            }
            GET_MANY => {
                let cids: Vec<CidBytes> = field(&mut seq)?;
                Request::GetMany {
                    cids: cids.into_iter().map(cid).collect::<Result<_, _>>()?,
                }
            }
            HAVE => Request::Have {
                cid: cid(field(&mut seq)?)?,
                since: field(&mut seq)?,
            },
            SWARM => Request::Swarm {
                cid: cid(field(&mut seq)?)?,
            },
            kind => {
                return Err(de::Error::custom(format_args!(
                    "requests of kind {kind} are not known"
                )));
            }
        }))
    }
}

/// The next field of a message.
pub(super) fn field<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?
        .ok_or_else(|| de::Error::custom("a field is missing"))
}

fn cid<E: de::Error>(bytes: CidBytes) -> Result<Cid, E> {
    Cid::from_bytes(&*bytes).map_err(E::custom)
}
