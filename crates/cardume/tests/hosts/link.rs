//! What a node says on its own link: multicast DNS, and to the router. On hosts of their own.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cardume_testkit::{
    capture::{Capture, Frame},
    daemon::{Daemon, Home},
    hosts::{self, Host, Lan},
    patience,
};

use crate::PROGRAM;

/// Where multicast DNS is spoken (RFC 6762).
const MDNS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
];
/// Where routers are asked to say who they are (UPnP Device Architecture, 1.3).
const SSDP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250));

fn on(host: &Host, settings: &[&str]) -> Daemon {
    let home = Home::on(PROGRAM, host).unwrap();
    let home = settings.iter().fold(home, |home, setting| home.set(*setting));
    home.start().unwrap()
}

fn is_connected(daemon: &Daemon, to: &Daemon) -> bool {
    daemon.connection(&to.peer_id().unwrap()).unwrap().is_object()
}

/// Counts datagrams to `receiver` until there are so many.
fn count(capture: &Capture, receiver: IpAddr, wanted: usize) {
    let mut count = 0;
    patience::until("datagrams", || {
        let frames = capture.frames();
        let heard =
            |frame: &&Frame| matches!(frame, Frame::Transport { protocol: "udp", to, .. } if *to == receiver);
        count += frames.iter().filter(heard).count();
        Ok(count >= wanted)
    })
    .unwrap();
}

#[test]
fn multicast_dns_is_spoken_over_ipv6_too_where_configuration_says_so() {
    if !hosts::available() {
        return;
    }
    let host = Lan::new().and_then(|mut lan| Ok((lan.host()?, lan))).unwrap();
    let capture = host.0.capture().unwrap();
    let _node = on(&host.0, &["mdns.ipv6=true"]);
    for receiver in MDNS {
        count(&capture, receiver, 1);
    }
}

#[test]
fn peers_are_asked_for_as_often_as_is_configured() {
    if !hosts::available() {
        return;
    }
    let mut lan = Lan::new().unwrap();
    let host = lan.host().unwrap();
    let capture = host.capture().unwrap();
    let _node = on(&host, &["mdns.interval=\"1s\""]);
    // The first few come sooner and sooner less often; as many more would take the usual interval hours.
    count(&capture, MDNS[0], 20);
}

#[test]
fn a_router_is_asked_to_open_ports_where_configuration_says_so() {
    if !hosts::available() {
        return;
    }
    let mut lan = Lan::new().unwrap();
    let host = lan.host().unwrap();
    let capture = host.capture().unwrap();
    let _node = on(&host, &["nat.upnp=true", "mdns.enabled=false"]);
    count(&capture, SSDP, 1);
}

#[test]
fn a_node_without_multicast_dns_is_found_by_nobody() {
    if !hosts::available() {
        return;
    }
    let mut lan = Lan::new().unwrap();
    let kad = "kad.enabled=false";
    let off = on(&lan.host().unwrap(), &["mdns.enabled=false", kad]);
    let others = [(); 2].map(|()| on(&lan.host().unwrap(), &[kad]));
    let node = on(&lan.host().unwrap(), &[kad]);
    for other in &others {
        patience::until("it is found", || Ok(is_connected(&node, other))).unwrap();
    }
    assert!(!is_connected(&node, &off));
}

/// A node with a bound, and two that dial nobody: it goes to one of them, and stays away from the other.
fn goes_to_one_of_two(bound: &str) {
    let mut lan = Lan::new().unwrap();
    let off = "kad.enabled=false";
    let crowd: Vec<_> = (0..2)
        .map(|_| on(&lan.host().unwrap(), &["mdns.max_connections=0", off]))
        .collect();
    let connected = |node: &Daemon| crowd.iter().filter(|other| is_connected(node, other)).count();
    let bounded = on(&lan.host().unwrap(), &[bound, off]);
    patience::until("one is dialled", || Ok(connected(&bounded) > 0)).unwrap();
    // Who comes later and has no such bound goes to both.
    let free = on(&lan.host().unwrap(), &[off]);
    patience::until("all are dialled", || Ok(connected(&free) == crowd.len())).unwrap();
    assert_eq!(connected(&bounded), 1);
}

#[test]
fn no_more_peers_of_the_link_are_dialled_than_may_be() {
    if hosts::available() {
        goes_to_one_of_two("mdns.max_connections=1");
    }
}

#[test]
fn no_more_peers_of_the_link_are_kept_than_may_be() {
    if hosts::available() {
        goes_to_one_of_two("mdns.max_peers=1");
    }
}
