//! Encodings, digests, and numbers written in other ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ilmenite_base::rng;
use ilmenite_error::{Error, Result};
use ilmenite_types::Datum;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use uuid::Builder;

use super::args::{arg, text};
use super::define::{Typed, pure, t_ascii, t_binary, t_uint, volatile};
use crate::node::{Args, Expr, FuncDef};
use crate::options::BuildOptions;
use crate::{types, value};

pub(super) static FUNCTIONS: &[FuncDef] = &[
    pure("HEX", 1, 1, t_ascii_long, hex_of),
    pure("UNHEX", 1, 1, t_binary, unhex),
    pure("BIN", 1, 1, t_ascii, bin),
    pure("OCT", 1, 1, t_ascii, oct),
    pure("CONV", 3, 3, t_ascii, conv),
    pure("TO_BASE64", 1, 1, t_ascii_long, to_base64),
    pure("FROM_BASE64", 1, 1, t_binary, from_base64),
    pure("MD5", 1, 1, t_ascii, md5),
    pure("SHA1", 1, 1, t_ascii, sha1),
    pure("SHA", 1, 1, t_ascii, sha1),
    pure("SHA2", 2, 2, t_ascii, sha2),
    pure("CRC32", 1, 1, t_uint, crc32),
    pure("INET_ATON", 1, 1, t_uint, inet_aton),
    pure("INET_NTOA", 1, 1, t_ascii, inet_ntoa),
    pure("FORMAT", 2, 3, t_ascii, format_number),
    volatile("UUID", 0, 0, t_ascii, uuid),
];

fn t_ascii_long(args: &mut [Expr], options: &BuildOptions) -> Typed {
    let flen = types::text_length(&args[0].ty).saturating_mul(4);
    let (mut ty, coercibility) = t_ascii(args, options)?;
    ty.flen = flen;
    Ok((ty, coercibility))
}

fn hex_of(a: &Args<'_>) -> Result<Datum> {
    let datum = a.datum(0)?;
    match &*datum {
        Datum::Null => Ok(Datum::Null),
        Datum::Int(_) | Datum::UInt(_) | Datum::Float(_) | Datum::Double(_) | Datum::Decimal(_) => {
            text(format!("{:X}", value::to_bits(&datum, a.ctx)?))
        }
        _ => text(hex::encode_upper(arg!(a.text(0)))),
    }
}

fn unhex(a: &Args<'_>) -> Result<Datum> {
    let digits = arg!(a.text(0));
    let padded = if digits.len() % 2 == 1 {
        [b"0", &digits[..]].concat()
    } else {
        digits.to_vec()
    };
    match hex::decode(padded) {
        Ok(bytes) => text(bytes),
        Err(_) => {
            a.ctx.warn(Error::wrong_value_for_function(
                "string",
                value::shown(&digits),
                "unhex",
            ));
            Ok(Datum::Null)
        }
    }
}

fn bin(a: &Args<'_>) -> Result<Datum> {
    let n = arg!(a.bits(0));
    text(format!("{n:b}"))
}

fn oct(a: &Args<'_>) -> Result<Datum> {
    let n = arg!(a.bits(0));
    text(format!("{n:o}"))
}

fn conv(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    let (from, to) = (arg!(a.int(1)), arg!(a.int(2)));
    if !(2..=36).contains(&from.unsigned_abs()) || !(2..=36).contains(&to.unsigned_abs()) {
        return Ok(Datum::Null);
    }
    let body = s.trim_start();
    let (negative, body) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    let radix = from.unsigned_abs() as u32;
    let magnitude = body
        .chars()
        .map_while(|c| c.to_digit(radix))
        .fold(0u64, |n, digit| {
            n.checked_mul(u64::from(radix))
                .and_then(|n| n.checked_add(u64::from(digit)))
                .unwrap_or(u64::MAX)
        });
    // A negative base takes the number as signed.
    let bits = match (from < 0, negative) {
        (true, true) => -(magnitude.min(1 << 63) as i128) as i64 as u64,
        (true, false) => magnitude.min(i64::MAX as u64),
        (false, true) => (magnitude as i64).wrapping_neg() as u64,
        (false, false) => magnitude,
    };
    let (sign, mut rest) = if to < 0 && (bits as i64) < 0 {
        ("-", (bits as i64).unsigned_abs())
    } else {
        ("", bits)
    };
    let radix = to.unsigned_abs();
    let mut digits = Vec::new();
    loop {
        let digit = (rest % radix) as u32;
        digits.push(char::from_digit(digit, 36).unwrap_or('0').to_ascii_uppercase());
        rest /= radix;
        if rest == 0 {
            break;
        }
    }
    text(sign.chars().chain(digits.into_iter().rev()).collect::<String>())
}

fn to_base64(a: &Args<'_>) -> Result<Datum> {
    let encoded = STANDARD.encode(arg!(a.text(0)));
    // Lines of 76 characters.
    let lines: Vec<&[u8]> = encoded.as_bytes().chunks(76).collect();
    Ok(a.bounded(encoded.len() as u64, || lines.join(&b"\n"[..])))
}

fn from_base64(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let compact: Vec<u8> = s.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    Ok(STANDARD
        .decode(compact)
        .map_or(Datum::Null, |bytes| Datum::Bytes(bytes.into())))
}

fn sha1(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    text(hex::encode(Sha1::digest(&s)))
}

fn sha2(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let digest = match arg!(a.int(1)) {
        224 => hex::encode(Sha224::digest(&s)),
        0 | 256 => hex::encode(Sha256::digest(&s)),
        384 => hex::encode(Sha384::digest(&s)),
        512 => hex::encode(Sha512::digest(&s)),
        _ => return Ok(Datum::Null),
    };
    text(digest)
}

fn crc32(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::UInt(u64::from(crc32fast::hash(&arg!(a.text(0))))))
}

fn inet_aton(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    let parts: Vec<Option<u64>> = s
        .split('.')
        .map(|part| part.parse::<u64>().ok().filter(|n| *n <= 255))
        .collect();
    let parts: Option<Vec<u64>> = parts.into_iter().collect();
    // Missing parts stand before the last: 127.1 is 127.0.0.1.
    Ok(match parts.as_deref() {
        Some([rest @ .., last]) if rest.len() <= 3 => {
            let high = rest
                .iter()
                .enumerate()
                .map(|(at, n)| n << (24 - 8 * at))
                .sum::<u64>();
            Datum::UInt(high + last)
        }
        _ => {
            a.ctx
                .warn(Error::wrong_value_for_function("string", s, "inet_aton"));
            Datum::Null
        }
    })
}

fn inet_ntoa(a: &Args<'_>) -> Result<Datum> {
    match u32::try_from(arg!(a.int(0))) {
        Ok(n) => text(std::net::Ipv4Addr::from(n).to_string()),
        Err(_) => Ok(Datum::Null),
    }
}

fn format_number(a: &Args<'_>) -> Result<Datum> {
    let decimals = arg!(a.int(1)).clamp(0, 30) as u8;
    let number = match types::eval_type(a.ty(0)) {
        types::EvalType::Real | types::EvalType::String => {
            format!("{:.*}", usize::from(decimals), arg!(a.real(0)))
        }
        _ => arg!(a.decimal(0))
            .round_to(decimals.into())
            .with_scale(decimals)
            .to_string(),
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", &number[..]),
    };
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::with_capacity(number.len() * 4 / 3 + 1);
    for (at, c) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(c);
    }
    text(format!("{sign}{grouped}{fraction}"))
}

fn uuid(_: &Args<'_>) -> Result<Datum> {
    text(Builder::from_random_bytes(rng::bytes()).into_uuid().to_string())
}

fn md5(a: &Args<'_>) -> Result<Datum> {
    text(hex::encode(md5_digest(&arg!(a.text(0)))))
}

/// RFC 1321.
fn md5_digest(message: &Bytes) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 16];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64usize {
            let (mix, word) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), 7 * i % 16),
            };
            // The constants are the whole parts of 2^32 |sin(i + 1)|.
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let rotated = a
                .wrapping_add(mix)
                .wrapping_add(constant)
                .wrapping_add(words[word])
                .rotate_left(SHIFTS[i / 16][i % 4]);
            (a, d, c, b) = (d, c, b, b.wrapping_add(rotated));
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut out = [0u8; 16];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    out
}
