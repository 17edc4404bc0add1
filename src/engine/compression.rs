//! Compression of polling bodies: what the client takes, and the bytes.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

/// A content coding that the server can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    /// The format of zlib, as RFC 9110 and the reference mean it.
    Deflate,
}

impl Encoding {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The best coding for `Accept-Encoding`: the one that the client likes best, then the one that
    /// it names first, then gzip; `None` if it takes neither, or says nothing.
    pub(crate) fn choose(accept: &str) -> Option<Self> {
        let mut best: Option<(Self, Preference)> = None;
        for encoding in [Self::Gzip, Self::Deflate] {
            let Some(found) = preference(encoding.as_str(), accept) else { continue };
            let rank = |p: &Preference| (p.quality, p.exact, std::cmp::Reverse(p.place));
            if best.as_ref().is_none_or(|(_, best)| rank(&found) > rank(best)) {
                best = Some((encoding, found));
            }
        }
        best.map(|(encoding, _)| encoding)
    }

    /// The bytes in this coding.
    pub(crate) fn encode(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let out = Vec::with_capacity(bytes.len() / 4);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

/// How much the client that says `accept` likes a coding; `None` if it does not take it.
#[cfg(feature = "client")]
pub(crate) fn liking(accept: &str, coding: &str) -> Option<f32> {
    preference(coding, accept).map(|preference| preference.quality)
}

/// What a client thinks of one coding.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Preference {
    quality: f32,
    /// It is named, and not meant by `*`.
    exact: bool,
    place: usize,
}

/// What the header says of a coding; of several entries the most specific, then the best, then the
/// last one counts. `None` if it is not accepted.
fn preference(name: &str, accept: &str) -> Option<Preference> {
    let mut found: Option<Preference> = None;
    for (place, entry) in accept.split(',').enumerate() {
        let (coding, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let coding = coding.trim();
        let exact = coding.eq_ignore_ascii_case(name);
        if !exact && coding != "*" {
            continue;
        }
        let this = Preference { quality: quality(parameters), exact, place };
        let better = |best: &Preference| (exact, this.quality) >= (best.exact, best.quality);
        if found.as_ref().is_none_or(better) {
            found = Some(this);
        }
    }
    found.filter(|preference| preference.quality > 0.0)
}

/// The parameter `q`: 1 if there is none, 0 if it is no number.
fn quality(parameters: &str) -> f32 {
    let pairs = parameters.split(';').map(str::trim);
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    match pairs.find(|(name, _)| *name == "q") {
        Some((_, value)) => {
            value.trim().parse().ok().filter(|q: &f32| q.is_finite()).unwrap_or(0.0)
        }
        None => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    /// Each answer is that of `accepts` 1.3.8, the package that the reference asks.
    #[test]
    fn the_coding_is_chosen_as_the_reference_chooses_it() {
        let (gzip, deflate) = (Some(Encoding::Gzip), Some(Encoding::Deflate));
        let cases = [
            ("gzip", gzip),
            ("deflate", deflate),
            ("gzip, deflate, br", gzip),
            ("deflate, gzip", deflate),
            ("deflate;q=0.5, gzip;q=0.9", gzip),
            ("gzip;q=0.5, deflate;q=0.9", deflate),
            ("gzip;q=0.5, deflate", deflate),
            ("GZIP", gzip),
            ("*", gzip),
            ("*;q=0", None),
            ("br, *;q=0.1", gzip),
            ("gzip;q=0, *", deflate),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=x", None),
            ("gzip;q", None),
            ("gzip;level=9;q=0.1, deflate;q=0.2", deflate),
            ("gzip ; q=0.4 , deflate ; q=0.3", gzip),
            ("*, deflate", deflate),
            ("deflate, *", deflate),
            ("identity", None),
            ("identity;q=1, gzip;q=0.1", gzip),
            ("br", None),
            ("x-gzip", None),
            ("", None),
            (",,;q=1", None),
            ("gzip;q=0.5, gzip;q=0, deflate;q=0.2", gzip),
            ("gzip;q=2, deflate;q=1", gzip),
            ("gzip;q=-1", None),
            ("gzip;Q=0", gzip),
            ("gzip;q=0.5;q=0", gzip),
            ("gzip;q = 0, deflate;q=0.9", gzip),
            ("gz ip, gzip", gzip),
            ("gzip deflate", None),
            ("gzip;q=x, *", deflate),
        ];
        for (accept, expected) in cases {
            assert_eq!(Encoding::choose(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn what_was_encoded_can_be_decoded() {
        let text = "42[\"hello\",\"world\"]\u{1e}".repeat(1000).into_bytes();
        let mut plain = Vec::new();
        let packed = Encoding::Gzip.encode(&text).unwrap();
        assert!(packed.len() < text.len() / 20);
        GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, text);
        plain.clear();
        let packed = Encoding::Deflate.encode(&text).unwrap();
        ZlibDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, text);
    }
}
