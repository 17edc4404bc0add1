use super::*;

const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);
const UPGRADE: Duration = Duration::from_millis(1000);

fn session() -> Session {
    of(Revision::Four)
}

fn of(revision: Revision) -> Session {
    let timing = Timing {
        ping_interval: INTERVAL,
        ping_timeout: TIMEOUT,
        upgrade_timeout: UPGRADE,
        first_release: FIRST_RELEASE,
    };
    Session::new(timing, revision)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn text(data: &str) -> Packet {
    Packet::Message(Message::Text(data.into()))
}

#[test]
fn the_first_ping_comes_after_the_interval_and_the_next_one_after_the_pong() {
    let mut session = session();
    assert_eq!(session.tick(ms(299)), Action::Nothing);
    assert_eq!(session.tick(ms(300)), Action::SendPing);
    assert_eq!(session.packet(|| ms(350), 0, Packet::Pong("".into())), Action::Nothing);
    assert_eq!(session.deadline(), ms(650));
}

#[test]
fn a_missing_pong_ends_the_session() {
    let mut session = session();
    session.tick(ms(300));
    assert_eq!(session.tick(ms(499)), Action::Nothing);
    assert_eq!(session.tick(ms(500)), Action::Close(CloseReason::PingTimeout));
}

#[test]
fn a_pong_that_may_not_have_been_read_gets_the_whole_time_again() {
    let mut session = session();
    session.tick(ms(300));
    assert_eq!(session.tick(ms(500)), Action::Close(CloseReason::PingTimeout));
    assert!(session.postpone_timeout(ms(500)));
    assert_eq!(session.tick(ms(699)), Action::Nothing);
    assert_eq!(session.tick(ms(700)), Action::Close(CloseReason::PingTimeout));
}

#[test]
fn other_traffic_extends_the_wait_for_a_pong_once() {
    let mut session = session();
    session.tick(ms(300));
    session.packet(|| ms(400), 0, text("a"));
    session.packet(|| ms(500), 0, text("b"));
    assert_eq!(session.tick(ms(599)), Action::Nothing);
    assert_eq!(session.tick(ms(600)), Action::Close(CloseReason::PingTimeout));
}

#[test]
fn a_client_that_pings_is_closed() {
    let action = session().packet(|| ms(1), 0, Packet::Ping("".into()));
    assert_eq!(action, Action::Close(CloseReason::TransportError));
}

#[test]
fn an_upgrade_probes_then_switches() {
    let mut session = session();
    session.probe_started(ms(0), 1);
    assert_eq!(session.packet(|| ms(1), 1, Packet::Ping("probe".into())), Action::AnswerProbe);
    assert_eq!(
        session.packet(|| ms(2), 0, text("still polling")),
        Action::Deliver(Message::Text("still polling".into()))
    );
    for (early, due) in [(10, 11), (110, 111), (210, 211)] {
        assert_eq!(session.tick(ms(early)), Action::Nothing);
        assert_eq!(session.tick(ms(due)), Action::ReleasePoll, "a waiting poll, soon and again");
    }
    assert_eq!(session.packet(|| ms(212), 1, Packet::Upgrade), Action::Switch);
    assert!(!session.is_upgrading());
}

#[test]
fn an_upgrade_packet_without_probe_switches_too() {
    let mut session = session();
    session.probe_started(ms(0), 1);
    assert_eq!(session.packet(|| ms(1), 1, Packet::Upgrade), Action::Switch);
}

#[test]
fn anything_else_on_the_probed_transport_only_ends_the_probe() {
    for packet in [Packet::Ping("".into()), text("x"), Packet::Close, Packet::Noop] {
        let mut session = session();
        session.probe_started(ms(0), 1);
        assert_eq!(session.packet(|| ms(1), 1, packet), Action::DropProbe);
        assert!(!session.is_upgrading());
    }
}

#[test]
fn the_whole_upgrade_has_one_deadline() {
    let mut session = session();
    session.probe_started(ms(0), 1);
    session.packet(|| ms(250), 1, Packet::Ping("probe".into()));
    session.packet(|| ms(290), 0, Packet::Pong("".into()));
    session.tick(ms(590));
    session.packet(|| ms(591), 0, Packet::Pong("".into()));
    session.tick(ms(800));
    session.tick(ms(950));
    assert_eq!(session.tick(ms(1000)), Action::DropProbe);
}

#[test]
fn a_ping_in_flight_during_the_upgrade_gets_its_whole_time_again() {
    let mut session = session();
    session.tick(ms(300));
    session.probe_started(ms(310), 1);
    session.packet(|| ms(400), 1, Packet::Upgrade);
    assert_eq!(session.tick(ms(599)), Action::Nothing);
    assert_eq!(session.tick(ms(600)), Action::Close(CloseReason::PingTimeout));
}

#[test]
fn in_revision_3_the_client_pings_and_has_both_times_for_the_next_one() {
    let mut session = of(Revision::Three);
    assert_eq!(session.deadline(), ms(500));
    assert_eq!(session.tick(ms(499)), Action::Nothing);
    let ping = Packet::Ping("data".into());
    assert_eq!(session.packet(|| ms(499), 0, ping), Action::AnswerPing);
    assert_eq!(session.tick(ms(998)), Action::Nothing);
    assert_eq!(session.tick(ms(999)), Action::Close(CloseReason::PingTimeout));
}

#[test]
fn in_revision_3_only_pings_are_signs_of_life_and_a_pong_is_an_error() {
    let mut session = of(Revision::Three);
    session.packet(|| ms(400), 0, text("a"));
    assert_eq!(session.tick(ms(500)), Action::Close(CloseReason::PingTimeout));
    let pong = session.packet(|| ms(100), 0, Packet::Pong("".into()));
    assert_eq!(pong, Action::Close(CloseReason::TransportError));
}

#[test]
fn in_revision_3_an_upgrade_gives_the_whole_time_again() {
    let mut session = of(Revision::Three);
    session.probe_started(ms(100), 1);
    assert_eq!(session.packet(|| ms(110), 1, Packet::Ping("probe".into())), Action::AnswerProbe);
    assert_eq!(session.packet(|| ms(120), 0, Packet::Ping("probe".into())), Action::AnswerPing);
    assert_eq!(session.packet(|| ms(450), 1, Packet::Upgrade), Action::Switch);
    assert_eq!(session.deadline(), ms(950));
    assert!(session.postpone_timeout(ms(950)), "the ping may not have been read");
    assert_eq!(session.deadline(), ms(1450));
}

#[test]
fn what_an_answered_ping_proves_is_what_was_sent_before_that_ping() {
    let mut session = session();
    session.packet(|| ms(100), 0, Packet::Pong("".into()));
    assert_eq!(session.heard(), ms(0), "an answer to no ping proves nothing");
    // Its own pong starts the interval anew.
    assert_eq!(session.tick(ms(400)), Action::SendPing);
    session.packet(|| ms(500), 0, text("a"));
    assert_eq!(session.heard(), ms(0));
    session.packet(|| ms(550), 0, Packet::Pong("".into()));
    assert_eq!(session.heard(), ms(400));
    session.tick(ms(850));
    assert_eq!(session.heard(), ms(400));
}
