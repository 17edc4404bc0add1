//! WebSocket frames: masked out, unmasked in.
use crate::Result;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;

/// Appends one frame, masked as a client must.
pub fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for four in out[start..].chunks_mut(4) {
        for (byte, key) in four.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
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
        push(&mut out, TEXT, b"abcde", [1, 2, 3, 4]);
        let masked = [b'a' ^ 1, b'b' ^ 2, b'c' ^ 3, b'd' ^ 4, b'e' ^ 1];
        assert_eq!(out[..6], [0x81, 0x85, 1, 2, 3, 4]);
        assert_eq!(out[6..], masked);
    }

    #[test]
    fn a_length_takes_as_few_bytes_as_it_can() {
        let header = |length: usize| {
            let mut out = Vec::new();
            push(&mut out, BINARY, &vec![b'x'; length], [0; 4]);
            assert_eq!(out.split_off(out.len() - length), vec![b'x'; length]);
            out
        };
        assert_eq!(header(300), [0x82, 0x80 | 126, 1, 44, 0, 0, 0, 0]);
        assert_eq!(header(70_000), [0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 17, 112, 0, 0, 0, 0]);
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
