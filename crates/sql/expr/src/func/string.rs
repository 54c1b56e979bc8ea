//! String functions.

use bytes::Bytes;
use ilmenite_error::Result;
use ilmenite_types::{Collation, Datum};

use super::args::{arg, int, text};
use super::define::{MANY, Typed, pure, t_ascii, t_first, t_int, t_long, t_long_first, t_sum};
use crate::kernel::compare::Comparer;
use crate::node::{Args, Coercibility, Expr, FuncDef};
use crate::options::BuildOptions;
use crate::typing::{cast, collation};
use crate::{types, value};

pub(super) static FUNCTIONS: &[FuncDef] = &[
    pure("CONCAT", 1, MANY, t_sum, concat),
    pure("CONCAT_WS", 2, MANY, t_sum, concat_ws),
    pure("LENGTH", 1, 1, t_int, length),
    pure("OCTET_LENGTH", 1, 1, t_int, length),
    pure("BIT_LENGTH", 1, 1, t_int, bit_length),
    pure("CHAR_LENGTH", 1, 1, t_int, char_length),
    pure("CHARACTER_LENGTH", 1, 1, t_int, char_length),
    pure("UPPER", 1, 1, t_first, upper),
    pure("UCASE", 1, 1, t_first, upper),
    pure("LOWER", 1, 1, t_first, lower),
    pure("LCASE", 1, 1, t_first, lower),
    pure("SUBSTRING", 2, 3, t_first, substring),
    pure("SUBSTR", 2, 3, t_first, substring),
    pure("MID", 3, 3, t_first, substring),
    pure("LEFT", 2, 2, t_first, left),
    pure("RIGHT", 2, 2, t_first, right),
    pure("TRIM", 1, 2, t_first, trim),
    pure("LTRIM", 1, 2, t_first, ltrim),
    pure("RTRIM", 1, 2, t_first, rtrim),
    pure("LPAD", 3, 3, t_long_first, lpad),
    pure("RPAD", 3, 3, t_long_first, rpad),
    pure("REPLACE", 3, 3, t_long, replace),
    pure("REPEAT", 2, 2, t_long_first, repeat),
    pure("REVERSE", 1, 1, t_first, reverse),
    pure("INSTR", 2, 2, t_int, instr),
    pure("LOCATE", 2, 3, t_int, locate),
    pure("INSERT", 4, 4, t_insert, insert),
    pure("SUBSTRING_INDEX", 3, 3, t_first, substring_index),
    pure("ASCII", 1, 1, t_int, ascii),
    pure("ORD", 1, 1, t_int, ord),
    pure("CHAR", 1, MANY, t_char, char),
    pure("FIELD", 2, MANY, t_field, field),
    pure("FIND_IN_SET", 2, 2, t_int, find_in_set),
    pure("MAKE_SET", 2, MANY, t_make_set, make_set),
    pure("ELT", 2, MANY, t_elt, elt),
    pure("SPACE", 1, 1, t_space, space),
    pure("STRCMP", 2, 2, t_strcmp, strcmp),
    pure("QUOTE", 1, 1, t_long_first, quote),
];

fn t_insert(args: &mut [Expr], options: &BuildOptions) -> Typed {
    let mut both = vec![args[0].clone(), args[3].clone()];
    t_sum(&mut both, options)
}

fn t_char(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let flen = (args.len() * 4).min(i32::MAX as usize) as i32;
    Ok((types::binary(flen), Coercibility::Coercible))
}

/// FIELD compares as numbers when all are numbers, as strings when all are strings, else as doubles.
fn t_field(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let text = |e: &Expr| types::eval_type(&e.ty) == types::EvalType::String;
    if args.iter().all(text) {
        let refs: Vec<&Expr> = args.iter().collect();
        collation::of_operands(&refs, "field")?;
        for arg in args.iter_mut() {
            *arg = cast::members_to_text(arg.clone());
        }
    }
    Ok((types::int(3), Coercibility::Numeric))
}

fn t_make_set(args: &mut [Expr], options: &BuildOptions) -> Typed {
    let mut members = args[1..].to_vec();
    t_sum(&mut members, options)
}

fn t_elt(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let choices: Vec<&Expr> = args[1..].iter().collect();
    let flen = choices
        .iter()
        .map(|a| types::text_length(&a.ty))
        .max()
        .unwrap_or(0);
    collation::string_type(&choices, flen, "elt")
}

fn t_space(_: &mut [Expr], options: &BuildOptions) -> Typed {
    let (mut ty, coercibility) = t_ascii(&mut [], options)?;
    ty.flen = types::MAX_TEXT;
    Ok((ty, coercibility))
}

fn t_strcmp(args: &mut [Expr], _: &BuildOptions) -> Typed {
    collation::of_operands(&[&args[0], &args[1]], "strcmp")?;
    Ok((types::int(2), Coercibility::Numeric))
}

fn concat(a: &Args<'_>) -> Result<Datum> {
    let mut parts = Vec::with_capacity(a.len());
    let mut len = 0u64;
    for at in 0..a.len() {
        let part = arg!(a.text(at));
        len += part.len() as u64;
        parts.push(part);
    }
    if let [only] = &parts[..] {
        return text(only.clone());
    }
    Ok(a.bounded(len, || parts.concat()))
}

fn concat_ws(a: &Args<'_>) -> Result<Datum> {
    let separator = arg!(a.text(0));
    let mut parts = Vec::with_capacity(a.len());
    for at in 1..a.len() {
        parts.extend(a.text(at)?);
    }
    let len: u64 = parts.iter().map(|p| (p.len() + separator.len()) as u64).sum();
    Ok(a.bounded(len, || parts.join(&separator[..])))
}

fn length(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.text(0)).len() as i64)
}

fn bit_length(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.text(0)).len() as i64 * 8)
}

fn char_length(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    int(if a.is_binary(0) { s.len() } else { count_chars(&s) } as i64)
}

fn count_chars(s: &[u8]) -> usize {
    match std::str::from_utf8(s) {
        Ok(s) => s.chars().count(),
        Err(_) => String::from_utf8_lossy(s).chars().count(),
    }
}

fn upper(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    if a.is_binary(0) {
        return text(s);
    }
    // One character stays one: ß has no upper case of its own.
    let single = |c: char| {
        let mut up = c.to_uppercase();
        match (up.next(), up.next()) {
            (Some(u), None) => u,
            _ => c,
        }
    };
    text(
        String::from_utf8_lossy(&s)
            .chars()
            .map(single)
            .collect::<String>(),
    )
}

fn lower(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    if a.is_binary(0) {
        return text(s);
    }
    text(String::from_utf8_lossy(&s).to_lowercase())
}

/// Byte offsets of the characters of a text, and its length at the end.
fn offsets(s: &[u8], binary: bool) -> Vec<usize> {
    if binary || s.is_ascii() {
        return (0..=s.len()).collect();
    }
    // Where a character starts: not at a continuation byte.
    let mut starts: Vec<usize> = (0..s.len()).filter(|at| s[*at] & 0xC0 != 0x80).collect();
    starts.push(s.len());
    starts
}

fn substring(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let start = arg!(a.int(1));
    let count = if a.len() > 2 { arg!(a.int(2)) } else { i64::MAX };
    let offsets = offsets(&s, a.is_binary(0));
    let chars = (offsets.len() - 1) as i64;
    let from = match start {
        0 => return text(""),
        1.. => start - 1,
        _ => chars.saturating_add(start),
    };
    if from < 0 || from >= chars || count <= 0 {
        return text("");
    }
    let to = from.saturating_add(count).min(chars);
    text(s.slice(offsets[from as usize]..offsets[to as usize]))
}

fn left(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let count = arg!(a.int(1)).max(0) as usize;
    let offsets = offsets(&s, a.is_binary(0));
    text(s.slice(..offsets[count.min(offsets.len() - 1)]))
}

fn right(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let count = arg!(a.int(1)).max(0) as usize;
    let offsets = offsets(&s, a.is_binary(0));
    text(s.slice(offsets[(offsets.len() - 1).saturating_sub(count)]..))
}

fn trim_sides(a: &Args<'_>, leading: bool, trailing: bool) -> Result<Datum> {
    let s = arg!(a.text(0));
    let what = if a.len() > 1 {
        arg!(a.text(1))
    } else {
        Bytes::from_static(b" ")
    };
    let (mut from, mut to) = (0, s.len());
    if !what.is_empty() {
        while leading && s[from..to].starts_with(&what) {
            from += what.len();
        }
        while trailing && s[from..to].ends_with(&what) {
            to -= what.len();
        }
    }
    text(s.slice(from..to))
}

fn trim(a: &Args<'_>) -> Result<Datum> {
    trim_sides(a, true, true)
}

fn ltrim(a: &Args<'_>) -> Result<Datum> {
    trim_sides(a, true, false)
}

fn rtrim(a: &Args<'_>) -> Result<Datum> {
    trim_sides(a, false, true)
}

fn pad(a: &Args<'_>, on_the_left: bool) -> Result<Datum> {
    let s = arg!(a.text(0));
    let width = arg!(a.int(1));
    let fill = arg!(a.text(2));
    let binary = a.is_binary(0);
    if width < 0 {
        return Ok(Datum::Null);
    }
    let width = width as u64;
    let offsets_s = offsets(&s, binary);
    let chars = (offsets_s.len() - 1) as u64;
    if width <= chars {
        return text(s.slice(..offsets_s[width as usize]));
    }
    if fill.is_empty() {
        return text("");
    }
    let missing = width - chars;
    // Worst case of bytes to a character, so that nothing too long is ever built.
    let per_char = if binary { 1 } else { 4 };
    if missing.saturating_mul(per_char).saturating_add(s.len() as u64) > a.ctx.max_allowed_packet {
        return Ok(a.bounded(u64::MAX, Vec::new));
    }
    let fill_offsets = offsets(&fill, binary);
    let fill_chars = (fill_offsets.len() - 1) as u64;
    let mut padding = Vec::new();
    for _ in 0..missing / fill_chars {
        padding.extend_from_slice(&fill);
    }
    padding.extend_from_slice(&fill[..fill_offsets[(missing % fill_chars) as usize]]);
    text(if on_the_left {
        [&padding[..], &s[..]].concat()
    } else {
        [&s[..], &padding[..]].concat()
    })
}

fn lpad(a: &Args<'_>) -> Result<Datum> {
    pad(a, true)
}

fn rpad(a: &Args<'_>) -> Result<Datum> {
    pad(a, false)
}

/// Where `needle` stands in `text`, at or after byte `from`.
fn find(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    if needle.is_empty() {
        return Some(from);
    }
    let rest = text.get(from..)?;
    let mut at = 0;
    while at + needle.len() <= rest.len() {
        // Jump to the next place the first byte stands.
        at += rest[at..=rest.len() - needle.len()]
            .iter()
            .position(|b| *b == needle[0])?;
        if rest[at..].starts_with(needle) {
            return Some(from + at);
        }
        at += 1;
    }
    None
}

fn replace(a: &Args<'_>) -> Result<Datum> {
    let (s, from, to) = (arg!(a.text(0)), arg!(a.text(1)), arg!(a.text(2)));
    if from.is_empty() {
        return text(s);
    }
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(found) = find(&s, &from, at) {
        places.push(found);
        at = found + from.len();
    }
    if places.is_empty() {
        return text(s);
    }
    let len = s.len() + places.len() * to.len() - places.len() * from.len();
    Ok(a.bounded(len as u64, || {
        let mut out = Vec::with_capacity(len);
        let mut done = 0;
        for place in &places {
            out.extend_from_slice(&s[done..*place]);
            out.extend_from_slice(&to);
            done = place + from.len();
        }
        out.extend_from_slice(&s[done..]);
        out
    }))
}

fn repeat(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let count = arg!(a.int(1)).max(0) as u64;
    let len = count.saturating_mul(s.len() as u64);
    Ok(a.bounded(len, || s.repeat(count as usize)))
}

fn reverse(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    if a.is_binary(0) {
        let mut bytes = s.to_vec();
        bytes.reverse();
        return text(bytes);
    }
    text(String::from_utf8_lossy(&s).chars().rev().collect::<String>())
}

/// The position of `needle` in `s` from character `from` on, both counted from 1; 0 when it is not there.
fn position(s: &Bytes, needle: &Bytes, from: i64, collation: Collation, binary: bool) -> Result<Datum> {
    let places = offsets(s, binary);
    let chars = (places.len() - 1) as i64;
    if from < 1 || from > chars + 1 {
        return int(0);
    }
    if collation.is_bin() {
        let found = find(s, needle, places[from as usize - 1]);
        let index = found.and_then(|byte| places.binary_search(&byte).ok());
        return int(index.map_or(0, |i| i as i64 + 1));
    }
    let haystack: Vec<char> = String::from_utf8_lossy(s).chars().collect();
    let needle: Vec<char> = String::from_utf8_lossy(needle).chars().collect();
    let same = |at: usize| {
        haystack.get(at..at + needle.len()).is_some_and(|part| {
            part.iter()
                .zip(&needle)
                .all(|(l, r)| collation.chars_equal(*l, *r))
        })
    };
    int((from as usize - 1..=haystack.len())
        .find(|at| same(*at))
        .map_or(0, |at| at as i64 + 1))
}

fn instr(a: &Args<'_>) -> Result<Datum> {
    let (s, needle) = (arg!(a.text(0)), arg!(a.text(1)));
    let collation = collation::of_operands(&[&a.expr.args[0], &a.expr.args[1]], "instr")?;
    position(&s, &needle, 1, collation, a.is_binary(0) || a.is_binary(1))
}

fn locate(a: &Args<'_>) -> Result<Datum> {
    let (needle, s) = (arg!(a.text(0)), arg!(a.text(1)));
    let from = if a.len() > 2 { arg!(a.int(2)) } else { 1 };
    let collation = collation::of_operands(&[&a.expr.args[0], &a.expr.args[1]], "locate")?;
    position(&s, &needle, from, collation, a.is_binary(0) || a.is_binary(1))
}

fn insert(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let (at, count) = (arg!(a.int(1)), arg!(a.int(2)));
    let new = arg!(a.text(3));
    let offsets = offsets(&s, a.is_binary(0));
    let chars = (offsets.len() - 1) as i64;
    if at < 1 || at > chars {
        return text(s);
    }
    let from = at - 1;
    let to = if count < 0 {
        chars
    } else {
        from.saturating_add(count).min(chars)
    };
    let (from, to) = (offsets[from as usize], offsets[to as usize]);
    let len = (s.len() - (to - from) + new.len()) as u64;
    Ok(a.bounded(len, || [&s[..from], &new[..], &s[to..]].concat()))
}

fn substring_index(a: &Args<'_>) -> Result<Datum> {
    let (s, delimiter) = (arg!(a.text(0)), arg!(a.text(1)));
    let count = arg!(a.int(2));
    if delimiter.is_empty() || count == 0 {
        return text("");
    }
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(found) = find(&s, &delimiter, at) {
        places.push(found);
        at = found + delimiter.len();
    }
    if count > 0 {
        let end = usize::try_from(count - 1)
            .ok()
            .and_then(|n| places.get(n).copied());
        return text(s.slice(..end.unwrap_or(s.len())));
    }
    let from_end = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let start = places
        .len()
        .checked_sub(from_end)
        .map(|n| places[n] + delimiter.len());
    text(s.slice(start.unwrap_or(0)..))
}

fn ascii(a: &Args<'_>) -> Result<Datum> {
    int(i64::from(arg!(a.text(0)).first().copied().unwrap_or(0)))
}

fn ord(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.text(0));
    let len = if a.is_binary(0) {
        1.min(s.len())
    } else {
        let places = offsets(&s, false);
        places.get(1).copied().unwrap_or(0)
    };
    int(value::bits_of_bytes(&s[..len]) as i64)
}

fn char(a: &Args<'_>) -> Result<Datum> {
    let mut out = Vec::new();
    for at in 0..a.len() {
        if let Some(n) = a.bits(at)? {
            let bytes = (n as u32).to_be_bytes();
            let skip = bytes.iter().position(|b| *b != 0).unwrap_or(3);
            out.extend_from_slice(&bytes[skip..]);
        }
    }
    text(out)
}

fn field(a: &Args<'_>) -> Result<Datum> {
    let wanted = match a.by_name(0)? {
        Some(wanted) => wanted,
        None => return int(0),
    };
    let kind = |at: usize| types::eval_type(a.ty(at));
    let all = |k: types::EvalType| (0..a.len()).all(|at| kind(at) == k);
    let comparer = if all(types::EvalType::String) {
        let refs: Vec<&Expr> = a.expr.args.iter().collect();
        Comparer::Bytes(collation::of_operands(&refs, "field")?)
    } else if all(types::EvalType::Int) {
        Comparer::Int
    } else {
        Comparer::Real
    };
    for at in 1..a.len() {
        if let Some(candidate) = a.by_name(at)?
            && comparer.order(&wanted, &candidate, a.ctx)?.is_eq()
        {
            return int(at as i64);
        }
    }
    int(0)
}

fn find_in_set(a: &Args<'_>) -> Result<Datum> {
    let (wanted, list) = (arg!(a.text(0)), arg!(a.text(1)));
    let collation = collation::of_operands(&[&a.expr.args[0], &a.expr.args[1]], "find_in_set")?;
    if list.is_empty() {
        return int(0);
    }
    let at = list
        .split(|b| *b == b',')
        .position(|member| collation.compare(member, &wanted).is_eq());
    int(at.map_or(0, |at| at as i64 + 1))
}

fn make_set(a: &Args<'_>) -> Result<Datum> {
    let bits = arg!(a.bits(0));
    let mut members = Vec::new();
    for at in 1..a.len().min(65) {
        if bits >> (at - 1) & 1 == 1 {
            members.extend(a.text(at)?);
        }
    }
    text(members.join(&b","[..]))
}

fn elt(a: &Args<'_>) -> Result<Datum> {
    let n = arg!(a.int(0));
    match usize::try_from(n) {
        Ok(at) if at >= 1 && at < a.len() => text(arg!(a.text(at))),
        _ => Ok(Datum::Null),
    }
}

fn space(a: &Args<'_>) -> Result<Datum> {
    let count = arg!(a.int(0)).max(0) as u64;
    Ok(a.bounded(count, || vec![b' '; count as usize]))
}

fn strcmp(a: &Args<'_>) -> Result<Datum> {
    let (x, y) = (arg!(a.text(0)), arg!(a.text(1)));
    let collation = collation::of_operands(&[&a.expr.args[0], &a.expr.args[1]], "strcmp")?;
    int(collation.compare(&x, &y) as i64)
}

fn quote(a: &Args<'_>) -> Result<Datum> {
    let Some(s) = a.text(0)? else {
        return text("NULL");
    };
    let mut out = Vec::with_capacity(s.len() + 2);
    out.push(b'\'');
    for b in s.iter() {
        match b {
            b'\'' | b'\\' => out.extend([b'\\', *b]),
            0 => out.extend(*b"\\0"),
            0x1A => out.extend(*b"\\Z"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
    text(out)
}
