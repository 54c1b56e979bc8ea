//! What random seeds found once, brought about on purpose: each fails without its fix.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_ddl::{AlterAction, DdlError, Job, JobState, Stage};
use ilmenite_sim::jobs::{self, finished_jobs, live_jobs};
use ilmenite_sim::link::Target;
use ilmenite_sim::node::Node;
use ilmenite_sim::objects::Trouble;
use ilmenite_sim::run::{self, Trace, run_course};
use ilmenite_sim::settings::Settings;
use ilmenite_sim::sim::Sim;
use ilmenite_sim::table;
use ilmenite_sim::world::Mishap;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn course<F: Future<Output = ()>>(settings: Settings, course: impl FnOnce(Arc<Sim>) -> F) {
    let report = run_course(settings, Trace::Keep, |sim| async move {
        run::setup(&sim, &mut StdRng::seed_from_u64(1)).await;
        course(sim.clone()).await;
        run::verdict(&sim).await;
    });
    assert!(
        report.passed(),
        "{report}{}",
        report.lines[report.lines.len().saturating_sub(60)..].join("\n")
    );
}

fn add_index(name: &str, unique: bool) -> ilmenite_ddl::DdlStatement {
    table::alter(
        "t0",
        vec![AlterAction::AddIndex(table::index(name, &["b", "id"], unique))],
    )
}

async fn submit(sim: &Arc<Sim>, node: &Node, unique: bool, settings: ilmenite_ddl::JobSettings) -> i64 {
    jobs::submit(sim, node, 0, add_index("i", unique), settings, false)
        .await
        .expect("submitted")
}

/// Slow enough to be met under way.
fn slow() -> ilmenite_ddl::JobSettings {
    ilmenite_ddl::JobSettings {
        max_write_speed_bytes: 500,
        ..jobs::plain_settings()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came to that: {what}");
}

fn live(sim: &Sim, id: i64) -> Option<Job> {
    live_jobs(sim).into_iter().find(|job| job.id == id)
}

async fn at_stage(sim: &Arc<Sim>, id: i64, stage: Stage) {
    until(&format!("{stage:?}"), || {
        live(sim, id).is_some_and(|job| job.stage == stage)
    })
    .await;
}

async fn ended(sim: &Arc<Sim>, id: i64) -> Job {
    until("the job's end", || live(sim, id).is_none()).await;
    finished_jobs(sim)
        .into_iter()
        .find(|job| job.id == id)
        .expect("in the history")
}

async fn synced(sim: &Arc<Sim>, id: i64) {
    let job = ended(sim, id).await;
    assert_eq!((job.state, job.error), (JobState::Synced, None));
}

fn owner(sim: &Sim) -> Arc<Node> {
    let nodes = sim.nodes();
    nodes
        .into_iter()
        .find(|n| n.catalog.owner_term().is_some() && !n.link.is_frozen())
        .expect("an owner")
}

/// Against F09 of docs/faults.md.
#[test]
fn an_owner_that_slept_does_not_stop_its_successors_build() {
    for clock_stands in [false, true] {
        course(Settings::still(3, 300), |sim| async move {
            let first = owner(&sim);
            let id = submit(&sim, &first, false, slow()).await;
            // In the middle of the wait for other nodes: there the old owner goes on when it wakes up.
            at_stage(&sim, id, Stage::DeleteOnly).await;
            first.link.freeze(clock_stands);
            until("another owner", || {
                sim.nodes()
                    .iter()
                    .any(|n| n.number != first.number && n.catalog.owner_term().is_some())
            })
            .await;
            at_stage(&sim, id, Stage::Backfill).await;
            first.link.thaw();
            synced(&sim, id).await;
        });
    }
}

/// Against F43 of docs/faults.md.
#[test]
fn an_answer_that_is_lost_fails_no_job() {
    for prefix in [
        "i/mdl/",
        "i/sync/",
        "i/task/t/",
        "i/task/s/",
        "i/ddl/job/",
        "i/node/",
    ] {
        for mishap in [
            Mishap::ReplyLost,
            Mishap::Lost,
            Mishap::Late(Duration::from_secs(1)),
        ] {
            course(Settings::still(3, 300), |sim| async move {
                let node = owner(&sim);
                sim.world.plan_mishap(prefix.as_bytes(), 3, mishap);
                let mut submitted = None;
                while submitted.is_none() {
                    submitted = jobs::submit(
                        &sim,
                        &node,
                        0,
                        add_index("i", true),
                        jobs::plain_settings(),
                        false,
                    )
                    .await;
                }
                let id = submitted.expect("submitted");
                synced(&sim, id).await;
                // Not twice, the first time unnoticed.
                let adds = finished_jobs(&sim).iter().filter(|job| job.is_reorg()).count();
                assert_eq!(adds, 1);
            });
        }
    }
}

/// Against F39 of docs/faults.md.
#[test]
fn a_claim_of_unknown_outcome_holds_up_no_pause_and_no_cancel() {
    for pauses in [true, false] {
        course(Settings::still(1, 300), |sim| async move {
            let node = owner(&sim);
            let id = submit(&sim, &node, false, slow()).await;
            at_stage(&sim, id, Stage::Backfill).await;
            // Claimed, as the row says; the node does not know.
            sim.world.plan_mishap(b"i/task/s/", 2, Mishap::ReplyLost);
            until("a claim", || {
                let rows = sim.world.pairs(b"i/task/s/");
                rows.iter()
                    .any(|(_, row)| row.windows(9).any(|w| w == b"\"running\""))
            })
            .await;
            if pauses {
                let paused = node.ddl.pause(&[id]).await;
                assert!(paused[0].1.is_ok(), "{paused:?}");
                until("paused", || {
                    live(&sim, id).is_some_and(|job| job.state == JobState::Paused)
                })
                .await;
                node.ddl.resume(&[id]).await;
                synced(&sim, id).await;
            } else {
                jobs::cancel(&sim, &node, id).await.expect("taken on");
                assert_eq!(ended(&sim, id).await.error, Some(DdlError::JobCancelled));
            }
        });
    }
}

#[test]
fn a_job_cancelled_at_once_is_waited_for_by_the_next() {
    course(Settings::still(3, 10), |sim| async move {
        let node = owner(&sim);
        let other = sim
            .nodes()
            .into_iter()
            .find(|n| n.number != node.number)
            .expect("another");
        // It answers nobody for a while, and its lease goes on.
        let id = submit(&sim, &node, false, jobs::plain_settings()).await;
        at_stage(&sim, id, Stage::DeleteOnly).await;
        other.catalog.refresh().await.expect("refreshed");
        other.link.cut(Target::Store, true);
        jobs::cancel(&sim, &node, id).await.expect("taken on");
        ended(&sim, id).await;
        let next = jobs::submit(
            &sim,
            &node,
            0,
            add_index("next", false),
            jobs::plain_settings(),
            false,
        )
        .await
        .expect("submitted");
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.link.cut(Target::Store, false);
        synced(&sim, next).await;
    });
}

/// Against F36 of docs/faults.md.
#[test]
fn errors_while_it_is_cancelled_are_waited_out_and_do_not_change_why_it_ended() {
    let mut settings = Settings::still(2, 300);
    settings.rates.error = 0.15;
    course(settings, |sim| async move {
        let node = owner(&sim);
        for _ in 0..8 {
            let id = submit(&sim, &node, false, slow()).await;
            at_stage(&sim, id, Stage::Backfill).await;
            jobs::cancel(&sim, &node, id).await.expect("taken on");
            *sim.world.rates.lock() = sim.settings.rates;
            for _ in 0..20_000 {
                let Some(job) = live(&sim, id) else { break };
                if let Some(retry) = job.retry.filter(|retry| retry.attempts >= 6) {
                    // The pauses before them were 50, 100, 200, 400 and 800 ms at least.
                    let took_ms = ilmenite_base::clock::wall_ms() - retry.since_ms;
                    assert!(took_ms > 1500, "{} attempts within {took_ms} ms", retry.attempts);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            *sim.world.rates.lock() = Default::default();
            assert_eq!(ended(&sim, id).await.error, Some(DdlError::JobCancelled));
        }
    });
}

/// Against F71 of docs/faults.md.
#[test]
fn objects_that_are_listed_late_are_swept() {
    course(Settings::still(2, 300), |sim| async move {
        let node = owner(&sim);
        sim.world.objects.lock().set_trouble(Trouble::ListingLag);
        let id = submit(&sim, &node, false, jobs::plain_settings()).await;
        synced(&sim, id).await;
        assert!(!sim.world.objects.lock().objects.is_empty(), "nothing was missed");
        sim.world.objects.lock().set_trouble(Trouble::None);
    });
}

/// Against F71 of docs/faults.md.
#[test]
fn objects_of_a_node_that_slept_are_swept() {
    let mut settings = Settings::still(3, 300);
    settings.rates.object_slow = 1.0;
    settings.rates.slow_max_ms = 400;
    course(settings, |sim| async move {
        let sleeper = owner(&sim);
        *sim.world.rates.lock() = sim.settings.rates;
        let id = submit(&sim, &sleeper, false, jobs::plain_settings()).await;
        at_stage(&sim, id, Stage::Backfill).await;
        until("an object", || !sim.world.objects.lock().objects.is_empty()).await;
        sleeper.link.freeze(true);
        synced(&sim, id).await;
        sleeper.link.thaw();
        // What it was about to put when it fell asleep.
        until("an object", || !sim.world.objects.lock().objects.is_empty()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_hold_that_came_late_is_released() {
    course(Settings::still(2, 10), |sim| async move {
        let hold = ilmenite_store::GcHold {
            id: "ddl/77/1".into(),
            ts: ilmenite_store::Timestamp(1),
        };
        // As an owner does that slept before it.
        sim.truth.set_gc_hold(hold).await.expect("held");
    });
}

/// Against F62 of docs/faults.md.
#[test]
fn a_second_failure_after_an_unreachable_store_fails_no_job() {
    course(Settings::still(1, 300), |sim| async move {
        let node = owner(&sim);
        let id = submit(&sim, &node, false, slow()).await;
        at_stage(&sim, id, Stage::Backfill).await;
        for _ in 0..2 {
            until("a subtask at work", || node_works(&sim)).await;
            node.link.cut(Target::Store, true);
            tokio::time::sleep(Duration::from_secs(3)).await;
            node.link.cut(Target::Store, false);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        synced(&sim, id).await;
    });
}

fn node_works(sim: &Sim) -> bool {
    let rows = sim.world.pairs(b"i/task/s/");
    rows.iter()
        .any(|(_, row)| row.windows(9).any(|w| w == b"\"running\""))
}

/// Against F44 of docs/faults.md.
#[test]
fn an_owner_that_does_not_know_that_it_is_clears_away_what_was_asked_before() {
    course(Settings::still(3, 10), |sim| async move {
        let first = owner(&sim);
        sim.world.plan_mishap(b"i/owner", 1, Mishap::ReplyLost);
        sim.kill(&first);
        // As it stands in the store when an owner dies between a wait and the end of its job.
        let mut txn = ilmenite_store::Transaction::begin(&sim.truth, ilmenite_store::TxnMode::Optimistic)
            .await
            .expect("begun");
        let question = r#"{"owner":"gone","epoch":1,"version":1,"table_ids":[]}"#;
        txn.put("i/mdl/77", question, ilmenite_store::Check::None)
            .expect("put");
        txn.commit(Default::default()).await.expect("committed");
        until("another owner", || {
            sim.nodes().iter().any(|n| n.catalog.owner_term().is_some())
        })
        .await;
    });
}

#[test]
fn a_job_that_fails_while_it_is_paused_ends_with_its_error() {
    let mut settings = Settings::still(2, 300);
    settings.troubles.object_refusals = true;
    course(settings, |sim| async move {
        let node = owner(&sim);
        let duplicates = table::alter("t0", vec![AlterAction::AddIndex(table::index("i", &["b"], true))]);
        let settings = jobs::plain_settings();
        let id = jobs::submit(&sim, &node, 0, duplicates, settings, false)
            .await
            .expect("submitted");
        let reverting = || {
            let rows = sim.world.pairs(b"i/task/t/");
            rows.iter()
                .any(|(_, row)| row.windows(11).any(|w| w == b"\"reverting\""))
        };
        until("an object", || !sim.world.objects.lock().objects.is_empty()).await;
        sim.world.objects.lock().set_trouble(Trouble::NoDelete);
        until("the task fails", reverting).await;
        let paused = node.ddl.pause(&[id]).await;
        assert!(paused[0].1.is_ok(), "{paused:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        sim.world.objects.lock().set_trouble(Trouble::None);
        let job = ended(&sim, id).await;
        assert_eq!(job.error.map(|e| e.code()), Some(1062));
    });
}

#[test]
fn an_outage_without_end_ends_the_job_and_nothing_stays() {
    let mut settings = Settings::still(2, 300);
    settings.troubles.object_refusals = true;
    course(settings, |sim| async move {
        let node = owner(&sim);
        let id = submit(&sim, &node, false, jobs::plain_settings()).await;
        until("an object", || !sim.world.objects.lock().objects.is_empty()).await;
        sim.world.objects.lock().set_trouble(Trouble::Down);
        let began = tokio::time::Instant::now();
        while live(&sim, id).is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(
                began.elapsed() < Duration::from_secs(3600),
                "no end: {:?}",
                live(&sim, id)
            );
        }
        let job = ended(&sim, id).await;
        assert_eq!(job.state, JobState::RollbackDone);
        assert!(!sim.world.objects.lock().objects.is_empty());
        sim.world.objects.lock().set_trouble(Trouble::None);
    });
}

#[test]
fn a_job_that_is_paused_and_resumed_in_the_queue_keeps_its_place() {
    course(Settings::still(2, 300), |sim| async move {
        let node = owner(&sim);
        let very_slow = ilmenite_ddl::JobSettings {
            max_write_speed_bytes: 100,
            ..jobs::plain_settings()
        };
        let first = submit(&sim, &node, false, very_slow).await;
        at_stage(&sim, first, Stage::Backfill).await;
        let second = jobs::submit(&sim, &node, 0, add_index("second", false), slow(), false)
            .await
            .expect("submitted");
        let row = [&b"i/ddl/job/"[..], &(second as u64).to_be_bytes()].concat();
        for _ in 0..30 {
            let paused = node.ddl.pause(&[second]).await;
            assert!(paused[0].1.is_ok(), "{paused:?}");
            // The worker does not know that it has paused the job, and looks at it again.
            sim.world.plan_mishap(&row, 1, Mishap::ReplyLost);
            while node.ddl.resume(&[second]).await[0].1.is_err() {}
            tokio::time::sleep(Duration::from_millis(20)).await;
            let (job, before) = (live(&sim, second).expect("alive"), live(&sim, first));
            assert!(before.is_some(), "the first has ended too soon for this");
            assert_eq!(job.stage, Stage::Begin, "out of turn");
        }
        synced(&sim, first).await;
        synced(&sim, second).await;
    });
}

#[test]
fn a_commit_that_arrives_late_finds_its_tables_as_they_were() {
    course(Settings::still(2, 10), |sim| async move {
        let first = owner(&sim);
        let node = sim
            .nodes()
            .into_iter()
            .find(|n| n.number != first.number)
            .expect("another");
        let mut pins = node.catalog.pins(1, "root");
        let table = table::pin(&node.catalog, &mut pins, "t0").expect("there");
        let mut txn = ilmenite_store::Transaction::begin(&node.store, ilmenite_store::TxnMode::Pessimistic)
            .await
            .expect("begun");
        let start_ts = txn.start_ts();
        let change = table::Change::Insert(5_000_000, (Some(1), "x".into()));
        table::change(&node.store, &mut txn, &table, &change)
            .await
            .expect("written");
        sim.world.expect_versions(start_ts, std::slice::from_ref(&table));
        sim.world
            .plan_mishap(b"t", 1, Mishap::Late(Duration::from_secs(3)));
        let options = pins.commit_options().expect("live");
        // The rollback that follows it does not get through either.
        let errors = tokio::spawn({
            let sim = sim.clone();
            async move {
                while sim.world.mishaps_left() > 0 {
                    tokio::task::yield_now().await;
                }
                sim.world.rates.lock().error = 1.0;
                tokio::time::sleep(Duration::from_millis(300)).await;
                sim.world.rates.lock().error = 0.0;
            }
        });
        let committed = txn.commit(options).await;
        assert!(
            matches!(committed, Err(ilmenite_store::Error::Undetermined(_))),
            "{committed:?}"
        );
        pins.linger(&node.store, start_ts, options.max_commit_ts);
        pins.clear();
        errors.await.expect("over");
        let possible = std::collections::BTreeMap::from([((0, 5_000_000), Some((Some(1), "x".to_owned())))]);
        sim.oracle.unknown(&possible);
        let id = submit(&sim, &first, false, jobs::plain_settings()).await;
        synced(&sim, id).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
    });
}

/// F08, P02: the owner is cut off in the phase; whoever follows ends the job, and what the first still wants is refused.
#[test]
fn an_owner_that_is_cut_off_in_any_phase_is_followed() {
    for stage in [
        Stage::DeleteOnly,
        Stage::WriteOnly,
        Stage::Backfill,
        Stage::Verify,
    ] {
        course(Settings::still(3, 300), |sim| async move {
            let first = owner(&sim);
            let id = submit(&sim, &first, true, slow()).await;
            at_stage(&sim, id, stage).await;
            first.link.cut(Target::Store, true);
            until("another owner", || {
                sim.nodes()
                    .iter()
                    .any(|n| n.number != first.number && n.catalog.owner_term().is_some())
            })
            .await;
            first.link.cut(Target::Store, false);
            synced(&sim, id).await;
        });
    }
}

/// F50: the first owner sleeps, the second one too, and the first is owner again: one worker at a time is at the job.
#[test]
fn an_owner_that_slept_and_is_owner_again_goes_on_once() {
    course(Settings::still(2, 300), |sim| async move {
        let first = owner(&sim);
        let second = sim
            .nodes()
            .into_iter()
            .find(|n| n.number != first.number)
            .expect("another");
        let id = submit(&sim, &first, true, slow()).await;
        at_stage(&sim, id, Stage::DeleteOnly).await;
        first.link.freeze(true);
        until("the second owner", || second.catalog.owner_term().is_some()).await;
        at_stage(&sim, id, Stage::Backfill).await;
        second.link.freeze(false);
        first.link.thaw();
        until("the first again", || first.catalog.owner_term().is_some()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        second.link.thaw();
        synced(&sim, id).await;
    });
}

/// F01, F02: reads and writes of the planner fail now and then. What it plans is all of the table or nothing; nothing is
/// verified afterwards that would hide it.
#[test]
fn a_plan_that_fails_in_the_middle_is_never_a_smaller_one() {
    course(Settings::still(2, 300), |sim| async move {
        let node = owner(&sim);
        let settings = ilmenite_ddl::JobSettings {
            verify: ilmenite_ddl::Verify::Off,
            ..jobs::plain_settings()
        };
        for n in 0..12 {
            let name = format!("i{n}");
            let statement = add_index(&name, n % 2 == 0);
            let id = jobs::submit(&sim, &node, 0, statement, settings.clone(), false)
                .await
                .expect("submitted");
            at_stage(&sim, id, Stage::WriteOnly).await;
            sim.world.rates.lock().error = 0.15;
            let has = |row: &[u8], word: &[u8]| row.windows(word.len()).any(|w| w == word);
            until("a plan", || {
                let tasks = sim.world.pairs(b"i/task/t/");
                !sim.world.pairs(b"i/task/s/").is_empty()
                    || tasks.iter().any(|(_, row)| has(row, b"\"succeed\""))
            })
            .await;
            *sim.world.rates.lock() = Default::default();
            synced(&sim, id).await;
        }
    });
}

/// F15: two rows of one value, read by different subtasks: found when their runs meet.
#[test]
fn a_duplicate_across_subtasks_is_found() {
    course(Settings::still(2, 300), |sim| async move {
        let node = owner(&sim);
        let table = table::find(&node.catalog, "t0").expect("there");
        let (mut txn, mut written) = (
            ilmenite_store::Transaction::begin(&sim.truth, ilmenite_store::TxnMode::Pessimistic)
                .await
                .expect("begun"),
            std::collections::BTreeMap::new(),
        );
        for id in [-5, 5_000_000] {
            let values = (Some(-7), "x".to_owned());
            let change = table::Change::Insert(id, values.clone());
            table::change(&sim.truth, &mut txn, &table, &change)
                .await
                .expect("written");
            written.insert((0, id), Some(values));
        }
        txn.commit(Default::default()).await.expect("committed");
        sim.oracle.acknowledged(&written);
        let unique = table::alter("t0", vec![AlterAction::AddIndex(table::index("u", &["a"], true))]);
        let id = jobs::submit(&sim, &node, 0, unique, jobs::plain_settings(), false)
            .await
            .expect("submitted");
        let mut reads = 0;
        until("the job's end", || {
            reads = reads.max(sim.world.pairs(b"i/task/s/").len());
            live(&sim, id).is_none()
        })
        .await;
        assert!(reads > 1, "one subtask read all of it");
        let error = ended(&sim, id).await.error.expect("a duplicate");
        assert_eq!(error.to_string(), "Duplicate entry '-7' for key 't0.u'");
    });
}

/// F60, P07: nodes die in the middle of ingesting, and ingests fail of which a part has taken effect. What is ingested
/// twice is no duplicate.
#[test]
fn what_another_node_ingests_again_is_no_duplicate() {
    let mut settings = Settings::still(3, 300);
    settings.rates.partial_ingest = 0.5;
    course(settings, |sim| async move {
        let id = submit(&sim, &owner(&sim), true, slow()).await;
        at_stage(&sim, id, Stage::Backfill).await;
        sim.world.rates.lock().partial_ingest = 0.5;
        for _ in 0..3 {
            until("a subtask at work", || node_works(&sim)).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            let victim = sim.nodes().into_iter().next().expect("a node");
            sim.kill(&victim);
            sim.start_node().await;
        }
        *sim.world.rates.lock() = Default::default();
        synced(&sim, id).await;
    });
}

/// F35: the owner dies, and whoever follows is told to cancel: the job's tasks end with it, on all nodes.
#[test]
fn a_job_whose_owner_died_is_cancelled_with_its_tasks() {
    course(Settings::still(3, 300), |sim| async move {
        let first = owner(&sim);
        let id = submit(&sim, &first, true, slow()).await;
        at_stage(&sim, id, Stage::Backfill).await;
        until("a subtask at work", || node_works(&sim)).await;
        sim.kill(&first);
        until("another owner", || {
            sim.nodes().iter().any(|n| n.catalog.owner_term().is_some())
        })
        .await;
        let other = sim.nodes().into_iter().next().expect("a node");
        jobs::cancel(&sim, &other, id).await.expect("taken on");
        assert_eq!(ended(&sim, id).await.error, Some(DdlError::JobCancelled));
        assert!(
            sim.world
                .pairs(b"i/task/")
                .iter()
                .all(|(key, _)| key == "i/task/id")
        );
    });
}
