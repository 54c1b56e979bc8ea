//! Weights of characters: base letters, case folded.

use std::iter::FusedIterator;

use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// ASCII's printable characters but letters, in the order of the Unicode Collation Algorithm.
const ASCII_ORDER: &[u8] = b"\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";

/// Weight of each ASCII character: its place in `ASCII_ORDER`, letters after that; 0 (ignored) for control characters.
static ASCII_WEIGHTS: [u8; 128] = {
    let mut table = [0u8; 128];
    let mut i = 0;
    while i < ASCII_ORDER.len() {
        table[ASCII_ORDER[i] as usize] = i as u8 + 1;
        i += 1;
    }
    let mut letter = 0;
    while letter < 26 {
        let weight = (ASCII_ORDER.len() + 1) as u8 + letter;
        table[(b'a' + letter) as usize] = weight;
        table[(b'A' + letter) as usize] = weight;
        letter += 1;
    }
    table
};

/// The characters of a text, U+FFFD for each byte that is not UTF-8.
struct Chars<'a> {
    rest: &'a [u8],
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let first = *self.rest.first()?;
        let len = match first {
            0..0x80 => {
                self.rest = &self.rest[1..];
                return Some(first as char);
            }
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => 1,
        };
        let decoded = self
            .rest
            .get(..len)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| text.chars().next());
        match decoded {
            Some(c) => {
                self.rest = &self.rest[len..];
                Some(c)
            }
            None => {
                self.rest = &self.rest[1..];
                Some(char::REPLACEMENT_CHARACTER)
            }
        }
    }
}

/// The base letter of a character: decomposed, without its marks.
fn base(c: char) -> char {
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) => u,
        // More than one letter: general_ci maps characters one to one.
        _ => c,
    }
}

/// One weight a character: the upper-case base letter; U+FFFD for all beyond the basic plane.
pub(super) fn general_weights(text: &[u8]) -> impl Iterator<Item = u16> + '_ {
    Chars { rest: text }.map(|c| {
        let folded = match c {
            '\0'..='\x7f' => c.to_ascii_uppercase(),
            'ß' => 'S',
            'µ' => '\u{39c}',
            _ => upper(base(upper(c))),
        };
        u16::try_from(u32::from(folded)).unwrap_or(0xfffd)
    })
}

/// Weights of base letters, with the expansions of letters that stand for two; marks weigh nothing.
pub(super) fn unicode_weights(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    UnicodeWeights {
        chars: Chars { rest: text },
        pending: 0,
    }
    .filter(|w| *w != 0)
}

struct UnicodeWeights<'a> {
    chars: Chars<'a>,
    /// The second half of an expansion.
    pending: u32,
}

impl Iterator for UnicodeWeights<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.pending != 0 {
            return Some(std::mem::take(&mut self.pending));
        }
        let c = self.chars.next()?;
        if c.is_ascii() {
            return Some(ascii(c as u8));
        }
        let pair = match c {
            'ß' | 'ẞ' => b"ss",
            'æ' | 'Æ' => b"ae",
            'œ' | 'Œ' => b"oe",
            'ĳ' | 'Ĳ' => b"ij",
            'þ' | 'Þ' => b"th",
            _ => return Some(single(c)),
        };
        self.pending = ascii(pair[1]);
        Some(ascii(pair[0]))
    }
}

impl FusedIterator for UnicodeWeights<'_> {}

/// Weight of an ASCII character: below 0x80, and 0 for one that does not count.
pub(super) fn ascii_weight(b: u8) -> u8 {
    ASCII_WEIGHTS[usize::from(b & 0x7f)]
}

fn ascii(b: u8) -> u32 {
    u32::from(ascii_weight(b))
}

fn single(c: char) -> u32 {
    let letter = match c {
        'ø' | 'Ø' => 'o',
        'đ' | 'Đ' => 'd',
        'ł' | 'Ł' => 'l',
        'ħ' | 'Ħ' => 'h',
        'ı' => 'i',
        'ς' => 'Σ',
        _ => base(c),
    };
    if is_combining_mark(letter) {
        return 0;
    }
    let folded = base(upper(letter));
    if folded.is_ascii() {
        ascii(folded as u8)
    } else {
        u32::from(folded)
    }
}

/// Appends a weight as UTF-8 would be, so that bytes compare as weights do; most take one byte.
pub(super) fn push_weight(weight: u32, out: &mut Vec<u8>) {
    match weight {
        0..0x80 => out.push(weight as u8),
        0x80..0x800 => out.extend([0xc0 | (weight >> 6) as u8, 0x80 | (weight & 0x3f) as u8]),
        0x800..0x1_0000 => out.extend([
            0xe0 | (weight >> 12) as u8,
            0x80 | (weight >> 6 & 0x3f) as u8,
            0x80 | (weight & 0x3f) as u8,
        ]),
        _ => out.extend([
            0xf0 | (weight >> 18 & 7) as u8,
            0x80 | (weight >> 12 & 0x3f) as u8,
            0x80 | (weight >> 6 & 0x3f) as u8,
            0x80 | (weight & 0x3f) as u8,
        ]),
    }
}
