//! The axes of the matrix, and its cells with their names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ilmenite_sort::Op;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Before and after every write of state: jobs, tasks, schema versions, whatever is committed to the store (leases, holds
/// and rows of tables among it), ingests, and the dropping of ranges.
pub(crate) const STATE_WRITES: [&str; 14] = [
    "ddl::submit::before",
    "ddl::step::before",
    "ddl::step::after",
    "ddl::wait::before",
    "ddl::finish::before",
    "task::write::before",
    "task::write::after",
    "catalog::version::before",
    "embedded::commit::before",
    "embedded::commit::after",
    "embedded::ingest::before",
    "embedded::ingest::after",
    "embedded::delete_range::before",
    "embedded::delete_range::after",
];

/// Those, and before and after every request to an object store.
pub(crate) fn points() -> Vec<&'static str> {
    let requests = Op::ALL
        .into_iter()
        .flat_map(|op| [op.failpoint_before(), op.failpoint_after()]);
    STATE_WRITES.into_iter().chain(requests).collect()
}

/// An axis: its values, and what they are called in a cell's name.
macro_rules! axis {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$of])* $value,)* }

        impl $name {
            pub(crate) const ALL: &[$name] = &[$($name::$value,)*];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $($name::$value => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = $name::ALL.iter().find(|v| v.as_str() == text);
                found.copied().ok_or_else(|| format!("{text}: not one of {:?}", $name::ALL))
            }
        }
    };
}

axis! {
    /// What happens at the point.
    Action {
        /// An error that passes, twice.
        Error = "error",
        /// An error that does not pass before everybody has given up.
        ErrorForGood = "for-good",
        /// The process ends there and then; another one goes on.
        Kill = "kill",
        /// ADMIN PAUSE, and ADMIN RESUME once it is paused.
        Pause = "pause",
        /// ADMIN CANCEL.
        Cancel = "cancel",
        /// It takes long, three times: others overtake it.
        Delay = "delay",
    }
}

axis! {
    /// The table.
    Size {
        Empty = "empty",
        /// Its index fits in memory, and is ingested at once.
        Small = "small",
        /// Its index goes through runs on an object store, which are merged.
        Large = "large",
    }
}

axis! {
    /// The index.
    Kind {
        Plain = "plain",
        Unique = "unique",
        /// Unique over values of which two are equal: 1062.
        Duplicate = "duplicate",
        /// Unique, and cancelled while it is built, whatever else happens.
        Cancelled = "cancelled",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scenario {
    pub size: Size,
    pub kind: Kind,
}

impl Scenario {
    pub(crate) fn all() -> Vec<Scenario> {
        let sizes = Size::ALL.iter();
        let both = sizes.flat_map(|&size| Kind::ALL.iter().map(move |&kind| Scenario { size, kind }));
        // Over no rows there is no duplicate, and no time to cancel anything.
        let possible = |s: &Scenario| s.size != Size::Empty || matches!(s.kind, Kind::Plain | Kind::Unique);
        both.filter(possible).collect()
    }
}

/// How often each point is passed in an undisturbed run of a scenario.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// Something happens at one passage of one point in one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub point: &'static str,
    /// From 1.
    pub passage: u64,
    pub action: Action,
    pub scenario: Scenario,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { size, kind } = self.scenario;
        let words = [self.action.as_str(), size.as_str(), kind.as_str()].join("/");
        write!(f, "{}#{}/{words}", self.point, self.passage)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (point, rest) = text.split_once('#').ok_or("no # in a cell's name")?;
        let words: Vec<&str> = rest.split('/').collect();
        let [passage, action, size, kind] = words[..] else {
            return Err(format!("{text}: not point#passage/action/size/kind"));
        };
        let known = points().into_iter().find(|p| *p == point);
        Ok(Cell {
            point: known.ok_or_else(|| format!("no point {point}"))?,
            passage: passage.parse().map_err(|e| format!("{passage}: {e}"))?,
            action: action.parse()?,
            scenario: Scenario {
                size: size.parse()?,
                kind: kind.parse()?,
            },
        })
    }
}

/// All cells: of each point the first passage, the last, and `between` of those between, by lot.
pub(crate) fn cells(counts: &[(Scenario, Counts)], between: usize, rng: &mut StdRng) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (scenario, counts) in counts {
        for (&point, &count) in counts.iter().filter(|(_, count)| **count > 0) {
            for &action in Action::ALL {
                let mut passages: Vec<u64> = (0..between).map(|_| rng.random_range(1..=count)).collect();
                passages.extend([1, count]);
                passages.sort_unstable();
                passages.dedup();
                cells.extend(passages.into_iter().map(|passage| Cell {
                    point,
                    passage,
                    action,
                    scenario: *scenario,
                }));
            }
        }
    }
    cells
}

/// By lot one cell of each action in each scenario.
pub(crate) fn sample(mut cells: Vec<Cell>, rng: &mut StdRng) -> Vec<Cell> {
    cells.shuffle(rng);
    let mut chosen: Vec<Cell> = Vec::new();
    for cell in cells {
        let same = |c: &Cell| (c.action, c.scenario) == (cell.action, cell.scenario);
        if !chosen.iter().any(same) {
            chosen.push(cell);
        }
    }
    chosen
}
