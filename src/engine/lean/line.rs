//! One connection that has left HTTP's dispatcher: its socket, and the response that it carries.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_codec::{AsyncRead, AsyncWrite, Encoder, Framed, ReadBuf};
use actix_http::{
    ConnectionType, Payload, Request, Response, StatusCode,
    body::MessageBody,
    error::PayloadError,
    h1::{Codec, Message},
};
use actix_web::rt::net::TcpStream;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::timed::Timed;
use crate::engine::queue::Queue;

/// Bytes that are taken of a response before they are written: as much as actix-http takes.
const BURST: usize = 32 * 1024;

/// The size of a thread's buffers.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// What is read goes on as an exact copy, what is written together is put together here: no
    /// connection needs a buffer while nothing happens on it.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// See the module's description.
pub(super) struct Line {
    socket: Rc<RefCell<TcpStream>>,
    codec: Codec,
    out: Out,
}

/// What the client sends behind its request.
struct Input {
    socket: Rc<RefCell<TcpStream>>,
    /// What came together with the request.
    early: Bytes,
}

impl Line {
    /// Takes a connection, and gives its request what comes next as its payload.
    pub(super) fn take(request: Request, framed: Framed<Timed, Codec>) -> (Request, Self) {
        let parts = framed.into_parts();
        let socket = Rc::new(RefCell::new(parts.io.into_inner()));
        let early = Bytes::copy_from_slice(&parts.read_buf);
        let input: Pin<Box<dyn Stream<Item = _>>> =
            Box::pin(Input { socket: Rc::clone(&socket), early });
        let (request, _) = request.replace_payload(Payload::Stream { payload: input });
        let mut out = Out::default();
        // The end of the response before, perhaps.
        out.push(Bytes::copy_from_slice(&parts.write_buf));
        (request, Self { socket, codec: parts.codec, out })
    }

    /// Writes a response, and what its body hands out as long as it does; then the connection ends.
    /// Its client has `patience` for reading the end.
    pub(super) async fn carry<B: MessageBody>(
        self,
        response: Response<B>,
        patience: Duration,
    ) -> io::Result<()> {
        let socket = Rc::clone(&self.socket);
        self.write(response).await?;
        match Rc::try_unwrap(socket) {
            Ok(socket) => part(socket.into_inner(), patience).await,
            // The application keeps the payload: it may read the rest.
            Err(_) => Ok(()),
        }
    }

    async fn write<B: MessageBody>(self, mut response: Response<B>) -> io::Result<()> {
        let Self { socket, mut codec, mut out } = self;
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !upgraded {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let (response, body) = response.into_parts();
        let mut bytes = BytesMut::new();
        codec.encode(Message::Item((response, body.size())), &mut bytes)?;
        out.push(bytes.split().freeze());
        // From an upgrade on, bytes are written as they are.
        let mut codec = (!upgraded).then(|| Box::new(codec));
        let mut body = pin!(body);
        let mut ended = false;
        poll_fn(move |cx| {
            loop {
                while !ended && out.bytes < BURST {
                    match body.as_mut().poll_next(cx) {
                        Poll::Ready(Some(Ok(chunk))) => out.push(match &mut codec {
                            None => chunk,
                            Some(codec) => encoded(codec, Some(chunk))?,
                        }),
                        Poll::Ready(Some(Err(error))) => {
                            return Poll::Ready(Err(io::Error::other(error.into().to_string())));
                        }
                        Poll::Ready(None) => {
                            ended = true;
                            if let Some(codec) = &mut codec {
                                out.push(encoded(codec, None)?);
                            }
                        }
                        Poll::Pending => break,
                    }
                }
                let full = out.bytes >= BURST;
                let mut socket = socket.borrow_mut();
                ready!(out.poll_write(&mut socket, cx))?;
                if ended {
                    return Poll::Ready(Ok::<_, io::Error>(()));
                }
                if !full {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// Closes our side, and takes what still comes until the client has closed its own: a socket that is
/// closed with something unread takes back what the client has not read yet.
async fn part(mut socket: TcpStream, patience: Duration) -> io::Result<()> {
    socket.shutdown().await?;
    let mut dregs = vec![0; 4096];
    let read = async {
        while socket.read(&mut dregs).await? > 0 {}
        Ok(())
    };
    // One that does not close gets no more time.
    timeout(patience, read).await.unwrap_or(Ok(()))
}

fn encoded(codec: &mut Codec, chunk: Option<Bytes>) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    codec.encode(Message::Chunk(chunk), &mut bytes)?;
    Ok(bytes.freeze())
}

/// What waits to be written.
#[derive(Default)]
struct Out {
    chunks: Queue<Bytes>,
    bytes: usize,
    /// Of the first chunk, what has been written.
    written: usize,
}

impl Out {
    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Ready when all is written.
    fn poll_write(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.chunks.front() {
            let socket = Pin::new(&mut *socket);
            let count = if self.chunks.len() == 1 || first.len() >= SCRATCH {
                ready!(socket.poll_write(cx, &first[self.written..]))?
            } else {
                ready!(BUFFER.with_borrow_mut(|buffer| {
                    let length = self.join(buffer);
                    socket.poll_write(cx, &buffer[..length])
                }))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        self.chunks.trim();
        Poll::Ready(Ok(()))
    }

    /// Puts together what fits into the buffer; how much that is.
    fn join(&self, buffer: &mut [u8]) -> usize {
        let mut length = 0;
        let mut from = self.written;
        for chunk in self.chunks.iter() {
            let part = &chunk[from..];
            from = 0;
            let Some(room) = buffer.get_mut(length..length + part.len()) else { break };
            room.copy_from_slice(part);
            length += part.len();
        }
        length
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = self.chunks.front() {
            let left = first.len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            self.chunks.pop();
        }
    }
}

impl Stream for Input {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.early.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.early))));
        }
        let mut socket = self.socket.borrow_mut();
        let read = BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            Pin::new(&mut *socket)
                .poll_read(cx, &mut buffer)
                .map_ok(|()| Bytes::copy_from_slice(buffer.filled()))
        });
        Poll::Ready(match ready!(read) {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some(Ok(bytes)),
            Err(error) => Some(Err(PayloadError::Io(error))),
        })
    }
}
