//! Sessions of this server's clients, deposited with the engine of the cluster ahead of need: who is
//! cut off from here, even because the whole server is gone, may come back to another one.

use std::time::Duration;

use actix::prelude::*;
use hashbrown::{HashMap, HashSet};

use super::{Namespace, messages::RoomEvent, recalling::Asked};
use crate::{
    adapter::{
        link::Operation,
        recovery::{Change, Deposit, Deposited, Offset, Over, Pid, Returned, Settings},
    },
    room::SocketId,
    socket::DataChanged,
};

/// How long changes are collected.
const PAUSE: Duration = Duration::from_millis(20);

/// Sessions that are deposited or renewed at a time, and how long others have their turn then.
const CHUNK: usize = 256;
const TURN: Duration = Duration::from_millis(10);

/// How long to wait when one could not be deposited.
const RETRY: Duration = Duration::from_secs(1);

/// What a namespace has for it.
pub(super) struct Ahead {
    /// The last event of the stream that came, or is known to have been before.
    pub(super) reached: Offset,
    /// Whose rooms or data have changed.
    changed: HashSet<SocketId>,
    /// Whether these are looked at soon.
    is_due: bool,
    due: Recipient<Due>,
    renewing: Vec<Pid>,
    renews: bool,
    /// Clients whose sessions are sought.
    pub(super) asked: HashMap<Pid, Asked>,
}

/// Something has changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Due;

impl Ahead {
    pub(super) fn new(due: Recipient<Due>) -> Self {
        Self {
            reached: Offset::default(),
            changed: HashSet::new(),
            is_due: false,
            due,
            renewing: Vec::new(),
            renews: false,
            asked: HashMap::new(),
        }
    }

    /// A session has to be deposited.
    pub(super) fn change(&mut self, id: &SocketId) {
        self.changed.get_or_insert_with(id, SocketId::clone);
        if !std::mem::replace(&mut self.is_due, true) {
            self.due.do_send(Due);
        }
    }

    pub(super) fn note(&mut self, event: &RoomEvent) {
        if let RoomEvent::Joined { socket, .. } | RoomEvent::Left { socket, .. } = event {
            self.change(socket);
        }
    }
}

/// How long a session stays deposited whose socket is there, and how often that is renewed.
fn lease(settings: &Settings) -> (Duration, Duration) {
    let duration = settings.max_disconnection_duration();
    (duration.saturating_mul(2), (duration / 2).max(Duration::from_millis(500)))
}

impl Handler<DataChanged> for Namespace {
    type Result = ();

    fn handle(&mut self, DataChanged(id): DataChanged, _: &mut Self::Context) {
        self.deposit_soon(&id);
    }
}

impl Handler<Due> for Namespace {
    type Result = ();

    fn handle(&mut self, _: Due, ctx: &mut Self::Context) {
        ctx.run_later(PAUSE, Self::deposit_changed);
    }
}

impl Namespace {
    pub(super) fn ahead(&mut self) -> Option<&mut Ahead> {
        self.keeper.as_mut()?.ahead.as_deref_mut()
    }

    /// The stream has come so far.
    pub(super) fn reach(&mut self, offset: Option<Offset>) {
        if let Some(offset) = offset
            && let Some(ahead) = self.ahead()
        {
            ahead.reached = offset;
        }
    }

    /// Nothing that is before this one will come.
    pub(super) fn reach_at_least(&mut self, offset: Offset) {
        if let Some(ahead) = self.ahead() {
            ahead.reached = ahead.reached.max(offset);
        }
    }

    pub(super) fn deposit_soon(&mut self, id: &SocketId) {
        if let Some(ahead) = self.ahead() {
            ahead.change(id);
        }
    }

    /// A socket is there; old clients cannot come back.
    pub(super) fn deposit_newcomer(&mut self, id: &SocketId, protocol: u8) {
        if let Some(keeper) = &mut self.keeper
            && let Some(ahead) = &mut keeper.ahead
            && protocol != 3
        {
            keeper.store.share(id, ahead.reached);
            ahead.change(id);
        }
    }

    fn deposit_changed(&mut self, ctx: &mut Context<Self>) {
        let Some(ahead) = self.ahead() else { return };
        let ids: Vec<_> = ahead.changed.iter().take(CHUNK).cloned().collect();
        for id in &ids {
            ahead.changed.remove(id);
        }
        ahead.is_due = !ahead.changed.is_empty();
        let again = ahead.is_due;
        for id in &ids {
            self.deposit(id);
        }
        if again {
            ctx.run_later(TURN, Self::deposit_changed);
        }
        self.renew_later(ctx);
    }

    /// Deposits the session of a socket that is there, or whose client may come back.
    fn deposit(&mut self, id: &SocketId) {
        let Some(keeper) = &mut self.keeper else { return };
        let member = self.members.key(id).and_then(|key| self.members.get(key));
        let here = member.and_then(|member| {
            let (socket, rooms) = (&member.socket, member.rooms());
            let returned = Returned { data: socket.data_values(), expires: socket.has_expiry() };
            keeper.store.deposit_here(id, rooms, returned)
        });
        let settings = keeper.store.settings();
        let found = match here {
            Some(deposit) => Some((deposit, lease(settings).0)),
            None => keeper.store.deposit_away(id).map(|(deposit, since)| {
                let gone = keeper.now().saturating_sub(since);
                (deposit, settings.max_disconnection_duration().saturating_sub(gone))
            }),
        };
        let Some((deposit, time_to_live)) = found.filter(|(_, time)| !time.is_zero()) else {
            return;
        };
        let over = match keeper.store.deposited(id) {
            Deposited::Never => Over::Anything,
            Deposited::Perhaps => Over::OwnOrNothing,
            Deposited::Yes => Over::Own,
        };
        if self.put(deposit, over, time_to_live)
            && let Some(keeper) = &mut self.keeper
        {
            keeper.store.set_deposited(id, Deposited::Yes);
        } else {
            self.deposit_soon(id);
        }
    }

    fn put(&self, deposit: Deposit, over: Over, time_to_live: Duration) -> bool {
        let change = Change::Put { deposit: Box::new(deposit), over, time_to_live };
        self.link.as_ref().is_some_and(|link| link.submit(Operation::Deposit(change)))
    }

    /// Puts back a session that was taken, and whose client has turned away.
    pub(super) fn put_back(&self, deposit: Deposit) {
        if let Some(keeper) = &self.keeper {
            let time_to_live = keeper.store.settings().max_disconnection_duration();
            // What cannot be put back is counted.
            self.put(deposit, Over::Anything, time_to_live);
        }
    }

    /// Nobody comes back for a session any more.
    pub(super) fn withdraw(&mut self, id: &SocketId) {
        let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.ahead.is_some()) else {
            return;
        };
        if keeper.store.deposited(id) != Deposited::Never
            && let (Some(pid), Some(link)) = (keeper.store.pid(id), &self.link)
        {
            link.submit(Operation::Deposit(Change::Withdraw(pid.clone())));
        }
    }

    /// A session could not be deposited.
    pub(super) fn deposit_again(&mut self, id: SocketId, ctx: &mut Context<Self>) {
        if let Some(keeper) = &mut self.keeper {
            keeper.store.set_deposited(&id, Deposited::Perhaps);
        }
        ctx.run_later(RETRY, move |namespace, _| namespace.deposit_soon(&id));
    }

    /// The engine was away.
    pub(super) fn deposit_all(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let Some(ahead) = &mut keeper.ahead else { return };
        for id in keeper.store.doubt_deposits() {
            ahead.change(&id);
        }
    }

    /// Has sessions stay deposited, as long as there are some.
    fn renew_later(&mut self, ctx: &mut Context<Self>) {
        let Some(keeper) = &mut self.keeper else { return };
        let interval = lease(keeper.store.settings()).1;
        let Some(ahead) = &mut keeper.ahead else { return };
        if std::mem::replace(&mut ahead.renews, true) {
            return;
        }
        ctx.run_later(interval, |namespace, ctx| {
            let Some(keeper) = &mut namespace.keeper else { return };
            let Some(ahead) = &mut keeper.ahead else { return };
            ahead.renewing = keeper.store.deposited_here();
            namespace.renew(ctx);
        });
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        let Some(keeper) = &mut self.keeper else { return };
        let time_to_live = lease(keeper.store.settings()).0;
        let Some(ahead) = &mut keeper.ahead else { return };
        let begin = ahead.renewing.len().saturating_sub(CHUNK);
        let pids = ahead.renewing.split_off(begin);
        let (any, more) = (!pids.is_empty(), begin > 0);
        if let Some(link) = self.link.as_ref().filter(|_| any) {
            // If it is lost, there is a next time before they end.
            link.submit(Operation::Deposit(Change::Renew { pids, time_to_live }));
        }
        if more {
            ctx.run_later(TURN, Self::renew);
            return;
        }
        ahead.renewing = Vec::new();
        ahead.renews = false;
        if any {
            self.renew_later(ctx);
        }
    }

    /// The actor has panicked: its timers are gone.
    pub(super) fn renew_ahead(&mut self, ctx: &mut Context<Self>) {
        let Some(ahead) = self.ahead() else { return };
        ahead.renews = false;
        if ahead.is_due {
            ctx.run_later(PAUSE, Self::deposit_changed);
        }
        self.renew_later(ctx);
        self.give_up_recalls(ctx);
    }
}
