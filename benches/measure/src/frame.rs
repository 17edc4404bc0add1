//! WebSocket frames: masked text out, unmasked whatever in.
use crate::Result;

pub const TEXT: u8 = 1;

/// Appends one text frame, masked as a client must.
pub fn push_text(out: &mut Vec<u8>, text: &[u8], mask: [u8; 4]) {
    out.push(0x80 | TEXT);
    match text.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        longer => {
            let length = u16::try_from(longer).expect("no message of ours is longer than 64 KiB");
            out.push(0x80 | 126);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// One frame of the server.
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes that it takes, header included.
    pub size: usize,
}

/// The frame at the start of `bytes`, if all of it is there.
pub fn first(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let [head, length, rest @ ..] = bytes else { return Ok(None) };
    if head & 0xf0 != 0x80 || length & 0x80 != 0 {
        return Err(format!("a frame that starts with {head:02x} {length:02x}").into());
    }
    let (length, header) = match (length, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]).try_into()?, 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(*short), 2),
    };
    let size = header + length;
    let payload = bytes.get(header..size);
    Ok(payload.map(|payload| Frame { opcode: head & 0x0f, payload, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_masked() {
        let mut out = Vec::new();
        push_text(&mut out, b"abc", [1, 2, 3, 4]);
        assert_eq!(out, [0x81, 0x83, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3]);
    }

    #[test]
    fn lengths_above_125_take_two_bytes() {
        let mut out = Vec::new();
        push_text(&mut out, &[b'x'; 300], [0; 4]);
        assert_eq!(out[..8], [0x81, 0x80 | 126, 1, 44, 0, 0, 0, 0]);
        assert_eq!(out.len(), 308);
    }

    #[test]
    fn a_frame_is_read_when_complete() {
        let mut bytes = vec![0x81, 126, 0, 200];
        bytes.extend([b'y'; 200]);
        for end in 0..bytes.len() {
            assert!(first(&bytes[..end]).unwrap().is_none());
        }
        bytes.push(0x81);
        let frame = first(&bytes).unwrap().unwrap();
        assert_eq!((frame.opcode, frame.payload, frame.size), (TEXT, &[b'y'; 200][..], 204));
    }

    #[test]
    fn fragments_and_masks_are_refused() {
        assert!(first(&[0x01, 0]).is_err());
        assert!(first(&[0x81, 0x80]).is_err());
    }
}
