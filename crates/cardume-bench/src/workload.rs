//! What can be measured.

use std::time::Duration;

use cardume_testkit::line::Line;
use clap::ValueEnum;

use crate::content::Shape;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Bytes of each file of a tree.
const SMALL: u64 = 10 * KIB;

/// One kind of work, the same for all contestants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// One file, from one to one
    W1,
    /// One file, from four complete providers to one
    W2,
    /// One file, from one to four that begin at once
    W3,
    /// One file, from one to sixteen that begin at once
    W3b,
    /// A tree of small files, from one to one
    W4,
    /// Sharing a file
    W5,
    /// Sharing a tree of small files
    W5Tree,
    /// A very small file, end to end
    W6,
    /// One file, from one to one, killed half way and begun again
    W7,
    /// A minute of nothing
    W8,
    /// Reading 1 MiB in the middle of a file that is not here
    W9,
    /// One file, over a line of 20 ms and 500 Mbit/s
    Far20,
    /// One file, over a line of 80 ms and 500 Mbit/s
    Far80,
    /// Limits of 20 MB/s, set while content comes, over ten seconds
    Rates,
    /// One file from ten of 8 MB/s each, two of which lie or stall
    Liars,
    /// Ten seconds at the gate of a closed network, with 200 strangers a second
    Strangers,
    /// Starting a node again that shares a tree of small files
    Restart,
    /// A thousand messages of 1 KiB a second on a topic of eight nodes, for --idle seconds
    Gossip,
    /// A file as a version of a channel, from its publisher to sixteen that follow it
    Channel,
    /// The network path alone, from memory to memory over TCP
    Net,
    /// The network path alone, from memory to memory over QUIC
    NetQuic,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scale {
    /// Bytes of the file, if not what the workload says.
    pub size: Option<u64>,
    /// Files of the tree, if not what the workload says.
    pub files: Option<u64>,
    /// Fetchers that begin at once, if not as many as the workload says; where it has several.
    pub fetchers: Option<usize>,
}

impl Workload {
    /// Everything but what takes a minute or more of waiting.
    pub fn usual() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|workload| {
            !matches!(
                workload,
                Self::W8 | Self::Rates | Self::Liars | Self::Gossip | Self::Strangers | Self::Channel
            )
        })
        .collect()
    }

    /// What it is called on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no workload is hidden");
        value.get_name().to_owned()
    }

    /// What it is, in a few words.
    pub fn about(self) -> String {
        let value = self.to_possible_value().expect("no workload is hidden");
        value
            .get_help()
            .expect("every workload has a line of help")
            .to_string()
    }

    /// What is moved or shared.
    pub fn shape(self, scale: Scale) -> Shape {
        let file = |usual: u64| Shape::File(scale.size.unwrap_or(usual));
        match self {
            Self::W4 | Self::W5Tree | Self::Restart => Shape::Tree(scale.files.unwrap_or(10_000), SMALL),
            Self::W3b | Self::Far20 | Self::Far80 => file(256 * MIB),
            Self::Liars => file(256 * MIB),
            Self::Rates => file(512 * MIB),
            Self::W6 => Shape::File(100 * KIB),
            Self::W8 | Self::Gossip => Shape::File(MIB),
            Self::Net | Self::NetQuic => Shape::Memory(scale.size.unwrap_or(2 * GIB)),
            _ => file(GIB),
        }
    }

    /// What others are held against.
    pub fn yardstick(self) -> &'static str {
        match self {
            Self::W5 | Self::W5Tree => "b3sum",
            Self::Net => "rustls",
            Self::NetQuic => "quinn",
            Self::Rates => "idle",
            Self::Liars => "honest",
            Self::Strangers => "no-strangers",
            Self::Restart => "by-hand",
            Self::Channel => "one-fetch",
            _ => "curl",
        }
    }

    /// Sources and fetchers.
    pub fn crowd(self, scale: Scale) -> (usize, usize) {
        match self {
            Self::W2 => (4, 1),
            Self::W3 => (1, scale.fetchers.unwrap_or(4)),
            Self::W3b => (1, scale.fetchers.unwrap_or(16)),
            _ => (1, 1),
        }
    }

    /// The line between the two sides, if it is more than loopback.
    pub fn line(self) -> Option<Line> {
        let round_trip = match self {
            Self::Far20 => Duration::from_millis(20),
            Self::Far80 => Duration::from_millis(80),
            _ => return None,
        };
        Some(Line {
            round_trip,
            rate: 500_000_000 / 8,
        })
    }

    /// Counted runs for each that was asked for: what takes milliseconds is cheap, and noisier.
    pub fn repeat(self) -> usize {
        match self {
            Self::W6 | Self::W9 => 5,
            _ => 1,
        }
    }
}
