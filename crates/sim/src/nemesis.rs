//! Troubles: nodes that die, freeze or are cut off, time that jumps, regions that move, an object store in distress.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::core::LOCK_TTL;
use crate::link::Target;
use crate::node::Node;
use crate::objects::Trouble;
use crate::sim::Sim;

/// Makes trouble for as long as the settings say, and then puts everything right again.
pub async fn run(sim: Arc<Sim>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let deadline = Instant::now() + sim.settings.chaos;
    *sim.world.rates.lock() = sim.settings.rates;
    let mut under_way = tokio::task::JoinSet::new();
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..1200))).await;
        if Instant::now() >= deadline {
            break;
        }
        let troubles = sim.settings.troubles;
        let Some(node) = victim(&sim, &mut rng).await else {
            continue;
        };
        let ms = |rng: &mut StdRng, range| Duration::from_millis(rng.random_range(range));
        match rng.random_range(0..10) {
            0 | 1 if troubles.crashes => {
                sim.kill(&node);
                let (sim, after) = (sim.clone(), ms(&mut rng, 0..4000));
                under_way.spawn(async move {
                    tokio::time::sleep(after).await;
                    sim.start_node().await;
                });
            }
            2 | 3 if troubles.freezes => {
                let lasts = if rng.random_bool(0.5) {
                    Duration::from_secs(15)
                } else {
                    ms(&mut rng, 100..6000)
                };
                under_way.spawn(freeze(sim.clone(), node, lasts, rng.random_bool(0.5)));
            }
            4 | 5 if troubles.partitions => {
                let target = if rng.random_bool(0.7) {
                    Target::Store
                } else {
                    Target::Objects
                };
                let lasts = ms(&mut rng, 200..12_000);
                under_way.spawn(cut(sim.clone(), node, target, lasts));
            }
            6 if troubles.time_jumps => {
                let jump: i64 = [200, 2_000, 30_000, -500, -5_000][rng.random_range(0..5)];
                sim.world
                    .log
                    .event(&[302, jump as u64], || format!("TIME jumps by {jump} ms"));
                sim.world.core.lock().time_off_ms += jump;
                *sim.world.wall_off_ms.lock() += rng.random_range(-3_600_000..3_600_000);
            }
            7 if troubles.regions_move => move_regions(&sim, &mut rng),
            8 | 9 => {
                if let Some(trouble) = object_trouble(&sim, &mut rng) {
                    let lasts = ms(&mut rng, 200..8_000);
                    under_way.spawn(distress(sim.clone(), trouble, lasts));
                }
            }
            _ => {}
        }
    }
    while under_way.join_next().await.is_some() {}
    *sim.world.rates.lock() = Default::default();
    sim.world.log.event(&[300], || "TROUBLES are over".into());
}

/// Often the owner: what it does is what most depends on.
async fn victim(sim: &Sim, rng: &mut StdRng) -> Option<Arc<Node>> {
    let wants_owner = rng.random_bool(0.4);
    let node = sim.any_node(rng)?;
    if !wants_owner {
        return Some(node);
    }
    let owner = sim.nodes().into_iter().find(|n| n.catalog.owner_term().is_some());
    owner.or(Some(node))
}

async fn freeze(sim: Arc<Sim>, node: Arc<Node>, lasts: Duration, clock_stands: bool) {
    if node.link.is_frozen() || node.link.is_dead() {
        return;
    }
    let n = node.number;
    sim.world.log.event(&[303, n as u64], || {
        format!(
            "FREEZE n{n} for {lasts:?}, its clock {}",
            if clock_stands { "stands" } else { "goes on" }
        )
    });
    node.link.freeze(clock_stands);
    let (until_expiry, rest) = (lasts.min(LOCK_TTL), lasts.saturating_sub(LOCK_TTL));
    tokio::time::sleep(until_expiry).await;
    if !rest.is_zero() {
        // Nobody keeps its locks alive.
        let mut core = sim.world.core.lock();
        let of_node = core.txns.iter().filter(|(_, txn)| txn.node == n);
        let starts: Vec<_> = of_node.map(|(start, _)| *start).collect();
        for start in starts {
            core.expire(start);
        }
        drop(core);
        sim.world.released.notify();
    }
    tokio::time::sleep(rest).await;
    sim.world.log.event(&[304, n as u64], || format!("THAW n{n}"));
    node.link.thaw();
}

async fn cut(sim: Arc<Sim>, node: Arc<Node>, target: Target, lasts: Duration) {
    if node.link.is_cut(target) {
        return;
    }
    let n = node.number;
    sim.world.log.event(&[305, n as u64], || {
        format!("CUT n{n} off from {target:?} for {lasts:?}")
    });
    node.link.cut(target, true);
    let expires = lasts > LOCK_TTL && target == Target::Store;
    tokio::time::sleep(lasts.min(LOCK_TTL)).await;
    if expires {
        let mut core = sim.world.core.lock();
        let of_node = core.txns.iter().filter(|(_, txn)| txn.node == n);
        let starts: Vec<_> = of_node.map(|(start, _)| *start).collect();
        for start in starts {
            core.expire(start);
        }
        drop(core);
        sim.world.released.notify();
    }
    tokio::time::sleep(lasts.saturating_sub(LOCK_TTL)).await;
    node.link.cut(target, false);
    sim.world
        .log
        .event(&[306, n as u64], || format!("n{n} reaches {target:?} again"));
}

pub fn move_regions(sim: &Sim, rng: &mut StdRng) {
    let mut core = sim.world.core.lock();
    let boundaries: Vec<_> = core.boundaries.iter().cloned().collect();
    for boundary in boundaries {
        if rng.random_bool(0.3) {
            core.boundaries.remove(&boundary);
        }
    }
    split_regions(&mut core, sim.settings.boundaries / 2, rng);
    core.region_bytes = (sim.settings.region_bytes as f64 * rng.random_range(0.2..3.0)) as u64;
    let n = core.boundaries.len() as u64;
    drop(core);
    sim.world
        .log
        .event(&[307, n], || format!("REGIONS moved: {n} boundaries"));
}

/// Splits at keys of tables.
pub fn split_regions(core: &mut crate::core::Core, n: usize, rng: &mut StdRng) {
    let keys: Vec<_> = core
        .memory
        .data
        .range(Bytes::from_static(b"t")..Bytes::from_static(b"u"))
        .map(|(k, _)| k.clone())
        .collect();
    for _ in 0..n {
        if !keys.is_empty() {
            core.boundaries
                .insert(keys[rng.random_range(0..keys.len())].clone());
        }
    }
}

fn object_trouble(sim: &Sim, rng: &mut StdRng) -> Option<Trouble> {
    let troubles = sim.settings.troubles;
    let mut choices = Vec::new();
    if troubles.object_outages {
        choices.push(Trouble::Down);
    }
    if troubles.listing_lag {
        choices.push(Trouble::ListingLag);
    }
    if troubles.object_refusals {
        choices.extend([
            Trouble::ReadOnly,
            Trouble::NoDelete,
            Trouble::BucketGone,
            Trouble::Full,
        ]);
    }
    (!choices.is_empty()).then(|| choices[rng.random_range(0..choices.len())])
}

async fn distress(sim: Arc<Sim>, trouble: Trouble, lasts: Duration) {
    if sim.world.objects.lock().trouble != Trouble::None {
        return;
    }
    sim.world.log.event(&[308, trouble as u64], || {
        format!("OBJECT STORE {trouble:?} for {lasts:?}")
    });
    sim.world.objects.lock().set_trouble(trouble);
    tokio::time::sleep(lasts).await;
    sim.world.objects.lock().set_trouble(Trouble::None);
    sim.world.log.event(&[309], || "OBJECT STORE well again".into());
}
