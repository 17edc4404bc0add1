//! Connections whose clients read nothing any more, below HTTP.

use std::{any::Any, io, time::Duration};

use actix_web::{dev::Extensions, rt::net::TcpStream};
use tracing::debug;

/// Drops a connection when nothing that was written to it has been taken by its client for `limit`;
/// to be given to [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
///
/// Without it such a connection, with its file descriptor and what waits in its buffers, is kept as
/// long as the client's system keeps it. A client that does not read loses its session in time whatever
/// it does, and after [`close_timeout`](crate::SocketIoBuilder::close_timeout) its place. But actix-http has
/// no limit for writing, and says nothing to a response of which it has enough to write.
///
/// Nobody is hit who reads, however slowly: every byte that is taken starts the time anew. 30 seconds
/// are a good value; zero is the default of the system (on Linux about a quarter of an hour without
/// any answer, and no limit while the client's system answers that it has no room).
///
/// It is the socket option `TCP_USER_TIMEOUT` and does nothing but on Linux and Android. It knows
/// connections without TLS; for others call [`unread_timeout`] in a closure of your own.
///
/// ```no_run
/// # use std::time::Duration;
/// # use actix_web::{App, HttpServer};
/// # use greenroom::SocketIo;
/// # fn serve(io: SocketIo) {
/// HttpServer::new(move || App::new().service(io.clone()))
///     .on_connect(greenroom::close_unread_after(Duration::from_secs(30)));
/// # }
/// ```
pub fn close_unread_after(
    limit: Duration,
) -> impl Fn(&dyn Any, &mut Extensions) + Clone + Send + Sync + 'static {
    move |stream, _| {
        if let Some(stream) = stream.downcast_ref::<TcpStream>()
            && let Err(error) = unread_timeout(stream, limit)
        {
            // It may be over already.
            debug!(%error, "no time limit for what is not read");
        }
    }
}

/// Drops this connection when nothing that was written to it has been taken by its client for `limit`;
/// see [`close_unread_after`]. Milliseconds count, up to 49 days.
///
/// # Errors
/// What the system answers, for instance when the connection has ended.
pub fn unread_timeout(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limit))?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, limit);
    Ok(())
}
