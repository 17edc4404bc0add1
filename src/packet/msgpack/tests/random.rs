//! Values and bytes made at random: the same in every run.

use serde_json::{Map, Value, json};

use super::*;

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn text(&mut self) -> String {
        let alphabet =
            ['a', '"', '\\', '\n', '\u{0}', 'é', '\u{2028}', '😀', '\u{fffd}', '\u{7f}', '/'];
        let length = [0, 1, 5, 31, 32, 70, 300][self.below(7)];
        (0..self.below(length + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    fn number(&mut self) -> Value {
        let (bits, shift) = (self.next(), self.below(64));
        match self.below(4) {
            0 => json!(bits >> shift),
            1 => json!((bits as i64) >> shift),
            2 => json!((bits >> shift >> 16) as f64 / 8.0 + 0.0625),
            _ => match f64::from_bits(bits) {
                float if float.is_finite() && float.fract() != 0.0 => json!(float),
                _ => json!(-0.5),
            },
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => self.number(),
            3 | 4 => self.text().into(),
            5 | 6 => (0..self.below(20)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let count = self.below(20);
                let map: Map<_, _> =
                    (0..count).map(|_| (self.text(), self.value(depth - 1))).collect();
                Value::Object(map)
            }
        }
    }

    /// One value in msgpack, of any kind.
    fn bytes(&mut self, depth: usize, out: &mut Vec<u8>) {
        let data: Vec<u8> = (0..self.below(40)).map(|_| self.next() as u8).collect();
        match self.below(if depth == 0 { 8 } else { 12 }) {
            0 => out.extend(sent(&(self.value(0),))),
            1 => out.extend(sent(&Bytes::from(data))),
            2 => out.extend(hex("d4 00 07")),
            3 => out.extend([&hex("d7 00 00 00")[..], &self.next().to_be_bytes()[2..]].concat()),
            4 => out.extend([&[0xc7, data.len() as u8, self.next() as u8][..], &data].concat()),
            5 => out.extend([&[0xd9, data.len() as u8][..], &data].concat()),
            6 => out.extend([&[0xcb][..], &self.next().to_be_bytes()].concat()),
            7 => out
                .extend([&[0xd6, self.next() as u8][..], &self.next().to_be_bytes()[..4]].concat()),
            kind => {
                let count = self.below(if kind < 10 { 5 } else { 20 });
                let map = kind % 2 == 0;
                out.extend([if map { 0xde } else { 0xdc }, 0, count as u8]);
                for _ in 0..count {
                    if map {
                        self.key(out);
                    }
                    self.bytes(depth - 1, out);
                }
            }
        }
    }

    fn key(&mut self, out: &mut Vec<u8>) {
        match self.below(10) {
            0 => out.extend(write::text("__proto__")),
            1 => out.extend(write::text("_placeholder")),
            2 => out.extend([0xcd, 1, self.next() as u8]),
            3 => out.extend(hex("a2 c3 28")),
            _ => out.extend(write::text(&self.text())),
        }
    }
}

#[test]
fn json_comes_back_from_msgpack() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..1_000 {
        let value = random.value(3);
        let payload = Payload::event("x", &(&value, 1)).unwrap();
        let packet = written(&Outgoing::Event { namespace: "/", id: None, payload: &payload });
        let Ok(Packet::Event { event, .. }) = read(packet.clone()) else { panic!("{value}") };
        assert!(event.args.parse() == Ok((&value, 1)).map(|(v, n)| (v.clone(), n)), "{value}");
        // Passed on, and made anew.
        let (again, _): (Value, u8) = event.args.parse().unwrap();
        for data in [Payload::event("x", &event.args), Payload::event("x", &(again, 1))] {
            let payload = &data.unwrap();
            let back = written(&Outgoing::Event { namespace: "/", id: None, payload });
            assert!(back == packet, "{value}");
        }
    }
}

/// Uses arguments in every way there is.
fn exercise(random: &mut Random, args: &Args) {
    let passed_on = sent(args);
    let again = try_args(args.len(), &passed_on).unwrap();
    assert_eq!(&again, args);
    assert_eq!(sent(&again), passed_on);
    let cut = random.below(args.len() + 1);
    let (front, back) = (args.take(cut), args.skip(cut));
    assert_eq!([sent(&front), sent(&back)].concat(), passed_on);
    assert_eq!(try_args(cut, &sent(&front)).unwrap(), front);
    let mut both = Args::of(&("a", Bytes::from_static(b"b"), &back)).unwrap();
    both.append(&front);
    both.push(&(&back, &front)).unwrap();
    let [front, back] = [sent(&front), sent(&back)];
    let header = |bytes: &[u8], count: usize| match count {
        0..16 => [&[0x90 | count as u8][..], bytes].concat(),
        _ => [&[0xdc, 0, count as u8][..], bytes].concat(),
    };
    let count = args.len() - cut;
    let nested = [vec![0x92], header(&back, count), header(&front, cut)].concat();
    assert_eq!(
        shown(&sent(&both)),
        shown(&[&hex("a161 c40162")[..], &back, &front, &nested].concat())
    );
    // Each array among the arguments, read as arguments.
    for index in 0..args.len() {
        let Ok(nested) = args.get::<Nested>(index) else { continue };
        let one = sent(&args.skip(index).take(1));
        if !matches!(one[0], 0x90..=0x9f | 0xdc) {
            continue; // an extension
        }
        let bytes = sent(&nested.0);
        assert!(one.ends_with(&bytes), "{} {}", shown(&one), shown(&bytes));
        assert_eq!(try_args(nested.0.len(), &bytes).unwrap(), nested.0);
    }
    let _ = args.parse::<(Option<Bytes>, Value, Args)>();
}

/// One argument that is an array, and not all arguments.
#[derive(serde::Deserialize)]
struct Nested(#[serde(deserialize_with = "array")] Args);

fn array<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Args, D::Error> {
    struct Array;
    impl<'de> serde::de::Visitor<'de> for Array {
        type Value = Args;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<Args, D::Error> {
            serde::Deserialize::deserialize(inner)
        }
        fn visit_none<E: serde::de::Error>(self) -> Result<Args, E> {
            Err(E::custom("nothing"))
        }
    }
    deserializer.deserialize_option(Array)
}

#[test]
fn any_value_is_passed_on() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut sizes = 0;
    for _ in 0..600 {
        let count = random.below(18);
        let mut bytes = Vec::new();
        for _ in 0..count {
            random.bytes(2, &mut bytes);
        }
        let args =
            try_args(count, &bytes).unwrap_or_else(|error| panic!("{error}: {}", shown(&bytes)));
        sizes += bytes.len();
        exercise(&mut random, &args);
    }
    assert!(sizes > 100_000, "{sizes}");
}

#[test]
fn no_mutation_makes_it_panic() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut decoded = 0;
    for _ in 0..20_000 {
        let count = random.below(4);
        let mut packet = event_of(count, &[]);
        for _ in 0..count {
            random.bytes(2, &mut packet);
        }
        for _ in 0..=random.below(3) {
            let at = random.below(packet.len());
            match random.below(4) {
                0 => packet.truncate(at.max(1)),
                1 => packet[at] = random.next() as u8,
                2 if packet.len() > 1 => drop(packet.remove(at)),
                _ => packet.insert(at, random.next() as u8),
            }
        }
        if let Ok(Packet::Event { event, .. }) = read(packet) {
            decoded += 1;
            exercise(&mut random, &event.args);
        }
    }
    assert!(decoded > 1_000, "{decoded} of the packets were valid");
    for _ in 0..50_000 {
        let noise: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
        assert!(read(noise).is_err());
    }
}
