//! A row, and the statements that write it.

use mysql_async::Value;

/// What is stored of a row: `s`, `c` and `d` follow from `v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) k: i32,
    pub(super) u: Option<i64>,
    pub(super) v: u32,
}

impl Row {
    pub(super) fn s(&self) -> String {
        format!("name {:05} of {:08x}", self.v % 10_007, self.v)
    }

    /// Digits in groups, as in sysbench's tables.
    pub(super) fn c(&self) -> String {
        let mut state = u64::from(self.v);
        let groups = (0..10).map(|_| {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            format!("{:011}", state >> 28)
        });
        groups.collect::<Vec<_>>().join("-")
    }

    pub(super) fn d(&self) -> Option<String> {
        (!self.v.is_multiple_of(5)).then(|| format!("{}.{:02}", self.v % 90_000, self.v % 100))
    }

    pub(super) fn values(&self, id: i64) -> Vec<Value> {
        vec![
            id.into(),
            self.k.into(),
            self.u.into(),
            self.s().into(),
            self.c().into(),
            self.d().into(),
        ]
    }

    /// As a query shows it.
    pub(super) fn shown(&self, id: i64) -> Vec<String> {
        self.values(id).iter().map(crate::support::text).collect()
    }

    pub(super) fn initial(id: i64) -> Row {
        Row {
            k: (id * 7919 % 100_003) as i32,
            u: (id % 11 != 0).then_some(id),
            v: (id as u32).wrapping_mul(2_654_435_761),
        }
    }
}

pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) params: Vec<Value>,
    /// Rows it must affect.
    pub(super) affected: Option<u64>,
}

pub(super) fn statement(sql: &'static str, params: Vec<Value>, affected: Option<u64>) -> Statement {
    Statement {
        sql,
        params,
        affected,
    }
}

pub(super) fn insert(id: i64, row: &Row) -> Statement {
    statement(
        "INSERT INTO w (id, k, u, s, c, d) VALUES (?, ?, ?, ?, ?, ?)",
        row.values(id),
        Some(1),
    )
}

pub(super) fn delete(id: i64) -> Statement {
    statement("DELETE FROM w WHERE id = ?", vec![id.into()], Some(1))
}

pub(super) fn update(id: i64, row: &Row) -> Statement {
    let params = vec![
        row.k.into(),
        row.s().into(),
        row.c().into(),
        row.d().into(),
        id.into(),
    ];
    statement(
        "UPDATE w SET k = ?, s = ?, c = ?, d = ? WHERE id = ?",
        params,
        None,
    )
}

/// How many rows it affects depends on whether the value was that one already.
pub(super) fn set_u(id: i64, u: Option<i64>, affected: Option<u64>) -> Statement {
    statement(
        "UPDATE w SET u = ? WHERE id = ?",
        vec![u.into(), id.into()],
        affected,
    )
}
