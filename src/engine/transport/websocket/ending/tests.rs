use actix_web::error::PayloadError;
use futures_util::{StreamExt, future::poll_fn, stream};

use super::*;

/// How long an end takes if this is all that comes, and whether the client is still there after it.
async fn lasts(mut ending: Ending, chunks: Vec<&'static [u8]>, hangs_up: bool) -> Duration {
    let chunks = stream::iter(chunks).map(|chunk| Ok::<_, PayloadError>(Bytes::from_static(chunk)));
    let stream =
        if hangs_up { chunks.boxed_local() } else { chunks.chain(stream::pending()).boxed_local() };
    let mut payload = Payload::Stream { payload: stream };
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
    let near =
        |lasted: Duration, limit: Duration| lasted.abs_diff(limit) < Duration::from_millis(10);
    assert!(near(lasts(Ending::unanswered(), vec![], false).await, ANSWER_TIMEOUT));
    assert!(near(lasts(Ending::unanswered(), vec![TEXT], false).await, ANSWER_TIMEOUT));
    // After what is no frame no answer can be found.
    assert!(near(lasts(Ending::refused(), vec![CLOSE], false).await, REST_TIMEOUT));
    // Perhaps not all is written.
    assert!(near(lasts(Ending::answered(), vec![], false).await, REST_TIMEOUT));
}
