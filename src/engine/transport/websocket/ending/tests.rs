use actix_web::error::PayloadError;
use futures_util::{
    StreamExt,
    future::{Either, poll_fn, select},
    stream::{self, LocalBoxStream},
};

use super::*;

/// How long an end takes if this is all that comes, and whether the client is still there after it.
async fn lasts(mut ending: Ending, chunks: Vec<&'static [u8]>, hangs_up: bool) -> Duration {
    let chunks = stream::iter(chunks);
    let chunks =
        if hangs_up { chunks.boxed_local() } else { chunks.chain(stream::pending()).boxed_local() };
    lasts_with(&mut ending, chunks).await
}

async fn lasts_with(
    ending: &mut Ending,
    chunks: LocalBoxStream<'static, &'static [u8]>,
) -> Duration {
    let chunks = chunks.map(|chunk| Ok::<_, PayloadError>(Bytes::from_static(chunk)));
    let mut payload = Payload::Stream { payload: chunks.boxed_local() };
    let (mut decoder, mut unread) = (Decoder::new(1000), Bytes::new());
    let begun = Instant::now();
    poll_fn(|cx| ending.poll(cx, &mut payload, &mut decoder, &mut unread)).await;
    begun.elapsed()
}

fn certain(ending: Ending) -> Ending {
    Ending { certain: true, ..ending }
}

/// "x", masked with nothing.
const TEXT: &[u8] = &[0x81, 0x81, 0, 0, 0, 0, b'x'];
const CLOSE: &[u8] = &[0x88, 0x80, 0, 0, 0, 0];

#[actix_rt::test]
async fn an_answer_ends_it_at_once() {
    tokio::time::pause();
    assert_eq!(lasts(certain(Ending::answered()), vec![], false).await, Duration::ZERO);
    let answer = vec![TEXT, &CLOSE[..3], &CLOSE[3..], TEXT];
    assert_eq!(lasts(certain(Ending::unanswered()), answer, false).await, Duration::ZERO);
}

#[actix_rt::test]
async fn a_client_that_hangs_up_ends_it() {
    tokio::time::pause();
    assert_eq!(lasts(Ending::unanswered(), vec![TEXT], true).await, Duration::ZERO);
    assert_eq!(lasts(Ending::refused(), vec![TEXT], true).await, Duration::ZERO);
}

#[actix_rt::test]
async fn a_client_that_never_answers_is_waited_for_so_long() {
    tokio::time::pause();
    assert!(near(lasts(Ending::unanswered(), vec![], false).await, ANSWER_TIMEOUT));
    assert!(near(lasts(Ending::unanswered(), vec![TEXT], false).await, ANSWER_TIMEOUT));
    // After what is no frame no answer can be found.
    assert!(near(lasts(Ending::refused(), vec![CLOSE], false).await, REST_TIMEOUT));
    // Perhaps not all is written.
    assert!(near(lasts(Ending::answered(), vec![], false).await, REST_TIMEOUT));
}

fn near(lasted: Duration, limit: Duration) -> bool {
    lasted.abs_diff(limit) < Duration::from_millis(10)
}

#[actix_rt::test]
async fn what_a_client_sends_gives_it_no_more_time() {
    tokio::time::pause();
    for (mut ending, limit) in
        [(Ending::unanswered(), ANSWER_TIMEOUT), (Ending::refused(), REST_TIMEOUT)]
    {
        let often = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Some((TEXT, ()))
        });
        assert!(near(lasts_with(&mut ending, often.boxed_local()).await, limit));
    }
}

#[actix_rt::test]
async fn a_client_that_reads_slowly_has_more_time_but_not_for_ever() {
    tokio::time::pause();
    let mut ending = Ending::unanswered();
    let begun = Instant::now();
    let mut end = Box::pin(lasts_with(&mut ending, stream::pending().boxed_local()));
    // Each turn of actix-http that writes something polls the body.
    loop {
        let turn = Box::pin(tokio::time::sleep(Duration::from_secs(4)));
        match select(end, turn).await {
            Either::Left(_) => break,
            Either::Right((_, rest)) => end = rest,
        }
    }
    assert!(near(begun.elapsed(), LONGEST));
}
