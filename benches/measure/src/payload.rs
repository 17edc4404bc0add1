//! What messages carry: two numbers, filled up to the size of the workload, so that no two are alike.

/// The digits of the first and of the second number.
const FIRST: usize = 8;
const SECOND: usize = 16;

/// Writes the payload over `out`.
pub fn write(out: &mut Vec<u8>, first: u32, second: u64, size: usize) {
    out.clear();
    out.resize(size, b'0');
    digits(&mut out[..FIRST], u64::from(first));
    digits(&mut out[size - SECOND..], second);
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The numbers of a payload of that size; nothing if a byte of it is not as it was written.
pub fn read(payload: &[u8], size: usize) -> Option<(u32, u64)> {
    if payload.len() != size {
        return None;
    }
    let (first, rest) = payload.split_at(FIRST);
    let (middle, second) = rest.split_at(rest.len() - SECOND);
    let whole = middle.iter().fold(0, |all, byte| all | (byte ^ b'0')) == 0;
    let number = |digits: &[u8]| -> Option<u64> {
        digits.iter().try_fold(0, |number: u64, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| number * 10 + u64::from(digit))
        })
    };
    let (first, second) = (number(first)?, number(second)?);
    whole.then(|| Some((u32::try_from(first).ok()?, second)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_come_back_and_a_changed_byte_is_seen() {
        let mut payload = Vec::new();
        write(&mut payload, 1234, 56_789, 128);
        assert_eq!(payload.len(), 128);
        assert_eq!(read(&payload, 128), Some((1234, 56_789)));
        assert_eq!(read(&payload, 127), None);
        for place in 0..128 {
            let mut changed = payload.clone();
            changed[place] ^= 1;
            assert_ne!(read(&changed, 128), Some((1234, 56_789)));
        }
    }
}
