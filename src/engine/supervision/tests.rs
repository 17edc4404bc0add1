//! Unit tests of [`super`].

use super::*;

#[derive(Default)]
struct Adder {
    sum: u32,
    restarts: u32,
    dies_restarting: bool,
}

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Supervised for Adder {
    fn restarting(&mut self, _: &mut Context<Self>) {
        assert!(!self.dies_restarting, "it cannot be helped");
        self.restarts += 1;
    }
}

/// Adds; 13 brings bad luck.
#[derive(Message)]
#[rtype(result = "(u32, u32)")]
struct Add(u32);

impl Handler<Add> for Adder {
    type Result = MessageResult<Add>;

    fn handle(&mut self, Add(n): Add, _: &mut Self::Context) -> Self::Result {
        assert_ne!(n, 13, "bad luck");
        self.sum += n;
        MessageResult((self.sum, self.restarts))
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct End;

impl Handler<End> for Adder {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[actix_rt::test]
async fn a_panic_costs_the_message_at_which_it_happened_and_nothing_else() {
    let adder = start_supervised(Adder::default());
    // All are in the mailbox before the first is handled.
    let asked = [1, 13, 2, 13, 13, 3].map(|n| adder.send(Add(n)));
    let answers = futures_util::future::join_all(asked).await;
    let answers: Vec<_> = answers.into_iter().map(Result::ok).collect();
    assert_eq!(answers, [Some((1, 0)), None, Some((3, 1)), None, None, Some((6, 3))]);
    assert!(adder.connected());
}

#[actix_rt::test]
async fn an_actor_that_stops_itself_is_not_started_again() {
    let adder = start_supervised(Adder::default());
    adder.send(End).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!adder.connected());
}

#[cfg(feature = "testing")] // which brings the paused clock
#[actix_rt::test]
async fn an_actor_that_panics_too_often_in_a_short_time_ends() {
    tokio::time::pause();
    let adder = start_supervised(Adder::default());
    for _ in 0..3 {
        for _ in 0..RESTARTS {
            assert!(adder.send(Add(13)).await.is_err());
        }
        assert_eq!(adder.send(Add(0)).await.map(|(sum, _)| sum), Ok(0));
        tokio::time::advance(WINDOW).await;
    }
    for _ in 0..=RESTARTS {
        assert!(adder.send(Add(13)).await.is_err());
    }
    tokio::task::yield_now().await;
    assert!(!adder.connected());
}

#[actix_rt::test]
async fn an_actor_that_panics_when_it_is_started_again_ends() {
    let adder = start_supervised(Adder { dies_restarting: true, ..Adder::default() });
    assert!(adder.send(Add(13)).await.is_err());
    tokio::task::yield_now().await;
    assert!(!adder.connected());
}
