//! Character sets and collations, with MySQL's numbers.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CharsetInfo {
    pub name: &'static str,
    pub description: &'static str,
    pub default_collation: &'static str,
    /// Bytes a character takes at most.
    pub max_len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollationInfo {
    pub name: &'static str,
    pub charset: &'static str,
    /// The protocol's number.
    pub id: u16,
    pub is_default: bool,
    /// Trailing spaces do not count in comparisons.
    pub pads: bool,
    pub sort_len: u32,
}

const fn charset(
    name: &'static str,
    description: &'static str,
    default_collation: &'static str,
    max_len: u32,
) -> CharsetInfo {
    CharsetInfo {
        name,
        description,
        default_collation,
        max_len,
    }
}

const fn collation(
    name: &'static str,
    charset: &'static str,
    id: u16,
    is_default: bool,
    pads: bool,
    sort_len: u32,
) -> CollationInfo {
    CollationInfo {
        name,
        charset,
        id,
        is_default,
        pads,
        sort_len,
    }
}

pub static CHARSETS: &[CharsetInfo] = &[
    charset("ascii", "US ASCII", "ascii_bin", 1),
    charset("binary", "binary", "binary", 1),
    charset("latin1", "Latin1", "latin1_bin", 1),
    charset("utf8mb3", "UTF-8 Unicode", "utf8mb3_bin", 3),
    charset("utf8mb4", "UTF-8 Unicode", "utf8mb4_bin", 4),
];

pub static COLLATIONS: &[CollationInfo] = &[
    collation("ascii_bin", "ascii", 65, true, true, 1),
    collation("ascii_general_ci", "ascii", 11, false, true, 1),
    collation("binary", "binary", 63, true, false, 1),
    collation("latin1_bin", "latin1", 47, true, true, 1),
    collation("latin1_general_ci", "latin1", 48, false, true, 1),
    collation("latin1_swedish_ci", "latin1", 8, false, true, 1),
    collation("utf8mb3_bin", "utf8mb3", 83, true, true, 1),
    collation("utf8mb3_general_ci", "utf8mb3", 33, false, true, 1),
    collation("utf8mb3_unicode_ci", "utf8mb3", 192, false, true, 8),
    collation("utf8mb4_0900_ai_ci", "utf8mb4", 255, false, false, 0),
    collation("utf8mb4_0900_bin", "utf8mb4", 309, false, false, 1),
    collation("utf8mb4_bin", "utf8mb4", 46, true, true, 1),
    collation("utf8mb4_general_ci", "utf8mb4", 45, false, true, 1),
    collation("utf8mb4_unicode_ci", "utf8mb4", 224, false, true, 8),
];

/// The character set of that name; `utf8` is another name of `utf8mb3`.
pub fn find_charset(name: &str) -> Option<&'static CharsetInfo> {
    let name = if name.eq_ignore_ascii_case("utf8") {
        "utf8mb3"
    } else {
        name
    };
    CHARSETS.iter().find(|c| c.name.eq_ignore_ascii_case(name))
}

/// The collation of that name; `utf8_…` is another name of `utf8mb3_…`.
pub fn find_collation(name: &str) -> Option<&'static CollationInfo> {
    let lower = name.to_ascii_lowercase();
    let lower = match lower.strip_prefix("utf8_") {
        Some(rest) => format!("utf8mb3_{rest}"),
        None => lower,
    };
    COLLATIONS.iter().find(|c| c.name == lower)
}

pub fn collation_by_id(id: u16) -> Option<&'static CollationInfo> {
    COLLATIONS.iter().find(|c| c.id == id)
}
