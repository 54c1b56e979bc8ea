//! Planning of the build's steps: pure functions of the task, of finished subtasks and of facts gathered as a value.

use bytes::Bytes;
use ilmenite_base::ErrorClass;
use ilmenite_catalog::IndexId;
use ilmenite_sort::{PlannedRange, RunMeta, merge_groups, needs_merge, plan_ranges};
use ilmenite_store::KeyRange;
use ilmenite_table::{Piece, cut_range};
use ilmenite_task::{Plan, PlanInput, Subtask, TaskError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::meta::{
    BuildMeta, IngestMeta, MERGE_STEP, MergeMeta, MergeOutput, READ_STEP, ReadMeta, ReadOutput, parse, value,
};
use super::sizing::{ingest_target_bytes, merge_budget_bytes};
use crate::error::DdlError;

/// What read-index is planned from. `range` is empty when the table had no row at the snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReadFacts {
    pub range: Option<KeyRange>,
    pub pieces: Vec<Piece>,
}

/// What write&ingest is planned from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IngestFacts {
    /// Where regions begin, per index, ascending, as keys are sorted.
    pub boundaries: Vec<(IndexId, Vec<Bytes>)>,
    /// Memory of a slot, for merge-sort's decision.
    pub budget_bytes: u64,
    /// No ingest is planned smaller than this, unless there is no more.
    pub range_bytes_min: u64,
}

fn outputs<T: DeserializeOwned>(subtasks: Option<&Vec<Subtask>>) -> Result<Vec<T>, TaskError> {
    let missing = || TaskError::from(DdlError::bug("a succeeded subtask has no output"));
    subtasks
        .into_iter()
        .flatten()
        .map(|subtask| Ok(parse(subtask.output.as_ref().ok_or_else(missing)?)?))
        .collect()
}

/// The planned ranges must cover the whole, without a gap and without overlap.
pub(crate) fn check_cover(whole: &KeyRange, ranges: &[KeyRange]) -> Result<(), TaskError> {
    let joined = ranges
        .windows(2)
        .all(|pair| pair[0].end == pair[1].start && !pair[0].is_empty());
    let ends = ranges.first().map(|r| &r.start) == Some(&whole.start)
        && ranges.last().map(|r| &r.end) == Some(&whole.end);
    if joined && ends {
        return Ok(());
    }
    Err(DdlError::bug(format!("planned ranges do not cover {whole:?}: {ranges:?}")).into())
}

pub(crate) fn plan_read(input: &PlanInput<'_>) -> Result<Plan, TaskError> {
    let facts: ReadFacts = parse(&input.facts)?;
    let Some(range) = facts.range else {
        return Ok(Plan {
            subtasks: Vec::new(),
            reason: "the table has no rows".into(),
        });
    };
    let ranges = cut_range(&range, &facts.pieces, input.slots);
    check_cover(&range, &ranges)?;
    let whole = ranges.len() == 1;
    let reason = format!("{} ranges of the table for {} slots", ranges.len(), input.slots);
    let subtasks = ranges
        .into_iter()
        .map(|range| value(&ReadMeta { range, whole }))
        .collect::<Result<_, _>>()?;
    Ok(Plan { subtasks, reason })
}

/// What a subtask needs to know of a run to read it. Histograms are for planning alone, and most of what a run's
/// description takes: a run is named by every range it reaches into.
fn to_read(run: &RunMeta) -> RunMeta {
    RunMeta {
        histogram: Vec::new(),
        ..run.clone()
    }
}

/// All runs of an index that read-index left.
fn runs_of(index: IndexId, reads: &[ReadOutput]) -> Vec<RunMeta> {
    let of_index = reads
        .iter()
        .flat_map(|r| &r.indexes)
        .filter(|i| i.index_id == index);
    of_index.flat_map(|i| i.runs.iter().cloned()).collect()
}

pub(crate) fn plan_merge(input: &PlanInput<'_>) -> Result<Plan, TaskError> {
    let meta: BuildMeta = parse(&input.task.meta)?;
    let facts: IngestFacts = parse(&input.facts)?;
    let reads: Vec<ReadOutput> = outputs(input.earlier.get(READ_STEP))?;
    let budget = facts.budget_bytes as usize;
    let mut subtasks = Vec::new();
    let mut reasons = Vec::new();
    for &index_id in &meta.index_ids {
        let runs = runs_of(index_id, &reads);
        if runs.is_empty() {
            continue;
        }
        let decision = needs_merge(&runs, merge_budget_bytes(facts.budget_bytes));
        reasons.push(format!("{}: {}", meta.index_name(index_id), decision.reason));
        if decision.merge {
            for runs in merge_groups(&runs, budget) {
                let runs = runs.iter().map(to_read).collect();
                subtasks.push(value(&MergeMeta { index_id, runs })?);
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("no runs".into());
    }
    Ok(Plan {
        subtasks,
        reason: reasons.join("; "),
    })
}

pub(crate) fn plan_ingest(input: &PlanInput<'_>) -> Result<Plan, TaskError> {
    let meta: BuildMeta = parse(&input.task.meta)?;
    let facts: IngestFacts = parse(&input.facts)?;
    let reads: Vec<ReadOutput> = outputs(input.earlier.get(READ_STEP))?;
    let merges: Vec<MergeOutput> = outputs(input.earlier.get(MERGE_STEP))?;
    let mut subtasks = Vec::new();
    let mut reasons = Vec::new();
    for &index_id in &meta.index_ids {
        let merged: Vec<&MergeOutput> = merges.iter().filter(|m| m.index_id == index_id).collect();
        let runs: Vec<RunMeta> = if merged.is_empty() {
            runs_of(index_id, &reads)
        } else {
            merged.iter().flat_map(|m| m.runs.iter().cloned()).collect()
        };
        if runs.is_empty() {
            continue;
        }
        let again = needs_merge(&runs, merge_budget_bytes(facts.budget_bytes));
        if again.merge {
            let message = format!("{}; give ilmenite_ddl_memory_budget more", again.reason);
            return Err(TaskError::new(ErrorClass::Resource, message));
        }
        let total: u64 = runs.iter().map(RunMeta::raw_bytes).sum();
        let target = ingest_target_bytes(total, input.slots, facts.range_bytes_min);
        let boundaries = facts
            .boundaries
            .iter()
            .find(|(id, _)| *id == index_id)
            .map_or(&[][..], |(_, b)| b);
        let ranges = plan_ranges(&runs, target, boundaries);
        check_runs_covered(&runs, &ranges)?;
        reasons.push(format!(
            "{}: {} ranges of {} runs",
            meta.index_name(index_id),
            ranges.len(),
            runs.len()
        ));
        for range in ranges {
            let of_range: Vec<RunMeta> = runs
                .iter()
                .filter(|run| run.intersects(&range.start, &range.end))
                .map(to_read)
                .collect();
            subtasks.push(value(&IngestMeta {
                index_id,
                range,
                runs: of_range,
            })?);
        }
    }
    if reasons.is_empty() {
        reasons.push("no runs".into());
    }
    Ok(Plan {
        subtasks,
        reason: reasons.join("; "),
    })
}

fn check_runs_covered(runs: &[RunMeta], ranges: &[PlannedRange]) -> Result<(), TaskError> {
    let (Some(min), Some(max)) = (
        runs.iter().map(|r| &r.min_key).min(),
        runs.iter().map(|r| &r.max_key).max(),
    ) else {
        return Ok(());
    };
    let whole = KeyRange {
        start: min.clone(),
        end: ilmenite_sort::after_key(max),
    };
    let ranges: Vec<KeyRange> = ranges.iter().map(PlannedRange::range).collect();
    check_cover(&whole, &ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec())
    }

    fn piece(start: &str, end: &str, mib: u64) -> Piece {
        Piece {
            range: range(start, end),
            bytes: mib << 20,
        }
    }

    /// Against F46 of docs/faults.md.
    #[test]
    fn cuts_cover_the_whole_whatever_the_regions_are() {
        let whole = range("b", "y");
        let cases: [&[Piece]; 4] = [
            &[],
            &[piece("", "c", 900), piece("c", "", 900)],
            &[piece("a", "m", 40), piece("m", "n", 40), piece("n", "z", 40)],
            // Stale regions: outside, overlapping, out of order.
            &[
                piece("x", "z", 90),
                piece("c", "d", 90),
                piece("zz", "", 90),
                piece("a", "c", 1),
            ],
        ];
        for pieces in cases {
            for slots in [0, 1, 2, 64] {
                check_cover(&whole, &cut_range(&whole, pieces, slots)).unwrap();
            }
        }
        let cut = cut_range(&whole, cases[2], 2);
        assert_eq!(cut, [range("b", "m"), range("m", "n"), range("n", "y")]);
    }

    /// Against F02 of docs/faults.md.
    #[test]
    fn a_gap_or_an_overlap_is_a_bug() {
        let whole = range("b", "y");
        for bad in [
            vec![],
            vec![range("b", "c")],
            vec![range("b", "c"), range("d", "y")],
            vec![range("b", "d"), range("c", "y")],
            vec![range("a", "y")],
        ] {
            let error = check_cover(&whole, &bad).unwrap_err();
            assert_eq!(error.class, ErrorClass::Bug, "{bad:?}");
        }
    }
}
