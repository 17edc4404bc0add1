use super::*;

const A: &str = "https://a.example";
const B: &str = "https://b.example";

/// The answer as text, a line for each header, in the order of their names; a preflight's status
/// comes first.
fn told(cors: &Cors, question: Question<'_>) -> Option<Vec<String>> {
    let answer = cors.answer(&question)?;
    let mut lines: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    lines.sort();
    lines.splice(0..0, answer.status.map(|status| status.to_string()));
    Some(lines)
}

fn from(origin: &str) -> Question<'_> {
    Question { origin: Some(origin.as_bytes()), ..Question::default() }
}

fn preflight<'a>(origin: &'a str, wanted: &'a str) -> Question<'a> {
    let wanted = Some(wanted.as_bytes());
    Question { origin: Some(origin.as_bytes()), preflight: true, wanted_headers: wanted }
}

const NOBODY: Question<'static> = Question { origin: None, preflight: false, wanted_headers: None };

#[test]
fn origins_that_no_browser_says_are_found() {
    for mistaken in [
        "app.example",
        "https://app.example/",
        "https://app.example/page",
        "https://App.example",
        "HTTPS://app.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://*.app.example",
        "http://",
        "",
    ] {
        let cors = Cors::origins([A, mistaken, B]);
        assert_eq!(cors.mistaken_origin(), Some(mistaken));
    }
    let said =
        ["http://localhost:5173", "https://a.example:80", "http://[::1]", "http://[::80]:8080"];
    let of_apps = ["null", "file://", "capacitor://localhost", "chrome-extension://abc"];
    assert_eq!(Cors::origins(said.iter().chain(&of_apps).copied()).mistaken_origin(), None);
    assert_eq!(Cors::origin("https://a.example/").mistaken_origin(), Some("https://a.example/"));
    for cors in [Cors::any(), Cors::reflect(), Cors::matching(|_| false), Cors::decide(|_| false)] {
        assert_eq!(cors.mistaken_origin(), None);
    }
}

#[test]
fn any_origin_is_a_star_for_everybody() {
    for question in [from(A), NOBODY] {
        let told = told(&Cors::any(), question).unwrap();
        assert_eq!(told, ["access-control-allow-origin: *"]);
    }
    assert_eq!(told(&Cors::origin("*"), from(A)), told(&Cors::any(), from(A)));
}

#[test]
fn one_origin_is_announced_to_everybody() {
    for question in [from(A), from(B), NOBODY] {
        let told = told(&Cors::origin(A).credentials(true), question).unwrap();
        let expected = [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://a.example",
            "vary: Origin",
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn of_several_origins_the_one_that_asks_is_announced() {
    let cors = Cors::origins([A, B]);
    let expected = ["access-control-allow-origin: https://b.example", "vary: Origin"];
    assert_eq!(told(&cors, from(B)).unwrap(), expected);
    for other in [from("https://c.example"), from("HTTPS://a.example"), from(""), NOBODY] {
        assert_eq!(told(&cors, other).unwrap(), ["vary: Origin"]);
    }
}

#[test]
fn a_reflected_origin_is_whoever_asks() {
    let expected = ["access-control-allow-origin: null", "vary: Origin"];
    assert_eq!(told(&Cors::reflect(), from("null")).unwrap(), expected);
    assert_eq!(told(&Cors::reflect(), NOBODY).unwrap(), ["vary: Origin"]);
    let latin = Question { origin: Some(b"http://\xe4"), ..NOBODY };
    let cors = Cors::reflect();
    let answer = cors.answer(&latin).unwrap();
    assert_eq!(answer.headers[0].1, &b"http://\xe4"[..]);
}

#[test]
fn a_pattern_announces_what_matches_and_answers_everybody() {
    let cors = Cors::matching(|origin| origin.ends_with(".example"));
    let expected = ["access-control-allow-origin: https://a.example", "vary: Origin"];
    assert_eq!(told(&cors, from(A)).unwrap(), expected);
    assert_eq!(told(&cors, from("https://evil")).unwrap(), ["vary: Origin"]);
    assert_eq!(told(&cors, preflight("https://evil", "")).unwrap()[0], "204");
}

#[test]
fn a_function_that_does_not_accept_leaves_the_request_alone() {
    let cors = Cors::decide(|origin| origin == Some("https://a.example"));
    let expected = ["access-control-allow-origin: https://a.example", "vary: Origin"];
    assert_eq!(told(&cors, from(A)).unwrap(), expected);
    assert_eq!(told(&cors, from(B)), None);
    assert_eq!(told(&cors, preflight(B, "")), None);
    assert_eq!(told(&cors, NOBODY), None);
}

#[test]
fn a_preflight_is_told_the_methods_and_the_headers_it_asked_for() {
    let expected = [
        "204",
        "access-control-allow-headers: x-a, X-B",
        "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
        "access-control-allow-origin: *",
        "vary: Access-Control-Request-Headers",
    ];
    assert_eq!(told(&Cors::any(), preflight(A, "x-a, X-B")).unwrap(), expected);
    let bare = told(&Cors::any(), Question { preflight: true, ..NOBODY }).unwrap();
    assert_eq!(bare.len(), 4, "nothing asked for, nothing allowed: {bare:?}");
}

#[test]
fn every_option_is_told() {
    let cors = Cors::origins([A])
        .methods(["GET", "POST"])
        .allowed_headers(["x-a", "x-b"])
        .exposed_headers(["x-c", "x-d"])
        .credentials(true)
        .max_age(Duration::from_secs(600))
        .options_success_status(200);
    let expected = [
        "200",
        "access-control-allow-credentials: true",
        "access-control-allow-headers: x-a,x-b",
        "access-control-allow-methods: GET,POST",
        "access-control-allow-origin: https://a.example",
        "access-control-expose-headers: x-c,x-d",
        "access-control-max-age: 600",
        "vary: Origin",
    ];
    assert_eq!(told(&cors, preflight(A, "x-z")).unwrap(), expected);
    let expected = [
        "access-control-allow-credentials: true",
        "access-control-allow-origin: https://a.example",
        "access-control-expose-headers: x-c,x-d",
        "vary: Origin",
    ];
    assert_eq!(told(&cors, from(A)).unwrap(), expected);
}

#[test]
fn an_empty_list_is_no_header_and_an_age_of_zero_is_one() {
    let none: [&str; 0] = [];
    let cors = Cors::any().methods(none).allowed_headers(none).max_age(Duration::ZERO);
    let expected = ["204", "access-control-allow-origin: *", "access-control-max-age: 0"];
    assert_eq!(told(&cors, preflight(A, "x-z")).unwrap(), expected);
}

#[test]
fn what_no_header_may_have_is_refused_at_once() {
    let refused = |build: fn() -> Cors| std::panic::catch_unwind(build).is_err();
    assert!(refused(|| Cors::origin("")));
    assert!(refused(|| Cors::origin("a\r\nb")));
    assert!(refused(|| Cors::any().methods(["GET\n"])));
    assert!(refused(|| Cors::any().allowed_headers(["\0"])));
    assert!(refused(|| Cors::any().exposed_headers(["x\x7f"])));
    assert!(refused(|| Cors::any().options_success_status(99)));
}

#[test]
fn the_origin_of_an_address_ends_with_its_authority() {
    let origin = |url: &'static str| origin_of(url.as_bytes()).map(|o| str::from_utf8(o).unwrap());
    assert_eq!(origin("https://a.example:8443/x?y"), Some("https://a.example:8443"));
    assert_eq!(origin("https://a.example"), Some("https://a.example"));
    assert_eq!(origin("https://a.example?x=https://b"), Some("https://a.example"));
    assert_eq!(origin("about:blank"), None);
    assert_eq!(origin(""), None);
}

#[test]
fn a_page_is_the_server_s_own_if_it_names_the_host_that_was_asked() {
    let is_own = |origin: &str, host: &str, secure| {
        Page { origin: origin.as_bytes(), host: host.as_bytes(), secure }.is_own()
    };
    for (origin, host) in [
        ("http://a.example", "a.example"),
        ("https://a.example", "a.example:443"),
        ("http://a.example:80", "A.Example"),
        ("https://a.example:8443", "a.example:8443"),
        ("https://[::1]", "[::1]"),
    ] {
        assert!(is_own(origin, host, false), "{origin} {host}");
    }
    for (origin, host) in [
        ("http://a.example", "b.example"),
        ("http://a.example:443", "a.example"),
        ("http://a.example", "a.example:8080"),
        ("https://", ""),
        ("null", "null"),
        ("a.example", "a.example"),
        ("http://a.example/", "a.example"),
        ("file://a.example", "a.example"),
    ] {
        assert!(!is_own(origin, host, false), "{origin} {host}");
    }
    assert!(is_own("https://a.example", "a.example", true));
    assert!(!is_own("http://a.example", "a.example", true), "a page that TLS did not guard");
}
