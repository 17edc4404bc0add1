//! What the layer above a session is asked for and told.

use std::time::Duration;

use actix::prelude::*;

use super::Link;
use crate::engine::{packet::Message, session::CloseReason, transport::Transport};

/// What speaks through a session. Everything runs on the session's own worker.
pub(crate) trait Protocol: Sized + Unpin + 'static {
    /// The session is open; its open packet has been queued.
    fn opened(link: &mut Link<Self>, ctx: &mut Context<Link<Self>>);
    /// A message came from the client.
    fn message(link: &mut Link<Self>, message: Message, ctx: &mut Context<Link<Self>>);
    /// So many packets or frames came that are no messages: heartbeats, pings, parts of messages. They
    /// only count. `bytes` are those that come with no message.
    fn aside(_link: &mut Link<Self>, _count: u32, _bytes: usize, _ctx: &mut Context<Link<Self>>) {}
    /// Something happened to the session that is no message.
    fn noticed(link: &mut Link<Self>, event: ConnectionEvent, ctx: &mut Context<Link<Self>>);
    /// The session has ended, for whatever reason, exactly once. The protocol calls
    /// [`Link::finish`] when it has nothing more to do.
    fn closed(link: &mut Link<Self>, reason: CloseReason, ctx: &mut Context<Link<Self>>);
    /// Called in every turn of the session, before it reads.
    fn turn(link: &mut Link<Self>, ctx: &mut Context<Link<Self>>);
    /// When something is due, counted from the opening of the session; never if it does not say.
    fn deadline(&self) -> Duration {
        Duration::MAX
    }
    /// The deadline has come. Another one has to be set, or it comes again at once.
    fn due(_link: &mut Link<Self>, _ctx: &mut Context<Link<Self>>) {}
    /// Whether more may be read now. If not, it calls [`Pipe::nudge`] when it can.
    fn ready(&self) -> bool;
    /// What is in flight: listeners under way, answers that either side waits for.
    fn in_flight(link: &Link<Self>) -> usize;
    /// The session is to end as soon as nothing is in flight.
    fn draining(link: &mut Link<Self>);
}

/// What happens to a connection besides its messages and its end.
///
/// ```no_run
/// use greenroom::{ConnectionEvent, prelude::*};
///
/// fn watch(socket: &Socket) {
///     socket.on_connection_event(|socket: Socket, event: ConnectionEvent| async move {
///         if let ConnectionEvent::Upgraded(transport) = event {
///             println!("{} is on {transport}", socket.id());
///         }
///     });
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The session has moved to this transport.
    Upgraded(Transport),
    /// The client has answered a ping; in revision 3, it has sent one.
    Heartbeat,
    /// All that waited for the client has been handed to its transport: the time to send more, for
    /// whoever has much to send.
    Drained,
    /// More waits for the client than its outbox should hold: it is closed if it does not catch up,
    /// or events are dropped, see [`WhenFull`](crate::WhenFull).
    Slow,
    /// A slow client has read until no more than half of the bounds waited.
    CaughtUp,
    /// The session has ended, for this reason. Sockets that have left before are not told.
    Closed(CloseReason),
}
