//! Bytes under a signature, in an envelope that has one form only.
use libp2p_identity::ed25519;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::Authority;

/// The latest time that is understood, the end of the year 9999: no sum of times overflows.
pub(crate) const LAST: u64 = 253_402_300_799;

/// Signs `payload` as what `context` says it is, and encodes both as DAG-CBOR: `[payload, signature]`.
pub(crate) fn seal(context: &str, payload: Vec<u8>, key: &ed25519::Keypair) -> Vec<u8> {
    let signature = key.sign(&message(context, &payload));
    encode(&(ByteBuf::from(payload), ByteBuf::from(signature)))
}

/// What is under the seal and who has signed it, if that is the one whom `authority` finds in what was signed.
///
/// Nothing but what [`seal`] makes is taken: an envelope cannot be changed into another one that says the same.
pub(crate) fn unseal<T>(
    context: &str,
    envelope: &[u8],
    authority: impl FnOnce(&T) -> Option<Authority>,
) -> Option<(T, Authority)>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let parts: (ByteBuf, ByteBuf) = decode(envelope)?;
    let (payload, signature) = &parts;
    let value: T = decode(payload)?;
    let authority = authority(&value)?;
    authority
        .has_signed(&message(context, payload), signature)
        .then_some((value, authority))
}

/// Without the context, a signature for one purpose could be shown for another.
fn message(context: &str, payload: &[u8]) -> Vec<u8> {
    [context.as_bytes(), payload].concat()
}

/// DAG-CBOR; what it cannot encode is not in any type here.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("arrays of texts, bytes and numbers have an encoding")
}

/// Reads what [`encode`] writes, and no other form of it.
pub(crate) fn decode<T: Serialize + for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_ipld_dagcbor::from_slice(bytes).ok()?;
    (encode(&value) == bytes).then_some(value)
}
