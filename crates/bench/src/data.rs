//! The table and its rows: sysbench's, made from their numbers alone, so that every system gets the same.

use bytes::Bytes;

/// Rows loaded by one statement, each of them a transaction.
pub(crate) const ROWS_PER_STATEMENT: u64 = 100_000;
const PIECE_BYTES: usize = 256 << 10;

/// The table for MySQL's protocol. `u` is ours: a unique number a row, for unique indexes. Strings compare by their
/// bytes in all systems.
pub(crate) fn create_table(rows_name: &str) -> String {
    format!(
        "CREATE TABLE {rows_name} (
  id INT NOT NULL AUTO_INCREMENT,
  k INT NOT NULL DEFAULT 0,
  c VARCHAR(120) NOT NULL DEFAULT '',
  pad CHAR(60) NOT NULL DEFAULT '',
  u INT DEFAULT NULL,
  PRIMARY KEY (id)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
}

/// The same for PostgreSQL.
pub(crate) fn create_table_postgres(rows_name: &str) -> String {
    format!(
        "CREATE TABLE {rows_name} (id INT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
         c VARCHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', u INT)"
    )
}

/// Spreads numbers over all 64 bits (the finaliser of splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `groups` times eleven digits, with `-` between.
fn digits(seed: u64, groups: u64, out: &mut Vec<u8>) {
    for group in 0..groups {
        if group > 0 {
            out.push(b'-');
        }
        let mut n = mix(seed.wrapping_add(group));
        for _ in 0..11 {
            out.push(b'0' + (n % 10) as u8);
            n /= 10;
        }
    }
}

/// sysbench's `c`: 119 characters.
pub(crate) fn c(seed: u64, out: &mut Vec<u8>) {
    digits(seed.wrapping_mul(64), 10, out);
}

/// sysbench's `pad`: 59 characters.
pub(crate) fn pad(seed: u64, out: &mut Vec<u8>) {
    digits(seed.wrapping_mul(64).wrapping_add(32), 5, out);
}

/// Uniform over 1..=rows.
pub(crate) fn k(id: u64, rows: u64) -> u64 {
    mix(id ^ 0x5bd1_e995) % rows.max(1) + 1
}

/// Different for every id below 2^31, in no order.
fn u(id: u64) -> u64 {
    id.wrapping_mul(0x3c6e_f35f) & 0x7fff_ffff
}

/// Appends row `id` as a line of tab-separated fields: id, k, c, pad, u.
pub(crate) fn line(id: u64, rows: u64, out: &mut Vec<u8>) {
    let number = |n: u64, out: &mut Vec<u8>| out.extend_from_slice(n.to_string().as_bytes());
    number(id, out);
    out.push(b'\t');
    number(k(id, rows), out);
    out.push(b'\t');
    c(id, out);
    out.push(b'\t');
    pad(id, out);
    out.push(b'\t');
    number(u(id), out);
    out.push(b'\n');
}

/// The lines of rows `from..=to` of a table of `rows`, in pieces.
pub(crate) fn pieces(from: u64, to: u64, rows: u64) -> impl Iterator<Item = Bytes> {
    let mut next = from;
    std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES + 512);
        while next <= to && piece.len() < PIECE_BYTES {
            line(next, rows, &mut piece);
            next += 1;
        }
        (!piece.is_empty()).then(|| piece.into())
    })
}

/// The ids that each loading statement takes: inclusive ends.
pub(crate) fn statements(rows: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..rows.div_ceil(ROWS_PER_STATEMENT)).map(move |n| {
        let from = n * ROWS_PER_STATEMENT + 1;
        (from, (from + ROWS_PER_STATEMENT - 1).min(rows))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rows_look_like_sysbenchs_and_are_always_the_same() {
        let mut text = Vec::new();
        line(7, 1000, &mut text);
        let text = String::from_utf8(text).unwrap();
        let fields: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!(fields.len(), 5);
        assert_eq!((fields[0], fields[2].len(), fields[3].len()), ("7", 119, 59));
        assert!((1..=1000).contains(&fields[1].parse::<u64>().unwrap()));
        assert!(fields[2].split('-').all(|group| group.len() == 11));
        // A row never changes: results of different days are of the same data.
        assert_eq!(fields[1], "627");
        assert_eq!(&fields[2][..23], "10758721945-59831720072");
        assert_eq!(fields[4], "654878617");
    }

    #[test]
    fn u_is_unique_and_every_row_is_loaded_once() {
        let unique: HashSet<u64> = (1..=100_000).map(u).collect();
        assert_eq!(unique.len(), 100_000);
        assert!(unique.iter().all(|&u| u <= i32::MAX as u64));
        let parts: Vec<(u64, u64)> = statements(250_000).collect();
        assert_eq!(parts, [(1, 100_000), (100_001, 200_000), (200_001, 250_000)]);
        assert_eq!(statements(0).count(), 0);
        let lines: usize = pieces(1, 3000, 3000)
            .map(|p| p.iter().filter(|&&b| b == b'\n').count())
            .sum();
        assert_eq!(lines, 3000);
        let mut ks: Vec<u64> = (1..=10_000).map(|id| k(id, 10)).collect();
        ks.sort_unstable();
        ks.dedup();
        assert_eq!(ks, (1..=10).collect::<Vec<_>>());
    }
}
