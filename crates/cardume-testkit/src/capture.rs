//! What leaves a host: a packet capture in its network namespace.

use std::{net::IpAddr, os::fd::OwnedFd};

use anyhow::Context;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use crate::hosts;

/// `ETH_P_ALL` in network byte order (if_ether.h): every frame, in and out.
const ALL_FRAMES: u32 = 0x0003_u16.to_be() as u32;

/// Frames on a host's interfaces since the capture began.
pub struct Capture {
    socket: OwnedFd,
}

/// What a frame was, as far as it matters for who was spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Somebody's hardware address was asked for: the first sign of talking to a host on the link, or beyond.
    ArpRequest {
        /// Who asks.
        from: IpAddr,
        /// Whose address is wanted.
        target: IpAddr,
    },
    /// A datagram or segment.
    Transport {
        /// `"udp"` or `"tcp"`.
        protocol: &'static str,
        /// Sender.
        from: IpAddr,
        /// Receiver.
        to: IpAddr,
        /// Receiver's port.
        port: u16,
    },
    /// Anything else: what the kernel says to keep a link alive.
    Other,
}

impl Capture {
    /// Begins in the network namespace called `namespace`.
    pub(crate) fn begin(namespace: &str) -> anyhow::Result<Self> {
        let socket = hosts::within(namespace, || {
            let protocol = Protocol::from_raw(ALL_FRAMES.try_into().context("a protocol is not 0")?);
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            Ok(socket_with(
                AddressFamily::PACKET,
                SocketType::RAW,
                flags,
                Some(protocol),
            )?)
        })?;
        Ok(Self { socket })
    }

    /// Takes the frames that have passed since the last call.
    pub fn frames(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut buffer = [0u8; 2048];
        while let Ok((length, _)) = recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            frames.push(parse(buffer.get(..length).unwrap_or_default()).unwrap_or(Frame::Other));
        }
        frames
    }
}

/// Ethernet, then IPv4 (RFC 791), IPv6 (RFC 8200, no extension headers) or ARP (RFC 826).
fn parse(frame: &[u8]) -> Option<Frame> {
    let (kind, body) = (frame.get(12..14)?, frame.get(14..)?);
    match kind {
        [0x08, 0x06] if body.get(7)? == &1 => Some(Frame::ArpRequest {
            from: ip4(body.get(14..18)?)?,
            target: ip4(body.get(24..28)?)?,
        }),
        [0x08, 0x00] => {
            let header = usize::from(body.first()? & 0x0f) * 4;
            transport(
                *body.get(9)?,
                ip4(body.get(12..16)?)?,
                ip4(body.get(16..20)?)?,
                body.get(header..)?,
            )
        }
        [0x86, 0xdd] => transport(
            *body.get(6)?,
            ip6(body.get(8..24)?)?,
            ip6(body.get(24..40)?)?,
            body.get(40..)?,
        ),
        _ => None,
    }
}

fn transport(protocol: u8, from: IpAddr, to: IpAddr, segment: &[u8]) -> Option<Frame> {
    let protocol = match protocol {
        6 => "tcp",
        17 => "udp",
        _ => return None,
    };
    let port = u16::from_be_bytes(segment.get(2..4)?.try_into().ok()?);
    Some(Frame::Transport {
        protocol,
        from,
        to,
        port,
    })
}

fn ip4(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn ip6(bytes: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))
}
