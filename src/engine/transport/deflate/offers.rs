//! The header `Sec-WebSocket-Extensions` of a request (RFC 6455 §9.1), read as `ws` reads it: what `ws`
//! does not take is malformed here too.

use smallvec::SmallVec;

/// The extension's name; names of extensions are compared exactly.
pub(super) const NAME: &str = "permessage-deflate";

/// The header is malformed, or none of its offers fits the server's options: status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid or unacceptable Sec-WebSocket-Extensions header")]
pub(crate) struct Unacceptable;

/// A parameter of an offer or of its acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    ServerNoContextTakeover,
    ClientNoContextTakeover,
    ServerMaxWindowBits(u8),
    /// Without a number the client leaves it to the server.
    ClientMaxWindowBits(Option<u8>),
}

/// The parameters of one offer, each at most once, in the order they came.
pub(super) type Offer = SmallVec<[Parameter; 4]>;

/// The offers of permessage-deflate, in the client's order. Other extensions are only checked for
/// their syntax.
pub(super) fn parse(header: &[u8]) -> Result<SmallVec<[Offer; 1]>, Unacceptable> {
    // HTTP leaves no white space at the ends of a value; what is left breaks the grammar.
    if header.first().is_none_or(is_space) || header.last().is_some_and(is_space) {
        return Err(Unacceptable);
    }
    let mut offers = SmallVec::new();
    let mut rest = Cursor(header);
    loop {
        rest.skip_space();
        let ours = rest.token()? == NAME.as_bytes();
        rest.skip_space();
        let mut offer = Offer::new();
        while rest.eat(b';') {
            rest.skip_space();
            let name = rest.token()?;
            let value = if rest.eat(b'=') { Some(rest.value()?) } else { None };
            rest.skip_space();
            if ours {
                add(&mut offer, Parameter::read(name, value.as_deref())?)?;
            }
        }
        if ours {
            offers.push(offer);
        }
        if rest.0.is_empty() {
            return Ok(offers);
        }
        if !rest.eat(b',') {
            return Err(Unacceptable);
        }
    }
}

fn add(offer: &mut Offer, parameter: Parameter) -> Result<(), Unacceptable> {
    if offer.iter().any(|known| known.is_like(&parameter)) {
        return Err(Unacceptable);
    }
    offer.push(parameter);
    Ok(())
}

impl Parameter {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn read(name: &[u8], value: Option<&[u8]>) -> Result<Self, Unacceptable> {
        match (name, value) {
            (b"server_no_context_takeover", None) => Ok(Self::ServerNoContextTakeover),
            (b"client_no_context_takeover", None) => Ok(Self::ClientNoContextTakeover),
            (b"server_max_window_bits", Some(bits)) => {
                window_bits(bits).map(Self::ServerMaxWindowBits).ok_or(Unacceptable)
            }
            (b"client_max_window_bits", None) => Ok(Self::ClientMaxWindowBits(None)),
            (b"client_max_window_bits", Some(bits)) => {
                let bits = window_bits(bits).ok_or(Unacceptable)?;
                Ok(Self::ClientMaxWindowBits(Some(bits)))
            }
            _ => Err(Unacceptable),
        }
    }
}

/// A number from 8 to 15 in any form that JavaScript takes for one (RFC 7692 wants plain digits).
fn window_bits(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    let based = |base| {
        let digits = text.get(2..).filter(|digits| !digits.starts_with('+'))?;
        u8::from_str_radix(digits, base).ok()
    };
    let bits = match text.get(..2) {
        Some("0x" | "0X") => based(16)?,
        Some("0o" | "0O") => based(8)?,
        Some("0b" | "0B") => based(2)?,
        _ => {
            let number: f64 = text.parse().ok()?;
            // Within the range the conversion is exact for whole numbers, and shows the others.
            let bits = number as u8;
            (f64::from(bits) == number).then_some(bits)?
        }
    };
    (8..=15).contains(&bits).then_some(bits)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn skip_space(&mut self) {
        let spaces = self.0.iter().take_while(|byte| is_space(byte)).count();
        self.0 = &self.0[spaces..];
    }

    fn token(&mut self) -> Result<&'a [u8], Unacceptable> {
        let length = self.0.iter().take_while(|byte| is_token(byte)).count();
        if length == 0 {
            return Err(Unacceptable);
        }
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(token)
    }

    /// A token, or a quoted one, unescaped (RFC 6455 §9.1: it must be a token then).
    fn value(&mut self) -> Result<SmallVec<[u8; 8]>, Unacceptable> {
        if !self.eat(b'"') {
            return Ok(SmallVec::from_slice(self.token()?));
        }
        let mut value = SmallVec::new();
        loop {
            if self.eat(b'"') {
                return if value.is_empty() { Err(Unacceptable) } else { Ok(value) };
            }
            self.eat(b'\\');
            let (byte, rest) =
                self.0.split_first().filter(|(byte, _)| is_token(byte)).ok_or(Unacceptable)?;
            value.push(*byte);
            self.0 = rest;
        }
    }
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// RFC 9110 §5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
