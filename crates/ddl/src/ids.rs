//! Names of jobs.

/// Of one sequence with the ids of databases and tables; jobs of one object run in its order.
pub type JobId = i64;
