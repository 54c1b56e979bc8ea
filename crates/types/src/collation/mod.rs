//! Collations: how strings compare, and the sort keys that put them in order inside index keys.
//!
//! The `_bin` collations are exact. The case-insensitive ones go by base letters: a string is decomposed, marks are
//! dropped and case is folded, from Unicode's data rather than from MySQL's tables. How close that comes:
//!
//! * `utf8mb4_general_ci` (and its kin, among which `latin1_swedish_ci` is counted): as MySQL for ASCII, Latin, Greek and Cyrillic, the two bytes a character of
//!   MySQL's and TiDB's weights included. Elsewhere MySQL's table leaves some letters apart that are equal here.
//! * `utf8mb4_unicode_ci` and `utf8mb4_0900_ai_ci`: equality as in MySQL for the Latin, Greek and Cyrillic scripts
//!   (ß = ss, æ = ae, ø = o); order as in MySQL for ASCII. Characters outside of ASCII that are not letters of these
//!   scripts sort by code point, after the letters, where MySQL has an order by script. The sort keys are not TiDB's.
//!
//! Since keys are stored, weights must never change for a string once written.

mod weights;

use std::cmp::Ordering;
use std::fmt;

use parking_lot::Mutex;

use weights::{ascii_weight, general_weights, push_weight, unicode_weights};

/// How weights are made from a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    /// The bytes themselves.
    Bytes,
    /// One weight a character, two bytes each.
    General,
    /// Base letters, with expansions.
    Unicode,
    /// Only its name is known.
    Unknown,
}

/// A character set. All strings are kept as UTF-8; the set says which characters a column may hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Charset {
    pub name: &'static str,
    pub description: &'static str,
    /// Bytes a character takes at most.
    pub max_len: u32,
}

const fn charset(name: &'static str, description: &'static str, max_len: u32) -> Charset {
    Charset {
        name,
        description,
        max_len,
    }
}

static ASCII: Charset = charset("ascii", "US ASCII", 1);
static BINARY: Charset = charset("binary", "binary", 1);
static LATIN1: Charset = charset("latin1", "Latin1", 1);
static UTF8MB3: Charset = charset("utf8mb3", "UTF-8 Unicode", 3);
static UTF8MB4: Charset = charset("utf8mb4", "UTF-8 Unicode", 4);

impl Charset {
    /// By name, in any case; `utf8` is `utf8mb3`.
    pub fn by_name(name: &str) -> Option<&'static Charset> {
        let name = if name.eq_ignore_ascii_case("utf8") {
            "utf8mb3"
        } else {
            name
        };
        Charset::all().find(|charset| charset.name.eq_ignore_ascii_case(name))
    }

    /// All there are, by name.
    pub fn all() -> impl Iterator<Item = &'static Charset> {
        [&ASCII, &BINARY, &LATIN1, &UTF8MB3, &UTF8MB4].into_iter()
    }

    pub fn default_collation(&self) -> Collation {
        let own = Collation::all().find(|collation| collation.charset() == self && collation.is_default());
        own.unwrap_or(Collation::BINARY)
    }
}

#[derive(Debug)]
struct Info {
    id: u16,
    name: &'static str,
    charset: &'static Charset,
    is_default: bool,
    algorithm: Algorithm,
    /// Trailing spaces do not count.
    pad_space: bool,
    /// As SHOW COLLATION has it.
    sort_len: u32,
}

const fn info(
    id: u16,
    name: &'static str,
    charset: &'static Charset,
    is_default: bool,
    algorithm: Algorithm,
    pad_space: bool,
    sort_len: u32,
) -> Info {
    Info {
        id,
        name,
        charset,
        is_default,
        algorithm,
        pad_space,
        sort_len,
    }
}

use Algorithm::{Bytes, General, Unicode, Unknown};

/// The one list of collations, by name, as SHOW COLLATION has them.
static ALL: [Info; 13] = [
    info(65, "ascii_bin", &ASCII, true, Bytes, true, 1),
    info(11, "ascii_general_ci", &ASCII, false, General, true, 1),
    info(63, "binary", &BINARY, true, Bytes, false, 1),
    info(47, "latin1_bin", &LATIN1, true, Bytes, true, 1),
    info(8, "latin1_swedish_ci", &LATIN1, false, General, true, 1),
    info(83, "utf8mb3_bin", &UTF8MB3, true, Bytes, true, 1),
    info(33, "utf8mb3_general_ci", &UTF8MB3, false, General, true, 1),
    info(192, "utf8mb3_unicode_ci", &UTF8MB3, false, Unicode, true, 8),
    info(255, "utf8mb4_0900_ai_ci", &UTF8MB4, false, Unicode, false, 0),
    info(309, "utf8mb4_0900_bin", &UTF8MB4, false, Bytes, false, 1),
    info(46, "utf8mb4_bin", &UTF8MB4, true, Bytes, true, 1),
    info(45, "utf8mb4_general_ci", &UTF8MB4, false, General, true, 1),
    info(224, "utf8mb4_unicode_ci", &UTF8MB4, false, Unicode, true, 8),
];

/// Collations of stored schemas that this version does not have, by name: kept so that a schema that names one is still
/// read and written as it is. There are as many as schemas name.
static UNKNOWN: Mutex<Vec<&'static Info>> = Mutex::new(Vec::new());

/// A collation; cheap to copy and compare.
#[derive(Clone, Copy)]
pub struct Collation(&'static Info);

impl Collation {
    pub const BINARY: Collation = Collation(&ALL[2]);
    pub const UTF8MB3_GENERAL_CI: Collation = Collation(&ALL[6]);
    pub const UTF8MB4_BIN: Collation = Collation(&ALL[10]);
    pub const UTF8MB4_GENERAL_CI: Collation = Collation(&ALL[11]);

    /// By name, in any case; `utf8_…` is `utf8mb3_…`.
    pub fn by_name(name: &str) -> Option<Collation> {
        let lower = name.to_ascii_lowercase();
        let wanted = match lower.strip_prefix("utf8_") {
            Some(rest) => format!("utf8mb3_{rest}"),
            None => lower,
        };
        ALL.iter().find(|i| i.name == wanted).map(Collation)
    }

    /// What a stored schema names, whether this version has it or not.
    pub fn stored(charset: &str, name: &str) -> Collation {
        if let Some(known) = Collation::by_name(name) {
            return known;
        }
        let mut unknown = UNKNOWN.lock();
        if let Some(found) = unknown
            .iter()
            .find(|i| i.name == name && i.charset.name == charset)
        {
            return Collation(found);
        }
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let charset: &'static Charset = match Charset::by_name(charset) {
            Some(known) => known,
            None => Box::leak(Box::new(self::charset(leak(charset), "", 4))),
        };
        let made: &'static Info = Box::leak(Box::new(info(0, leak(name), charset, false, Unknown, true, 1)));
        unknown.push(made);
        Collation(made)
    }

    /// By the number the protocol sends.
    pub fn by_id(id: u16) -> Option<Collation> {
        ALL.iter().find(|i| i.id == id).map(Collation)
    }

    /// All there are.
    pub fn all() -> impl Iterator<Item = Collation> {
        ALL.iter().map(Collation)
    }

    /// Can it compare? One that only a stored schema names cannot: what needs its order is refused.
    pub fn is_known(self) -> bool {
        self.0.algorithm != Unknown
    }

    /// MySQL's number.
    pub fn id(self) -> u16 {
        self.0.id
    }

    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub fn charset(self) -> &'static Charset {
        self.0.charset
    }

    /// Is it its character set's default?
    pub fn is_default(self) -> bool {
        self.0.is_default
    }

    /// As SHOW COLLATION has it.
    pub fn sort_len(self) -> u32 {
        self.0.sort_len
    }

    /// Strings of bytes rather than characters.
    pub fn is_binary(self) -> bool {
        self == Collation::BINARY
    }

    /// Compares bytes, trailing spaces perhaps aside: `binary` and all `_bin`.
    pub fn is_bin(self) -> bool {
        matches!(self.0.algorithm, Bytes | Unknown)
    }

    /// Trailing spaces do not count ("PAD SPACE").
    pub fn is_pad_space(self) -> bool {
        self.0.pad_space
    }

    /// Appends the sort key: keys compare as bytes the way the strings compare. Bytes that are not UTF-8 count as
    /// U+FFFD each.
    pub fn sort_key(self, text: &[u8], out: &mut Vec<u8>) {
        let text = self.trimmed(text);
        match self.0.algorithm {
            Bytes | Unknown => out.extend_from_slice(text),
            General if text.is_ascii() => text.iter().for_each(|b| out.extend([0, b.to_ascii_uppercase()])),
            Unicode if text.is_ascii() => {
                out.extend(text.iter().map(|b| ascii_weight(*b)).filter(|w| *w != 0))
            }
            General => general_weights(text).for_each(|w| out.extend_from_slice(&w.to_be_bytes())),
            Unicode => unicode_weights(text).for_each(|w| push_weight(w, out)),
        }
    }

    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        let (a, b) = (self.trimmed(a), self.trimmed(b));
        match self.0.algorithm {
            Bytes | Unknown => a.cmp(b),
            General => general_weights(a).cmp(general_weights(b)),
            Unicode => unicode_weights(a).cmp(unicode_weights(b)),
        }
    }

    /// Do two characters count as the same, as LIKE and REGEXP match one by one?
    pub fn chars_equal(self, a: char, b: char) -> bool {
        if a == b {
            return true;
        }
        let (mut x, mut y) = ([0u8; 4], [0u8; 4]);
        let (x, y) = (a.encode_utf8(&mut x).as_bytes(), b.encode_utf8(&mut y).as_bytes());
        match self.0.algorithm {
            Bytes | Unknown => false,
            General => general_weights(x).eq(general_weights(y)),
            Unicode => unicode_weights(x).eq(unicode_weights(y)),
        }
    }

    /// The bytes of `text` that count: without trailing spaces under PAD SPACE.
    pub fn trimmed(self, text: &[u8]) -> &[u8] {
        if !self.0.pad_space {
            return text;
        }
        let len = text.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
        &text[..len]
    }
}

impl PartialEq for Collation {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Collation {}

impl std::hash::Hash for Collation {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn c(name: &str) -> Collation {
        Collation::by_name(name).unwrap()
    }

    fn equal(name: &str, a: &str, b: &str) -> bool {
        c(name).compare(a.as_bytes(), b.as_bytes()) == Ordering::Equal
    }

    #[test]
    fn names_ids_and_constants() {
        assert_eq!(Collation::BINARY.name(), "binary");
        assert_eq!(Collation::UTF8MB4_BIN.name(), "utf8mb4_bin");
        assert_eq!(Collation::UTF8MB3_GENERAL_CI.name(), "utf8mb3_general_ci");
        assert_eq!(Collation::UTF8MB4_GENERAL_CI.name(), "utf8mb4_general_ci");
        assert_eq!(c("UTF8MB3_GENERAL_CI").id(), 33);
        assert_eq!(Collation::by_id(255).unwrap().name(), "utf8mb4_0900_ai_ci");
        assert_eq!(
            Charset::by_name("utf8mb4").unwrap().default_collation().name(),
            "utf8mb4_bin"
        );
        assert_eq!(
            Charset::by_name("UTF8").unwrap().default_collation().name(),
            "utf8mb3_bin"
        );
        assert_eq!(c("utf8_unicode_ci").name(), "utf8mb3_unicode_ci");
        assert!(Collation::by_name("klingon_ci").is_none());
        let mut ids: Vec<_> = Collation::all().map(|c| c.id()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), ALL.len());
    }

    #[test]
    fn constants_are_what_they_say_and_every_set_has_one_default() {
        for charset in Charset::all() {
            let own = || Collation::all().filter(|c| c.charset() == charset);
            assert_eq!(own().filter(|c| c.is_default()).count(), 1, "{}", charset.name);
        }
        let mut names: Vec<_> = Collation::all().map(Collation::name).collect();
        names.dedup();
        assert!(names.is_sorted() && names.len() == ALL.len());
    }

    #[test]
    fn what_a_schema_names_is_kept_though_it_is_not_known() {
        let stored = Collation::stored("gbk", "gbk_chinese_ci");
        assert_eq!((stored.charset().name, stored.name()), ("gbk", "gbk_chinese_ci"));
        assert!(!stored.is_known());
        assert_eq!(Collation::stored("gbk", "gbk_chinese_ci"), stored);
        assert_ne!(Collation::stored("gbk", "gbk_bin"), stored);
        assert!(Collation::by_name("gbk_chinese_ci").is_none());
    }

    #[test]
    fn padding() {
        assert!(equal("utf8mb4_bin", "a", "a  "));
        assert!(!equal("binary", "a", "a "));
        assert!(!equal("utf8mb4_0900_bin", "a", "a "));
        assert!(!equal("utf8mb4_0900_ai_ci", "a", "a "));
        assert!(equal("utf8mb4_general_ci", "A ", "a"));
    }

    #[test]
    fn base_letters() {
        for name in ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_0900_ai_ci"] {
            assert!(
                equal(name, "Straße".replace('ß', "s").as_str(), "STRASE"),
                "{name}"
            );
            assert!(equal(name, "éàÜ", "EAu"), "{name}");
            assert!(equal(name, "Ж", "ж"), "{name}");
            assert!(!equal(name, "a", "b"), "{name}");
        }
        assert!(equal("utf8mb4_general_ci", "ß", "S"));
        assert!(equal("utf8mb4_unicode_ci", "ß", "SS"));
        assert!(equal("utf8mb4_0900_ai_ci", "Ærø", "aero"));
        // A mark of its own counts for nothing.
        assert!(equal("utf8mb4_0900_ai_ci", "e\u{301}", "é"));
        assert!(c("utf8mb4_general_ci").chars_equal('É', 'e'));
        assert!(!c("utf8mb4_bin").chars_equal('E', 'e'));
    }

    #[test]
    fn order_of_ascii() {
        let less =
            |name: &str, a: &str, b: &str| c(name).compare(a.as_bytes(), b.as_bytes()) == Ordering::Less;
        assert!(less("utf8mb4_0900_ai_ci", "_", "-"));
        assert!(less("utf8mb4_0900_ai_ci", "$", "0"));
        assert!(less("utf8mb4_0900_ai_ci", "9", "a"));
        assert!(less("utf8mb4_general_ci", "z", "~"));
        assert!(less("utf8mb4_general_ci", "Z", "_"));
        assert!(less("utf8mb4_bin", "Z", "a"));
    }

    /// The weights of MySQL's and TiDB's general_ci: upper-cased letters, two bytes each, spaces at the end dropped.
    #[test]
    fn general_key_golden() {
        let mut key = Vec::new();
        Collation::UTF8MB4_GENERAL_CI.sort_key("aé€😀 ".as_bytes(), &mut key);
        assert_eq!(hex::encode(key), "0041004520acfffd");
    }

    proptest! {
        #[test]
        fn keys_compare_as_strings(a in "\\PC{0,12}", b in "\\PC{0,12}") {
            for collation in Collation::all() {
                let (mut x, mut y) = (Vec::new(), Vec::new());
                collation.sort_key(a.as_bytes(), &mut x);
                collation.sort_key(b.as_bytes(), &mut y);
                prop_assert_eq!(collation.compare(a.as_bytes(), b.as_bytes()), x.cmp(&y), "{}", collation);
            }
        }

        #[test]
        fn any_bytes(a in proptest::collection::vec(any::<u8>(), 0..20)) {
            for collation in Collation::all() {
                let mut key = Vec::new();
                collation.sort_key(&a, &mut key);
                prop_assert_eq!(collation.compare(&a, &a), Ordering::Equal);
            }
        }
    }
}
