//! One direction's budgets, and those who wait for them.
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use cardume_access::rates::{Budgets, Class, Pacer};
use libp2p_identity::PeerId;
use tokio::sync::{Notify, oneshot};

use super::meter::Meter;

/// Where content goes out, or comes in.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whether there is anything to ask; read for every chunk.
    limited: AtomicBool,
    pacer: Mutex<Pacer<oneshot::Sender<()>>>,
    meter: Meter,
    /// Wakes the server when somebody has begun to wait.
    waits: Arc<Notify>,
}

/// A place in the line; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Pass {
    bytes: u64,
    granted: oneshot::Receiver<()>,
}

impl Gate {
    pub(super) fn new(budgets: Budgets, waits: Arc<Notify>, now: Instant) -> Self {
        Self {
            limited: AtomicBool::new(!budgets.is_unlimited()),
            pacer: Mutex::new(Pacer::new(budgets)),
            meter: Meter::new(now),
            waits,
        }
    }

    /// Whether bytes have to wait at all.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Takes a place in the line for as many of `wanted` bytes as go at once.
    pub(crate) fn ask(&self, peer: PeerId, class: Class, wanted: u64) -> Pass {
        let now = clock();
        let (grant, granted) = oneshot::channel();
        let mut pacer = self.lock();
        let bytes = pacer.budgets().chunk(class).min(wanted);
        pacer.ask(peer, class, bytes, grant, now);
        // Often the line is free, and the server need not be woken.
        if turn(&mut pacer, now).is_some() {
            self.waits.notify_one();
        }
        Pass { bytes, granted }
    }

    /// Waits until so many bytes may go, and counts them.
    pub(super) async fn admit(&self, peer: PeerId, class: Class, mut bytes: u64) {
        self.meter.add(bytes, clock());
        while bytes > 0 && self.is_limited() {
            let mut pass = self.ask(peer, class, bytes);
            let admitted = std::future::poll_fn(|cx| pass.poll(cx)).await;
            bytes = bytes.saturating_sub(admitted.max(1));
        }
    }

    /// Counts bytes that went, waiting or not.
    pub(crate) fn count(&self, bytes: usize) {
        self.meter.add(bytes as u64, clock());
    }

    /// Bytes a second over the last two seconds.
    pub(super) fn per_second(&self) -> u64 {
        self.meter.per_second(clock())
    }

    /// The budgets that hold.
    pub(crate) fn budgets(&self) -> Budgets {
        *self.lock().budgets()
    }

    /// Goes on with other budgets.
    pub(super) fn set(&self, budgets: Budgets, now: Instant) {
        self.lock().set(budgets, now);
        self.limited.store(!budgets.is_unlimited(), Ordering::Relaxed);
    }

    /// Lets through who may go now; when to come again.
    pub(super) fn turn(&self, now: Instant) -> Option<Instant> {
        turn(&mut self.lock(), now)
    }

    fn lock(&self) -> MutexGuard<'_, Pacer<oneshot::Sender<()>>> {
        // A panic inside would leave a place taken for nothing, and no more.
        self.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Waits for the turn; how many bytes may go then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u64> {
        // It fails when nobody keeps the time any more: the node is stopping, and what is left may go.
        Pin::new(&mut self.granted).poll(cx).map(|_| self.bytes)
    }
}

fn turn(pacer: &mut Pacer<oneshot::Sender<()>>, now: Instant) -> Option<Instant> {
    while let Some(grant) = pacer.grant(now, |grant| !grant.is_closed()) {
        // Its owner may go just now; its bytes are then spent for nothing.
        let _ = grant.send(());
    }
    pacer.next(now)
}

/// The time, as tests may have set it.
pub(super) fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}
