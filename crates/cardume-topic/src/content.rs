//! Messages that are too large for a topic travel as content.
//!
//! What is published is then a short text with a link, behind a mark that nothing else begins with; see
//! `docs/protocols/topics.md`.
use std::time::Duration;

use cardume_content::{Cid, Kind, Link};
use cardume_gossipsub::Message;
use cardume_store::Store;
use futures::{FutureExt as _, future::BoxFuture};
use multiaddr::{Multiaddr, Protocol};

use crate::{Fetch, Received, hub::received};

/// Time for the content of one message.
const FETCH_TIME: Duration = Duration::from_secs(120);

/// What a message begins with that stands for content.
pub(crate) const MARK: &[u8] = b"\0cardume/content/1\0";

/// Whether a message has to travel as content: it is too large, or would be taken for one that does.
pub(crate) fn is_content(data: &[u8], max: usize) -> bool {
    data.len() > max || data.starts_with(MARK)
}

/// The message that stands for content at `peers`.
pub(crate) fn envelope(cid: Cid, size: u64, peers: Vec<Multiaddr>) -> Vec<u8> {
    let mut link = Link::new(cid);
    link.size = Some(size);
    link.peers = peers;
    [MARK, link.to_string().as_bytes()].concat()
}

/// The content that a message stands for; none if it stands for itself.
pub(crate) fn stands_for(data: &[u8]) -> Option<Link> {
    let text = std::str::from_utf8(data.strip_prefix(MARK)?).ok()?;
    let link: Link = text.parse().ok()?;
    (link.cid.kind() == Kind::Blob && link.path.is_empty()).then_some(link)
}

/// A message with the content that it stands for, taken in through `store`; none if that cannot be had.
pub(crate) fn get(
    fetch: Fetch,
    store: Store,
    max: u64,
    message: Message,
    link: Link,
) -> BoxFuture<'static, Option<Received>> {
    async move {
            let mut peers = link.peers;
            peers.push(Multiaddr::empty().with(Protocol::P2p(message.from)));
            let claimed = link.size.unwrap_or_default();
            let reason = if claimed > max {
                format!("it has {claimed} bytes, and topic.max_content is {max}")
            } else {
                match tokio::time::timeout(FETCH_TIME, fetch(link.cid, peers, max, store)).await {
                    Ok(Ok(bytes)) => return Some(received(&message, bytes, Some(link.cid))),
                    Ok(Err(reason)) => reason,
                    Err(_) => format!("not here within {} s", FETCH_TIME.as_secs()),
                }
            };
            tracing::warn!(topic = %message.topic, from = %message.from, cid = %link.cid, reason, "a message is lost");
            None
        }
        .boxed()
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;

    use super::*;

    #[test]
    fn an_envelope_is_read_as_what_it_stands_for_and_all_else_as_itself() {
        let cid = Cid::blob(Hash::of(b"large"));
        let at: Multiaddr = "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
            .parse()
            .unwrap();
        let data = envelope(cid, 5, vec![at.clone()]);
        let link = stands_for(&data).unwrap();
        assert_eq!((link.cid, link.size, link.peers), (cid, Some(5), vec![at]));
        let directory = Cid::directory(Hash::of(b"d"));
        for other in [&data[1..], b"plain", MARK, &envelope(directory, 5, Vec::new())] {
            assert_eq!(stands_for(other), None);
        }
        assert!(
            is_content(&data, 1000),
            "a text that would be taken for an envelope"
        );
        assert!(is_content(&[0; 1001], 1000) && !is_content(&[0; 1000], 1000));
    }
}
