//! What a seed means: the size of the cluster, its load, its troubles.

use std::time::Duration;

use ilmenite_ddl::Verify;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::kinds::Sizes;
use crate::mutation::Mutation;
use crate::node::NodeSettings;
use crate::world::Rates;

/// What may go wrong in one seed, beside rates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    pub crashes: bool,
    pub freezes: bool,
    pub partitions: bool,
    pub time_jumps: bool,
    pub regions_move: bool,
    /// Troubles of the object store that pass, and must not end a job.
    pub object_outages: bool,
    /// Those that end or pause jobs: rights withdrawn, bucket gone, disk full.
    pub object_refusals: bool,
    pub listing_lag: bool,
}

/// How a client writes.
#[derive(Debug, Clone, Copy)]
pub struct DmlSettings {
    pub clients: usize,
    /// Rows a client owns in each table, at most.
    pub rows_each: i64,
    /// `a` is below this: the lower, the more collisions.
    pub values: i64,
    /// Milliseconds between statements, at most.
    pub think_ms: u64,
    /// How often a transaction stays open for long.
    pub lingers: f64,
}

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    pub nodes: usize,
    pub node: NodeSettings,
    pub tables: usize,
    /// Rows of each table before anything else happens.
    pub rows_first: i64,
    pub dml: DmlSettings,
    /// Clients that change schemas, and milliseconds between two of their statements.
    pub ddl_clients: usize,
    pub ddl_think_ms: u64,
    pub cancels: bool,
    pub verify: Option<Verify>,
    /// A job sorts on the object store with this probability; otherwise within the node.
    pub cloud: f64,
    pub region_bytes: u64,
    pub boundaries: usize,
    /// How long troubles last.
    pub chaos: Duration,
    pub rates: Rates,
    pub troubles: Troubles,
    pub mutation: Option<Mutation>,
}

impl Settings {
    /// Nothing happens by itself: for a course of its own.
    pub fn still(nodes: usize, rows: i64) -> Settings {
        let mut settings = Settings::of(0, None);
        settings.nodes = nodes;
        settings.node.lease = Duration::from_secs(6);
        settings.node.slots = 2;
        settings.tables = 1;
        settings.rows_first = rows;
        settings.dml.values = 1_000_000;
        settings.verify = Some(Verify::Full);
        settings.cloud = 1.0;
        settings.region_bytes = 100 << 20;
        settings.boundaries = 20;
        settings.rates = Rates::default();
        settings.troubles = Troubles::default();
        settings
    }

    pub fn of(seed: u64, mutation: Option<Mutation>) -> Settings {
        let mut rng = StdRng::seed_from_u64(seed);
        let quiet = rng.random_bool(0.1);
        let nodes = if rng.random_bool(0.15) {
            1
        } else {
            rng.random_range(2..=4)
        };
        let mut often = |p: f64| !quiet && rng.random_bool(p);
        let troubles = Troubles {
            crashes: often(0.6),
            freezes: often(0.5),
            partitions: often(0.5),
            time_jumps: often(0.2),
            regions_move: often(0.5),
            object_outages: often(0.3),
            object_refusals: often(0.2),
            listing_lag: often(0.2),
        };
        let rates = if quiet {
            Rates::default()
        } else {
            Rates {
                slow: [0.0, 0.02, 0.1][rng.random_range(0..3)],
                slow_max_ms: [20, 200, 1000][rng.random_range(0..3)],
                error: [0.0, 0.002, 0.02][rng.random_range(0..3)],
                lost_reply: [0.0, 0.002, 0.01][rng.random_range(0..3)],
                lost_commit: [0.0, 0.005][rng.random_range(0..2)],
                late_commit: [0.0, 0.005][rng.random_range(0..2)],
                partial_ingest: [0.0, 0.1][rng.random_range(0..2)],
                object_slow: [0.0, 0.05][rng.random_range(0..2)],
                object_error: [0.0, 0.03, 0.15][rng.random_range(0..3)],
                object_lost_reply: [0.0, 0.03][rng.random_range(0..2)],
                object_truncated: [0.0, 0.03][rng.random_range(0..2)],
            }
        };
        let clients = rng.random_range(1..=5);
        let mut settings = Settings {
            seed,
            nodes,
            node: NodeSettings {
                lease: Duration::from_secs([3, 6, 15][rng.random_range(0..3)]),
                poll: Duration::from_secs(1),
                follow: Duration::from_millis([100, 250][rng.random_range(0..2)]),
                slots: rng.random_range(1..=3),
                memory_bytes: [12 << 20, 64 << 20][rng.random_range(0..2)],
                sizes: Sizes::default(),
                mutation,
            },
            tables: rng.random_range(1..=2),
            rows_first: [0, 3, 40, 300][rng.random_range(0..4)],
            dml: DmlSettings {
                clients,
                rows_each: rng.random_range(4..40),
                values: [4, 30, 1000, 1_000_000][rng.random_range(0..4)],
                think_ms: [10, 60, 300][rng.random_range(0..3)],
                lingers: [0.0, 0.02, 0.1][rng.random_range(0..3)],
            },
            ddl_clients: rng.random_range(1..=2),
            ddl_think_ms: [200, 1000, 3000][rng.random_range(0..3)],
            cancels: rng.random_bool(0.5),
            verify: [None, Some(Verify::Full), Some(Verify::Sort), Some(Verify::Off)][rng.random_range(0..4)],
            cloud: if nodes == 1 { 0.5 } else { 1.0 },
            region_bytes: [1 << 20, 40 << 20, 300 << 20][rng.random_range(0..3)],
            boundaries: rng.random_range(0..20),
            chaos: Duration::from_millis(rng.random_range(2_000..12_000)),
            rates,
            troubles,
            mutation,
        };
        // What is drawn later does not change what was drawn before: seeds that found something stay what they are.
        settings.node.sizes = Sizes {
            merge_budget_bytes: [None, Some(1 << 10)][rng.random_range(0..2)],
            range_bytes_min: [None, Some(200)][rng.random_range(0..2)],
        };
        settings
    }
}
