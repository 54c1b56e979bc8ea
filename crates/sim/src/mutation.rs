//! Deliberately broken code, to show that the simulation finds what it is for. What is broken is the simulated store, or
//! a kind of task wrapped on its way to the framework (`kinds`): the code under test has no switch for it.

use crate::core::Broken;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// The store ignores preconditions: a late owner's, or a lost claim's, write goes through.
    NoFencing,
    /// The store ignores the end of leases.
    NoLeaseCheck,
    /// Keys noted by DML are not reconciled.
    NoReconcile,
    /// An error while looking for the table's rows is taken for an empty table.
    ErrorIsEmpty,
    /// The last range of the table is not read to its end.
    GapInRanges,
    /// What a subtask read is deleted before its output is recorded.
    InputsDeletedEarly,
}

impl Mutation {
    pub const ALL: [Mutation; 6] = [
        Mutation::NoFencing,
        Mutation::NoLeaseCheck,
        Mutation::NoReconcile,
        Mutation::ErrorIsEmpty,
        Mutation::GapInRanges,
        Mutation::InputsDeletedEarly,
    ];

    pub fn broken_store(self) -> Broken {
        Broken {
            ignores_preconditions: self == Mutation::NoFencing,
            ignores_max_commit_ts: self == Mutation::NoLeaseCheck,
        }
    }
}
