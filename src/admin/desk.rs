//! What runs behind the interface: one task that takes what happened out of the queue and tells it to
//! those who look.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{error, warn};

use super::{
    Mode,
    authentication::Authentication,
    listing::{Listing, Step},
    sights,
    stats::{self, Stats},
    view::View,
};
use crate::{
    engine::unharmed::{Panicked, unharmed_future},
    metrics::Metrics,
    room::CountSockets,
    server::{SocketIo, WeakSocketIo},
    socket::{
        BroadcastOperator, Socket,
        tap::{Sighting, Tap},
    },
};

/// Things that are shown before the namespace has to keep up.
const SIGHTS_PER_TURN: usize = 128;
/// Requests of the namespace's listeners that wait. There are fewer users.
pub(super) const ORDERS: usize = 1024;
/// How long a client that is slow is left alone before its listing goes on.
const LISTING_PAUSE: Duration = Duration::from_millis(25);
/// How long the task rests after a panic.
const PANIC_PAUSE: Duration = Duration::from_secs(1);
/// How often the whole picture may be sent again because something of it was lost.
const REPAIR_PAUSE: Duration = Duration::from_secs(5);

/// What a listener of the namespace wants done.
#[derive(Debug)]
pub(super) enum Order {
    /// Somebody has come.
    Welcome(Socket),
    /// Somebody has missed something.
    Repeat(Socket),
}

/// What all parts of the interface share.
pub(super) struct Desk {
    pub(super) io: WeakSocketIo,
    pub(super) name: String,
    pub(super) server_id: String,
    pub(super) read_only: bool,
    pub(super) mode: Mode,
    pub(super) clustered: bool,
    pub(super) max_listed: usize,
    pub(super) max_events: u32,
    pub(super) authentication: Authentication,
    pub(super) view: View,
    pub(super) tap: Arc<Tap>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) orders: mpsc::Sender<Order>,
    /// Users of this server.
    pub(super) admins: AtomicUsize,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the task alone has.
pub(super) struct Work {
    pub(super) sightings: mpsc::Receiver<Sighting>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) stats: Stats,
}

impl Desk {
    pub(super) fn io(&self) -> Option<SocketIo> {
        self.io.upgrade()
    }

    pub(super) fn admins(&self) -> usize {
        self.admins.load(Ordering::Relaxed)
    }

    /// Somebody is in the namespace now.
    pub(super) fn arrived(&self) {
        self.admins.fetch_add(1, Ordering::Relaxed);
        self.look();
    }

    /// Shows and counts what happens while there is somebody who looks. In a cluster that may be a
    /// user of another server.
    fn look(&self) {
        let watched = self.clustered || self.admins() > 0;
        if watched != self.metrics.traffic.is_on() {
            self.metrics.traffic.set_on(watched);
            self.tap.refill(self.max_events.into());
            self.tap.set_on(watched && self.mode == Mode::Development);
        }
    }

    pub(super) fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            warn!("the admin interface has too much to do: somebody is not shown the sockets");
        }
    }

    /// What a user may do and see, in the words of the reference.
    pub(super) fn config(&self) -> Value {
        let commands = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];
        let mut features = Vec::new();
        if !self.read_only {
            features.extend(commands);
        }
        features.push("AGGREGATED_EVENTS");
        if self.mode == Mode::Development {
            features.push("ALL_EVENTS");
        }
        json!({ "supportedFeatures": features })
    }
}

/// Runs until the server is dropped. What panics costs the turn that it happens in.
pub(super) async fn run(desk: Arc<Desk>, work: Work) {
    let listings = VecDeque::new();
    let mut shift =
        Shift { desk, work, listings, repaired: None, stats_due: false, counting: false };
    shift.desk.look();
    loop {
        match unharmed_future(shift.work_on()).await {
            Ok(()) => return,
            Err(Panicked(reason)) => {
                shift.desk.metrics.panics.increment();
                error!(reason, "the admin interface panicked, and goes on");
                shift.listings.clear();
                // What panics every time does not keep the thread busy.
                tokio::time::sleep(PANIC_PAUSE).await;
            }
        }
    }
}

/// The state of the task.
struct Shift {
    desk: Arc<Desk>,
    work: Work,
    /// Those who are being shown the sockets, one batch each in turn.
    listings: VecDeque<Listing>,
    /// When the picture was last sent again to all.
    repaired: Option<Instant>,
    /// Every other second.
    stats_due: bool,
    /// Somebody looks since a while.
    counting: bool,
}

enum Event {
    Sightings,
    Order(Option<Order>),
    Second,
    Pause,
}

impl Shift {
    async fn work_on(&mut self) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(SIGHTS_PER_TURN);
        let mut busy = false;
        loop {
            let pause = if busy { Duration::ZERO } else { LISTING_PAUSE };
            let event = tokio::select! {
                _ = self.work.sightings.recv_many(&mut batch, SIGHTS_PER_TURN) => Event::Sightings,
                order = self.work.orders.recv() => Event::Order(order),
                _ = seconds.tick() => Event::Second,
                () = tokio::time::sleep(pause), if !self.listings.is_empty() => Event::Pause,
            };
            // The server has been dropped if there is none.
            let Some(io) = self.desk.io() else { return };
            match event {
                Event::Sightings => self.show(&io, &mut batch).await,
                Event::Order(Some(order)) => self.carry_out(&io, order).await,
                Event::Order(None) => return,
                Event::Second => self.second(&io).await,
                Event::Pause => {}
            }
            busy = self.list(&io).await;
        }
    }

    /// Tells all users what happened, and waits until the namespace has told them.
    async fn show(&mut self, io: &SocketIo, batch: &mut Vec<Sighting>) {
        let shown = (self.desk.tap.is_on()).then(|| io.of(&self.desk.name)).flatten();
        let Some(admins) = shown else { return batch.clear() };
        for sighting in batch.drain(..) {
            sights::show(&self.desk, &admins, sighting);
        }
        self.flush(io).await;
    }

    /// Done when what was sent to the namespace has been handled: this task is not faster than it.
    /// How many users there are.
    async fn flush(&self, io: &SocketIo) -> usize {
        match io.namespace(&self.desk.name) {
            Some(addr) => addr.send(CountSockets).await.unwrap_or_default(),
            None => 0,
        }
    }

    async fn carry_out(&mut self, io: &SocketIo, order: Order) {
        match order {
            Order::Welcome(admin) => {
                self.begin_counting();
                let counted = self.stats_message(io, false).await;
                // It may have left already.
                let _ = admin.emit("server_stats", &counted);
                self.begin_listing(io, admin);
            }
            Order::Repeat(admin) => self.begin_listing(io, admin),
        }
    }

    fn begin_listing(&mut self, io: &SocketIo, admin: Socket) {
        if self.desk.mode != Mode::Development {
            return;
        }
        let under_way = |listing: &Listing| listing.admin == admin;
        if !self.listings.iter().any(under_way) {
            let (clustered, most) = (self.desk.clustered, self.desk.max_listed);
            self.listings.push_back(Listing::new(io, admin, clustered, most));
        }
    }

    /// Goes on with the listings; whether one can go on at once.
    async fn list(&mut self, io: &SocketIo) -> bool {
        let mut busy = false;
        for _ in 0..self.listings.len() {
            let Some(mut listing) = self.listings.pop_front() else { break };
            let step = listing.step(io, &self.desk.view).await;
            busy |= step == Step::More;
            if step != Step::Done {
                self.listings.push_back(listing);
            }
        }
        busy
    }

    async fn second(&mut self, io: &SocketIo) {
        let admins = self.flush(io).await;
        self.desk.admins.store(admins, Ordering::Relaxed);
        self.desk.look();
        if !self.desk.metrics.traffic.is_on() {
            self.counting = false;
            return;
        }
        self.desk.tap.refill(self.desk.max_events.into());
        if self.counting {
            self.work.stats.sample(&self.desk.metrics, SystemTime::now());
        }
        self.begin_counting();
        self.stats_due = !self.stats_due;
        if !self.stats_due {
            let message = self.stats_message(io, true).await;
            if let Some(admins) = io.of(&self.desk.name) {
                tell(&admins.latest("server_stats"), "server_stats", &message);
            }
        }
        self.repair(io).await;
    }

    /// What happened while nobody looked is no news.
    fn begin_counting(&mut self) {
        if !self.counting {
            self.counting = true;
            self.work.stats.reset(&self.desk.metrics);
        }
    }

    async fn stats_message(&mut self, io: &SocketIo, take: bool) -> Value {
        let namespaces = stats::namespaces(io).await;
        let counted = if take { self.work.stats.take() } else { Vec::new() };
        self.work.stats.message(io, &self.desk.metrics, &counted, &namespaces)
    }

    /// Sends the whole picture again if a part of it was lost.
    async fn repair(&mut self, io: &SocketIo) {
        let early = self.repaired.is_some_and(|last| last.elapsed() < REPAIR_PAUSE);
        if early || !self.desk.tap.take_torn() {
            return;
        }
        self.repaired = Some(Instant::now());
        let Some(addr) = io.namespace(&self.desk.name) else { return };
        let everybody = crate::namespace::Sockets(crate::room::Target::everyone());
        for admin in addr.send(everybody).await.unwrap_or_default() {
            self.begin_listing(io, admin);
        }
    }
}

/// Sends to all users.
pub(super) fn tell<T: serde::Serialize>(admins: &BroadcastOperator, event: &str, data: &T) {
    if let Err(error) = admins.emit(event, data) {
        warn!(event, %error, "not shown in the admin interface");
    }
}
