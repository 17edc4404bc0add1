//! The application behind a connection's dispatcher, as it is, but for telling when it answers.

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::{
    Request, Response,
    body::{BodySize, MessageBody},
};
use actix_service::{Service, ServiceFactory};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use pin_project_lite::pin_project;

use super::timed::{Answering, Watch};

/// Whatever `app` answers, and the body says when it is written.
pub(super) struct Watched<A, B> {
    app: A,
    of: PhantomData<fn() -> B>,
}

impl<A, B> Watched<A, B> {
    pub(super) fn new(app: A) -> Self {
        Self { app, of: PhantomData }
    }
}

impl<F, B> ServiceFactory<Request> for Watched<F, B>
where
    F: ServiceFactory<Request, Config = ()>,
    F::Future: 'static,
    F::Response: Into<Response<B>>,
    B: MessageBody,
{
    type Response = Response<WatchedBody<B>>;
    type Error = F::Error;
    type Config = ();
    type Service = Watched<F::Service, B>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let made = self.app.new_service(());
        Box::pin(async move { Ok(Watched::new(made.await?)) })
    }
}

impl<S, B> Service<Request> for Watched<S, B>
where
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    B: MessageBody,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = Answer<S::Future, B>;

    actix_service::forward_ready!(app);

    fn call(&self, mut request: Request) -> Self::Future {
        let data = request.take_conn_data();
        let watch = data.as_ref().and_then(|data| data.get::<Rc<Watch>>());
        let answering = watch.map(|watch| Rc::clone(watch).answering());
        Answer { future: self.app.call(request), answering, of: PhantomData }
    }
}

pin_project! {
    /// The answer of [`Watched`].
    pub(super) struct Answer<F, B> {
        #[pin]
        future: F,
        answering: Option<Answering>,
        of: PhantomData<fn() -> B>,
    }
}

impl<F, R, E, B> Future for Answer<F, B>
where
    F: Future<Output = Result<R, E>>,
    R: Into<Response<B>>,
    B: MessageBody,
{
    type Output = Result<Response<WatchedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?.into();
        let answering = this.answering.take();
        Poll::Ready(Ok(response.map_body(|_, body| WatchedBody { body, answering })))
    }
}

pin_project! {
    /// The body of an answer.
    pub(super) struct WatchedBody<B> {
        #[pin]
        body: B,
        answering: Option<Answering>,
    }
}

impl<B: MessageBody> MessageBody for WatchedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.project().body.poll_next(cx)
    }
}
