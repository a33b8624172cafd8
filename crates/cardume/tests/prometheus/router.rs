//! A node behind a router that lets nobody in.
use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use cardume_testkit::{
    daemon::Home,
    hosts::Host,
    internet::{self, Internet, Nat},
};

use super::{PROGRAM, Place, Prometheus, Takes};

/// Where the node is scraped on its own host.
const METRICS: &str = "127.0.0.1:9464";

/// A peer tries to dial a node back in vain; then the node is given a relay to be reached through.
pub(crate) fn lets_nobody_in(prometheus: &Prometheus, place: Place) -> Result<(), Takes> {
    if !internet::available() {
        return Err("root, network namespaces and nftables");
    }
    let mut net = Internet::new().unwrap();
    let public = net.host().unwrap();
    let checker = Home::on(PROGRAM, &public).unwrap().set("mdns.enabled=false");
    let checker = checker
        .set("nat.autonat_server=true")
        .set("nat.relay_server=true")
        // Who asks to be dialled back is told that nobody gets through before it stops listening.
        .set("connect.dial_timeout=\"5s\"")
        .start()
        .unwrap();
    let address = checker.address(false).unwrap();
    let mut home = net.home(Nat::EndpointIndependent).unwrap();
    let host = home.host().unwrap();
    let node = Home::on(PROGRAM, &host).unwrap().set("mdns.enabled=false");
    let node = node
        .set(format!("connect.bootstrap=[\"{address}\"]"))
        .set("nat.autonat_interval=\"2s\"")
        .set(format!("metrics.listen=\"{METRICS}\""))
        .start()
        .unwrap();
    carry(place.scraped, &host);
    let is_private = || {
        let private = "cardume_nat_reachability{reachability=\"private\"}";
        prometheus.see(private, place.scraped, |value| value == 1.0);
    };
    is_private();
    prometheus.fire(place.scraped, &["CardumeUnreachable"]);

    let (home, _) = node.stop().unwrap();
    let _node = home.set(format!("nat.relays=[\"{address}\"]")).start().unwrap();
    let held = "cardume_relay_places{state=\"held\"}";
    prometheus.see(held, place.scraped, |value| value == 1.0);
    is_private();
    prometheus.stop(place.scraped, &["CardumeUnreachable"]);
    Ok(())
}

/// Carries what comes to an address of this host to where the node is scraped on its own, for as long as that is there.
fn carry(from: SocketAddr, host: &Host) {
    let listener = TcpListener::bind(from).unwrap();
    let host = host.clone();
    thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            // While the node is away nobody answers, and the caller is hung up on.
            let Ok(callee) = host.tcp(METRICS.parse().unwrap()) else {
                continue;
            };
            let (back, forth) = (callee.try_clone().unwrap(), caller.try_clone().unwrap());
            thread::spawn(move || pass(&back, &forth));
            thread::spawn(move || pass(&caller, &callee));
        }
    });
}

/// Passes on what one side says until it ends, and then ends the other side.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
