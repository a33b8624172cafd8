//! A long line between two hosts, made in user space: what passes is late, and no faster than the line.
//!
//! Over TCP the two ends of a connection speak with the line, not with each other, so its congestion control sees
//! no delay: what is tried are the windows and the requests above it. Over UDP the datagrams themselves are late,
//! and lost where they would have to queue for more than a round trip, or are larger than Ethernet's.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use rustix::net::sockopt;

/// Bytes read from a stream at once.
const CHUNK: usize = 64 << 10;
/// Chunks or datagrams under way in one direction, at most; more than a line of a second holds at 1 Gbit/s.
const UNDER_WAY: usize = 1 << 17;
/// Bytes that the kernel may hold until the line takes them; a short stop of this process must lose nothing.
const KERNEL_QUEUE: usize = 16 << 20;
/// Datagrams sent without a pause; a receiver with the kernel's usual buffer takes about 90.
const BURST: usize = 24;
/// The pause after them.
const PAUSE: Duration = Duration::from_micros(150);
/// The largest payload of a datagram that fits into a packet of 1,500 bytes.
const DATAGRAM: usize = 1_472;
/// How long a waiting thread takes to notice that the line is gone.
const NOTICE: Duration = Duration::from_millis(200);

/// What a line is like, the same both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// From one end to the other and back.
    pub round_trip: Duration,
    /// Bytes a second.
    pub rate: u64,
}

/// Carries what comes to one address to another one; gone when dropped.
pub struct Carrier {
    /// Where it listens, on loopback.
    pub at: SocketAddr,
    ways: Ways,
}

#[derive(Clone)]
struct Ways {
    out: Arc<Way>,
    back: Arc<Way>,
    over: Arc<AtomicBool>,
}

/// One direction.
struct Way {
    line: Line,
    /// When what has been taken is through, and the next may enter.
    free: Mutex<Instant>,
    carried: AtomicU64,
    lost: AtomicU64,
    is_cut: AtomicBool,
}

impl Line {
    /// Carries connections to `target`.
    ///
    /// # Errors
    ///
    /// If there is no port left.
    pub fn tcp(self, target: SocketAddr) -> io::Result<Carrier> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (at, ways) = (listener.local_addr()?, Ways::new(self));
        let carrier = Carrier {
            at,
            ways: ways.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ways.is_over() {
                    break;
                }
                // One that fails is closed by being dropped.
                let _ = stream.and_then(|stream| connect(stream, target, &ways));
            }
        });
        Ok(carrier)
    }

    /// Carries datagrams to `target`, and answers back to who sent them.
    ///
    /// # Errors
    ///
    /// If there is no port left.
    pub fn udp(self, target: SocketAddr) -> io::Result<Carrier> {
        let socket = Arc::new(udp_socket()?);
        let (at, ways) = (socket.local_addr()?, Ways::new(self));
        let carrier = Carrier {
            at,
            ways: ways.clone(),
        };
        std::thread::spawn(move || outward(&socket, target, &ways));
        Ok(carrier)
    }
}

impl Carrier {
    /// Bytes taken so far, out and back.
    pub fn carried(&self) -> u64 {
        let both = [&self.ways.out, &self.ways.back];
        both.iter().map(|way| way.carried.load(Ordering::Relaxed)).sum()
    }

    /// Lets nothing through any more, either way, and says nothing of it to either side.
    pub fn cut(&self) {
        for way in [&self.ways.out, &self.ways.back] {
            way.is_cut.store(true, Ordering::Relaxed);
        }
    }

    /// Datagrams lost so far, because too many were waiting or they were too large.
    pub fn lost(&self) -> u64 {
        let both = [&self.ways.out, &self.ways.back];
        both.iter().map(|way| way.lost.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.ways.over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect_timeout(&self.at, NOTICE);
    }
}

impl Ways {
    fn new(line: Line) -> Self {
        let way = || {
            Arc::new(Way {
                line,
                free: Mutex::new(Instant::now()),
                carried: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                is_cut: AtomicBool::new(false),
            })
        };
        Self {
            out: way(),
            back: way(),
            over: Arc::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Way {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// When the last of so many bytes arrives; `None` if they would have to wait for more than a round trip.
    fn admit(&self, bytes: usize) -> Option<Instant> {
        let now = Instant::now();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*free).max(now);
        if start - now > self.line.round_trip.max(Duration::from_millis(5)) {
            return None;
        }
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        *free = start + Duration::from_secs_f64(bytes as f64 / self.line.rate as f64);
        Some(*free + self.line.round_trip / 2)
    }
}

fn wait_until(due: Instant) {
    while let Some(left) = due
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}

// -- streams

fn connect(near: TcpStream, target: SocketAddr, ways: &Ways) -> io::Result<()> {
    let far = TcpStream::connect(target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    carry(near.try_clone()?, far.try_clone()?, ways.out.clone());
    carry(far, near, ways.back.clone());
    Ok(())
}

/// Two threads: one takes bytes in while there is room, one gives them out when they are due.
fn carry(mut from: TcpStream, mut to: TcpStream, way: Arc<Way>) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if way.is_cut() {
                continue;
            }
            let due = loop {
                match way.admit(length) {
                    Some(due) => break due,
                    None => std::thread::park_timeout(Duration::from_millis(1)),
                }
            };
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            wait_until(due);
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

// -- datagrams

fn udp_socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // Past the system's limit as root, else up to it.
    if sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_QUEUE).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, KERNEL_QUEUE)?;
    }
    socket.set_read_timeout(Some(NOTICE))?;
    Ok(socket)
}

type Late = (Instant, Vec<u8>);

/// Takes datagrams in at the near end; each sender gets a socket of its own at the far end.
fn outward(socket: &Arc<UdpSocket>, target: SocketAddr, ways: &Ways) {
    let mut senders: HashMap<SocketAddr, SyncSender<Late>> = HashMap::new();
    let mut buffer = vec![0; CHUNK];
    while !ways.is_over() {
        let Ok((length, sender)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let queue = match senders.entry(sender) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match far_end(socket.clone(), sender, target, ways) {
                Ok(queue) => new.insert(queue),
                Err(_) => continue,
            },
        };
        hand_on(&ways.out, queue, &buffer[..length]);
    }
}

fn far_end(
    near: Arc<UdpSocket>,
    sender: SocketAddr,
    target: SocketAddr,
    ways: &Ways,
) -> io::Result<SyncSender<Late>> {
    let far = Arc::new(udp_socket()?);
    far.connect(target)?;
    let (out, due_out) = sync_channel(UNDER_WAY);
    let (back, due_back) = sync_channel(UNDER_WAY);
    let socket = far.clone();
    std::thread::spawn(move || give_out(due_out, |bytes| socket.send(bytes)));
    std::thread::spawn(move || give_out(due_back, |bytes| near.send_to(bytes, sender)));
    let ways = ways.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        while !ways.is_over() {
            if let Ok(length) = far.recv(&mut buffer) {
                hand_on(&ways.back, &back, &buffer[..length]);
            }
        }
    });
    Ok(out)
}

fn hand_on(way: &Way, queue: &SyncSender<Late>, bytes: &[u8]) {
    let passes = bytes.len() <= DATAGRAM && !way.is_cut();
    let taken = passes
        .then(|| way.admit(bytes.len()))
        .flatten()
        .map(|due| queue.try_send((due, bytes.to_vec())));
    if !matches!(taken, Some(Ok(()))) {
        way.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives datagrams out when they are due, with pauses where many are, as a line would.
fn give_out(queue: Receiver<Late>, send: impl Fn(&[u8]) -> io::Result<usize>) {
    let mut at_once = 0;
    for (due, bytes) in queue {
        if due > Instant::now() {
            wait_until(due);
            at_once = 0;
        }
        // One that is refused is one that is lost.
        let _ = send(&bytes);
        at_once += 1;
        if at_once == BURST {
            std::thread::park_timeout(PAUSE);
            at_once = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line {
        round_trip: Duration::from_millis(40),
        rate: 10_000_000,
    };

    #[test]
    fn a_stream_comes_whole_late_and_no_faster_than_the_line() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let carrier = LINE.tcp(server.local_addr().unwrap()).unwrap();
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let began = Instant::now();
        let mut client = TcpStream::connect(carrier.at).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let writer = std::thread::spawn({
            let sent = sent.clone();
            move || {
                client.write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            }
        });
        let mut got = Vec::new();
        accepted.read_to_end(&mut got).unwrap();
        let elapsed = began.elapsed();
        writer.join().unwrap();
        assert!(got == sent, "every byte, in order");
        // 100 ms at that rate, and 20 ms one way.
        assert!(elapsed >= Duration::from_millis(119), "{elapsed:?}");
        assert_eq!(carrier.carried(), 1_000_000);
    }

    #[test]
    fn a_datagram_and_its_answer_take_a_round_trip_and_a_flood_is_lost() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let carrier = LINE.udp(server.local_addr().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let began = Instant::now();
        client.send_to(b"question", carrier.at).unwrap();
        let mut buffer = [0; 1500];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"question");
        server.send_to(b"answer", from).unwrap();
        let (length, _) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        assert!(began.elapsed() >= LINE.round_trip, "{:?}", began.elapsed());
        // Faster than the line until some of it has no room.
        let patience = Instant::now();
        while carrier.lost() == 0 && patience.elapsed() < Duration::from_secs(10) {
            client.send_to(&[0; 1000], carrier.at).unwrap();
        }
        assert!(carrier.lost() > 0);
    }

    #[test]
    fn nothing_passes_a_line_that_is_cut_nor_a_datagram_that_is_too_large() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let carrier = LINE.udp(server.local_addr().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[1; DATAGRAM + 1], carrier.at).unwrap();
        client.send_to(&[2; DATAGRAM], carrier.at).unwrap();
        let mut buffer = [0; 2 * DATAGRAM];
        server.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[0], 2);
        carrier.cut();
        let lost = carrier.lost();
        client.send_to(&[3], carrier.at).unwrap();
        let patience = Instant::now();
        while carrier.lost() == lost && patience.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert_eq!(carrier.lost(), lost + 1);
    }
}
