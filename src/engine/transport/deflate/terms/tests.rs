use super::*;
use crate::engine::transport::deflate::tests::XorShift;

const D: &str = NAME;

/// What `ws` 8.21 answers, the extension's name left out; `None` for an extension that is not asked
/// for, `Err` for status 400.
fn answer(options: &PerMessageDeflate, header: &str) -> Result<Option<String>, Unacceptable> {
    let answer = negotiate(options, header.as_bytes())?;
    Ok(answer.map(|(_, header)| {
        let rest = header.strip_prefix(D).unwrap();
        rest.strip_prefix("; ").unwrap_or(rest).to_owned()
    }))
}

fn terms(options: &PerMessageDeflate, header: &str) -> Terms {
    negotiate(options, header.as_bytes()).unwrap().unwrap().0
}

#[test]
fn an_offer_is_taken_as_it_is_unless_the_options_say_more() {
    let both = "server_no_context_takeover; client_no_context_takeover";
    let cases = [
        ("", ""),
        ("; client_max_window_bits", ""),
        ("; client_max_window_bits=10", "client_max_window_bits=10"),
        ("; client_max_window_bits=8", "client_max_window_bits=8"),
        ("; server_max_window_bits=8", "server_max_window_bits=8"),
        ("; server_max_window_bits=15", "server_max_window_bits=15"),
        ("; server_no_context_takeover; client_no_context_takeover", both),
        (
            "; client_no_context_takeover; server_max_window_bits=11; server_no_context_takeover; \
             client_max_window_bits",
            "client_no_context_takeover; server_max_window_bits=11; server_no_context_takeover",
        ),
        ("; server_max_window_bits=9, permessage-deflate", "server_max_window_bits=9"),
    ];
    let options = PerMessageDeflate::new();
    for (offer, expected) in cases {
        assert_eq!(answer(&options, &format!("{D}{offer}")), Ok(Some(expected.into())), "{offer}");
    }
}

#[test]
fn the_options_add_to_an_offer_and_replace_its_values_in_place() {
    let options = PerMessageDeflate::new()
        .server_no_context_takeover(true)
        .client_no_context_takeover(true)
        .server_max_window_bits(WindowBits::Max(12))
        .client_max_window_bits(WindowBits::Max(11));
    let cases = [
        (
            "client_max_window_bits",
            "client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=12",
        ),
        (
            "client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=13",
            "client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11; \
             server_no_context_takeover",
        ),
    ];
    for (offer, expected) in cases {
        assert_eq!(answer(&options, &format!("{D}; {offer}")), Ok(Some(expected.into())));
    }
}

#[test]
fn an_offer_that_does_not_fit_the_options_is_passed_over() {
    let new = PerMessageDeflate::new;
    let keeps = new().server_no_context_takeover(false);
    let small = new().server_max_window_bits(WindowBits::Max(12));
    let fixed = new().server_max_window_bits(WindowBits::Unlimited);
    let limits = new().client_max_window_bits(WindowBits::Max(11));
    let refused = [
        (&keeps, "server_no_context_takeover"),
        (&small, "server_max_window_bits=11"),
        (&fixed, "server_max_window_bits=15"),
        (&limits, "client_no_context_takeover"),
        (&limits, "client_max_window_bits=10"),
    ];
    for (options, offer) in refused {
        assert_eq!(answer(options, &format!("{D}; {offer}")), Err(Unacceptable), "{offer}");
        let second = format!("{D}; {offer}, {D}; client_max_window_bits=12");
        assert!(answer(options, &second).unwrap().is_some(), "{offer}");
    }
    let taken = [
        (&keeps, "client_no_context_takeover", "client_no_context_takeover"),
        (&small, "server_max_window_bits=13", "server_max_window_bits=12"),
        (&limits, "client_max_window_bits=11", "client_max_window_bits=11"),
        (&limits, "client_max_window_bits", "client_max_window_bits=11"),
    ];
    for (options, offer, expected) in taken {
        assert_eq!(answer(options, &format!("{D}; {offer}")), Ok(Some(expected.into())), "{offer}");
    }
    // A limit that the server does not want is left out, not refused.
    let unlimited = new().client_max_window_bits(WindowBits::Unlimited);
    assert_eq!(answer(&unlimited, &format!("{D}; client_max_window_bits=9")), Ok(Some("".into())));
}

#[test]
fn headers_are_read_as_ws_reads_them() {
    let options = PerMessageDeflate::new();
    let absent = ["x", "x; a", "x; a=b; a=c", "Permessage-Deflate", "x, y; b=\"c\""];
    for header in absent {
        assert_eq!(answer(&options, header), Ok(None), "{header}");
    }
    let plain = ["foo; bar=1, permessage-deflate", "permessage-deflate , x"];
    for header in plain {
        assert_eq!(answer(&options, header), Ok(Some("".into())), "{header}");
    }
    let malformed = [
        "",
        " ",
        "x;",
        "x,",
        ",x",
        "x, y; b=\"c d\"",
        "x; a=",
        "x; a=b c",
        "x; a = b",
        "x=3",
        "x; a=b=c",
        "x y",
        "é",
        "x; a=\"\"",
        "x; a=\"b",
        "x; a=\"b\"c",
        "x; a=\"b\\",
        "x; a=\"\\ \"",
        " permessage-deflate",
        "permessage-deflate ",
        "permessage-deflate; ",
        "permessage-deflate;",
    ];
    for header in malformed {
        assert_eq!(answer(&options, header), Err(Unacceptable), "{header}");
    }
}

#[test]
fn every_parameter_of_every_offer_must_be_known_and_valid() {
    let options = PerMessageDeflate::new();
    let invalid = [
        "unknown",
        "__proto__",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "client_max_window_bits=",
        "client_max_window_bits=9.5",
        "client_max_window_bits=1_0",
        "client_max_window_bits=0x+9",
        "client_max_window_bits=Infinity",
        "client_max_window_bits=-9",
        "client_max_window_bits=264",
        "client_max_window_bits=nan",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits=9; client_max_window_bits",
    ];
    for parameter in invalid {
        for header in [format!("{D}; {parameter}"), format!("{D}, {D}; {parameter}")] {
            assert_eq!(answer(&options, &header), Err(Unacceptable), "{header}");
        }
    }
    // Whatever JavaScript takes for a number.
    let tens = ["10", "010", "1e1", "+10", "10.0", "10.", ".1e2", "0xa", "0XA", "0o12", "0b1010"];
    let quoted = ["\"10\"", "\"1\\0\"", "\"\\1\\0\"", "10 "];
    for ten in tens.iter().chain(&quoted) {
        let header = format!("{D}; client_max_window_bits={ten}; server_no_context_takeover");
        let expected = "client_max_window_bits=10; server_no_context_takeover";
        assert_eq!(answer(&options, &header), Ok(Some(expected.into())), "{ten}");
    }
}

#[test]
fn terms_say_what_each_side_keeps_and_how_far_the_server_looks_back() {
    let options = PerMessageDeflate::new();
    let all = Terms { server_takeover: true, client_takeover: true, window_bits: 15 };
    assert_eq!(terms(&options, D), all);
    let server = terms(&options, &format!("{D}; server_no_context_takeover"));
    assert_eq!(server, Terms { server_takeover: false, ..all });
    let client = terms(&options, &format!("{D}; client_no_context_takeover"));
    assert_eq!(client, Terms { client_takeover: false, ..all });
    let small = terms(&options, &format!("{D}; server_max_window_bits=10"));
    assert_eq!(small, Terms { window_bits: 10, ..all });
    let least = terms(&options, &format!("{D}; server_max_window_bits=8"));
    assert_eq!(least, Terms { window_bits: 9, ..all });
}

#[test]
#[should_panic(expected = "window bits are 8 to 15, not 16")]
fn a_window_that_does_not_exist_is_refused_at_once() {
    let _ = PerMessageDeflate::new().server_max_window_bits(WindowBits::Max(16));
}

#[test]
fn random_headers_are_answered_or_refused() {
    let mut random = XorShift::new(11);
    let words = [
        D,
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
        "x",
        ";",
        ";",
        ";",
        ",",
        ",",
        "=",
        "\"",
        "\\",
        " ",
        "\t",
        "9",
        "15",
        "1e1",
        "\u{e9}",
    ];
    let options = PerMessageDeflate::new();
    let mut accepted = 0;
    for _ in 0..50_000 {
        let header: String =
            (0..random.below(12)).map(|_| words[random.below(words.len())]).collect();
        accepted += usize::from(answer(&options, &header).is_ok_and(|answer| answer.is_some()));
    }
    assert!(accepted > 50, "{accepted}");
}
