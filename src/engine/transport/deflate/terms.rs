//! What server and client agree on, decided as `ws` decides it.

use std::fmt::Write;

use super::{
    PerMessageDeflate, Unacceptable, WindowBits,
    offers::{NAME, Offer, Parameter, parse},
};

/// The window when nothing is said about it.
const DEFAULT_WINDOW_BITS: u8 = 15;

/// The smallest window that zlib compresses with. It looks back 262 bytes less than its window is
/// large, so what it writes fits a window of 8 bits too.
const LEAST_WINDOW_BITS: u8 = 9;

/// What was agreed on for one connection. The client's window is not in it: a decompressor here has
/// the largest, whatever the client uses of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Whether messages of the server may refer to those before.
    pub(crate) server_takeover: bool,
    /// Whether messages of the client may.
    pub(crate) client_takeover: bool,
    /// The window of the server's messages: 9 to 15.
    pub(crate) window_bits: u8,
}

/// Answers the value of the header `Sec-WebSocket-Extensions`: the terms and the value of the
/// response's header, or `None` if the extension is not asked for.
///
/// # Errors
/// If the header is malformed, and if no offer fits the options.
pub(crate) fn negotiate(
    options: &PerMessageDeflate,
    header: &[u8],
) -> Result<Option<(Terms, String)>, Unacceptable> {
    let offers = parse(header)?;
    if offers.is_empty() {
        return Ok(None);
    }
    let offer = offers.into_iter().find(|offer| fits(options, offer)).ok_or(Unacceptable)?;
    let accepted = accept(options, offer);
    Ok(Some((terms(&accepted), format(&accepted))))
}

/// Whether the options let the server do what an offer asks for.
fn fits(options: &PerMessageDeflate, offer: &Offer) -> bool {
    use WindowBits::{AsOffered, Max, Unlimited};
    let mut client_bits = None;
    for parameter in offer {
        let fits = match *parameter {
            Parameter::ServerNoContextTakeover => options.server_no_context_takeover != Some(false),
            Parameter::ClientNoContextTakeover => true,
            Parameter::ServerMaxWindowBits(asked) => match options.server_max_window_bits {
                AsOffered => true,
                Unlimited => false,
                Max(bits) => bits <= asked,
            },
            Parameter::ClientMaxWindowBits(offered) => {
                client_bits = Some(offered.unwrap_or(DEFAULT_WINDOW_BITS));
                true
            }
        };
        if !fits {
            return false;
        }
    }
    // Only a client that says so understands a limit of its window (RFC 7692 §7.1.2.2).
    match options.client_max_window_bits {
        Max(bits) => client_bits.is_some_and(|offered| bits <= offered),
        AsOffered | Unlimited => true,
    }
}

/// The parameters of the answer: those of the offer in their order, then those of the server.
fn accept(options: &PerMessageDeflate, mut accepted: Offer) -> Offer {
    if options.server_no_context_takeover == Some(true) {
        set(&mut accepted, Parameter::ServerNoContextTakeover);
    }
    if options.client_no_context_takeover {
        set(&mut accepted, Parameter::ClientNoContextTakeover);
    }
    if let WindowBits::Max(bits) = options.server_max_window_bits {
        set(&mut accepted, Parameter::ServerMaxWindowBits(bits));
    }
    match options.client_max_window_bits {
        WindowBits::Max(bits) => set(&mut accepted, Parameter::ClientMaxWindowBits(Some(bits))),
        WindowBits::AsOffered => {
            accepted.retain(|known| *known != Parameter::ClientMaxWindowBits(None));
        }
        WindowBits::Unlimited => {
            accepted.retain(|known| !known.is_like(&Parameter::ClientMaxWindowBits(None)));
        }
    }
    accepted
}

fn set(parameters: &mut Offer, parameter: Parameter) {
    match parameters.iter_mut().find(|known| known.is_like(&parameter)) {
        Some(known) => *known = parameter,
        None => parameters.push(parameter),
    }
}

fn terms(accepted: &Offer) -> Terms {
    let mut terms =
        Terms { server_takeover: true, client_takeover: true, window_bits: DEFAULT_WINDOW_BITS };
    for parameter in accepted {
        match *parameter {
            Parameter::ServerNoContextTakeover => terms.server_takeover = false,
            Parameter::ClientNoContextTakeover => terms.client_takeover = false,
            Parameter::ServerMaxWindowBits(bits) => terms.window_bits = bits.max(LEAST_WINDOW_BITS),
            Parameter::ClientMaxWindowBits(_) => {}
        }
    }
    terms
}

fn format(accepted: &Offer) -> String {
    let mut header = NAME.to_owned();
    for parameter in accepted {
        let written = match parameter {
            Parameter::ServerNoContextTakeover => {
                write!(header, "; server_no_context_takeover")
            }
            Parameter::ClientNoContextTakeover => {
                write!(header, "; client_no_context_takeover")
            }
            Parameter::ServerMaxWindowBits(bits) => {
                write!(header, "; server_max_window_bits={bits}")
            }
            Parameter::ClientMaxWindowBits(Some(bits)) => {
                write!(header, "; client_max_window_bits={bits}")
            }
            Parameter::ClientMaxWindowBits(None) => write!(header, "; client_max_window_bits"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    header
}

#[cfg(test)]
mod tests;
