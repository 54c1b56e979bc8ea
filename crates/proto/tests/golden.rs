//! Bytes worked out by hand from the protocol's field numbers: a tag is `number << 3 | wire type` (0 varint, 2 length
//! and content), and a field with its default value is not written.

use std::fmt::Debug;

use bytes::Bytes;
use ilmenite_proto::{deadlock, debugpb, errorpb, ilmenitepb, import_sstpb, kvrpcpb, metapb, pdpb, tikvpb};
use prost::Message;
use tonic::server::NamedService;

/// `hex` with spaces between fields; encodes to it, and decodes from it.
#[track_caller]
fn golden<M: Message + Default + PartialEq + Debug>(message: M, hex: &str) {
    let expected = hex::decode(hex.replace(char::is_whitespace, "")).expect("hex");
    assert_eq!(
        hex::encode(message.encode_to_vec()),
        hex::encode(&expected),
        "{message:?}"
    );
    assert_eq!(M::decode(&expected[..]).expect("decodes"), message);
}

fn bytes(s: &'static str) -> Bytes {
    Bytes::from_static(s.as_bytes())
}

fn context() -> kvrpcpb::Context {
    kvrpcpb::Context {
        region_id: 2,
        region_epoch: Some(metapb::RegionEpoch {
            conf_ver: 1,
            version: 3,
        }),
        peer: Some(metapb::Peer {
            id: 5,
            store_id: 1,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn prewrite_in_one_phase_with_a_limit() {
    golden(
        kvrpcpb::PrewriteRequest {
            context: Some(context()),
            mutations: vec![kvrpcpb::Mutation {
                op: kvrpcpb::Op::Put.into(),
                key: bytes("k"),
                value: bytes("v"),
                assertion: kvrpcpb::Assertion::None.into(),
            }],
            primary_lock: bytes("k"),
            start_version: 10,
            lock_ttl: 3000,
            txn_size: 1,
            try_one_pc: true,
            max_commit_ts: 300,
            ..Default::default()
        },
        "0a0e 0802 120408011003 1a0408051001  1206 12016b 1a0176  1a016b  200a  28b817  4001  6801  70ac02",
    );
}

#[test]
fn prewrite_of_a_pessimistic_transaction() {
    use kvrpcpb::prewrite_request::{ForUpdateTsConstraint, PessimisticAction};
    golden(
        kvrpcpb::PrewriteRequest {
            mutations: vec![kvrpcpb::Mutation {
                op: kvrpcpb::Op::Insert.into(),
                key: bytes("k"),
                value: Bytes::new(),
                assertion: kvrpcpb::Assertion::NotExist.into(),
            }],
            pessimistic_actions: vec![
                PessimisticAction::DoPessimisticCheck.into(),
                PessimisticAction::DoConstraintCheck.into(),
            ],
            for_update_ts: 11,
            min_commit_ts: 12,
            use_async_commit: true,
            secondaries: vec![bytes("a"), bytes("b")],
            assertion_level: kvrpcpb::AssertionLevel::Strict.into(),
            for_update_ts_constraints: vec![ForUpdateTsConstraint {
                index: 1,
                expected_for_update_ts: 11,
            }],
            ..Default::default()
        },
        "1207 0804 12016b 2002  3a020102  480b  500c  5801  620161 620162  7802  820104 0801 100b",
    );
    golden(
        kvrpcpb::PrewriteResponse {
            min_commit_ts: 1,
            one_pc_commit_ts: 128,
            ..Default::default()
        },
        "1801 208001",
    );
}

#[test]
fn context_with_known_locks() {
    golden(
        kvrpcpb::Context {
            priority: kvrpcpb::CommandPri::High.into(),
            isolation_level: kvrpcpb::IsolationLevel::Rc.into(),
            not_fill_cache: true,
            resolved_locks: vec![1, 300],
            max_execution_duration_ms: 20,
            resource_group_tag: bytes("t"),
            disk_full_opt: kvrpcpb::DiskFullOpt::AllowedOnAlmostFull.into(),
            is_retry_request: true,
            committed_locks: vec![7],
            request_source: "ddl".into(),
            txn_source: 1,
            ..Default::default()
        },
        "3002 3801 4001 6a0301ac02 7014 920101 74 980101 a00101 b2010107 c20103 64646c c80101",
    );
}

#[test]
fn pessimistic_lock() {
    golden(
        kvrpcpb::PessimisticLockRequest {
            mutations: vec![kvrpcpb::Mutation {
                op: kvrpcpb::Op::PessimisticLock.into(),
                key: bytes("k"),
                ..Default::default()
            }],
            primary_lock: bytes("k"),
            start_version: 1,
            lock_ttl: 2,
            for_update_ts: 3,
            is_first_lock: true,
            wait_timeout: -1,
            return_values: true,
            min_commit_ts: 4,
            check_existence: true,
            lock_only_if_exists: true,
            wake_up_mode: kvrpcpb::PessimisticLockWakeUpMode::WakeUpModeForceLock.into(),
            ..Default::default()
        },
        "1205 0805 12016b  1a016b 2001 2802 3003 3801 40ffffffffffffffffff01 5001 5804 6001 6801 7001",
    );
    golden(
        kvrpcpb::PessimisticLockResponse {
            values: vec![bytes("v"), Bytes::new()],
            not_founds: vec![false, true],
            results: vec![kvrpcpb::PessimisticLockKeyResult {
                r#type: kvrpcpb::PessimisticLockKeyResultType::LockResultLockedWithConflict.into(),
                value: bytes("v"),
                existence: true,
                locked_with_conflict_ts: 9,
                skip_resolving_lock: true,
            }],
            ..Default::default()
        },
        "2a0176 2a00  32020001  420b 0801 120176 1801 2009 5801",
    );
}

#[test]
fn errors() {
    golden(
        kvrpcpb::GetResponse {
            region_error: Some(Box::new(errorpb::Error {
                message: "m".into(),
                epoch_not_match: Some(errorpb::EpochNotMatch {
                    current_regions: vec![metapb::Region {
                        id: 2,
                        start_key: bytes("a"),
                        end_key: bytes("b"),
                        ..Default::default()
                    }],
                }),
                ..Default::default()
            })),
            ..Default::default()
        },
        "0a0f 0a016d 2a0a0a08 0802 120161 1a0162",
    );
    golden(
        errorpb::Error {
            recovery_in_progress: Some(errorpb::RecoveryInProgress { region_id: 1 }),
            undetermined_result: Some(errorpb::UndeterminedResult { message: "u".into() }),
            ..Default::default()
        },
        "8201020801 b201030a0175",
    );
    golden(
        kvrpcpb::KeyError {
            deadlock: Some(kvrpcpb::Deadlock {
                lock_ts: 1,
                lock_key: bytes("k"),
                deadlock_key_hash: 2,
                wait_chain: vec![deadlock::WaitForEntry {
                    txn: 3,
                    wait_for_txn: 1,
                    key: bytes("q"),
                    ..Default::default()
                }],
                deadlock_key: bytes("d"),
            }),
            ..Default::default()
        },
        "3213 0801 12016b 1802 2207 0803 1001 220171 2a0164",
    );
    golden(
        kvrpcpb::KeyError {
            commit_ts_too_large: Some(kvrpcpb::CommitTsTooLarge { commit_ts: 5 }),
            txn_lock_not_found: Some(kvrpcpb::TxnLockNotFound { key: bytes("k") }),
            ..Default::default()
        },
        "4a020805 62030a016b",
    );
}

#[test]
fn commands_in_one_stream() {
    use tikvpb::batch_commands_request::{Request, request::Cmd};
    golden(
        tikvpb::BatchCommandsRequest {
            requests: vec![
                Request {
                    cmd: Some(Cmd::Get(kvrpcpb::GetRequest {
                        key: bytes("k"),
                        version: 5,
                        ..Default::default()
                    })),
                },
                Request {
                    cmd: Some(Cmd::CheckSecondaryLocks(kvrpcpb::CheckSecondaryLocksRequest {
                        start_version: 6,
                        ..Default::default()
                    })),
                },
            ],
            request_ids: vec![1, 2],
        },
        "0a07 0a05 12016b 1805  0a05 8a0202 1806  12020102",
    );
}

#[test]
fn regions() {
    golden(
        pdpb::ScanRegionsRequest {
            header: Some(pdpb::RequestHeader {
                cluster_id: 7,
                ..Default::default()
            }),
            start_key: bytes("a"),
            limit: 128,
            end_key: bytes("z"),
        },
        "0a020807 120161 188001 22017a",
    );
    golden(
        pdpb::GetRegionResponse {
            header: Some(pdpb::ResponseHeader {
                cluster_id: 7,
                error: Some(pdpb::Error {
                    r#type: pdpb::ErrorType::RegionNotFound.into(),
                    message: "m".into(),
                }),
            }),
            leader: Some(metapb::Peer {
                id: 5,
                store_id: 1,
                role: metapb::PeerRole::Learner.into(),
                is_witness: true,
            }),
            down_peers: vec![pdpb::PeerStats {
                peer: None,
                down_seconds: 9,
            }],
            pending_peers: vec![metapb::Peer {
                id: 6,
                ..Default::default()
            }],
            ..Default::default()
        },
        "0a09 0807 1205 0806 12016d  1a08 0805 1001 1801 2001  2a02 1009  3202 0806",
    );
    golden(
        kvrpcpb::SplitRegionRequest {
            split_keys: vec![bytes("m")],
            ..Default::default()
        },
        "1a016d",
    );
}

#[test]
fn safe_points() {
    golden(
        pdpb::UpdateServiceGcSafePointRequest {
            service_id: bytes("ddl/1"),
            ttl: -1,
            safe_point: 400,
            ..Default::default()
        },
        "1205 64646c2f31  18ffffffffffffffffff01  209003",
    );
    golden(
        pdpb::UpdateServiceGcSafePointResponse {
            ttl: i64::MAX,
            min_safe_point: 1,
            ..Default::default()
        },
        "18ffffffffffffffff7f 2001",
    );
}

#[test]
fn import() {
    let meta = import_sstpb::SstMeta {
        uuid: bytes("0123456789abcdef"),
        range: Some(import_sstpb::Range {
            start: bytes("a"),
            end: bytes("b"),
        }),
        crc32: 1,
        length: 2,
        cf_name: "write".into(),
        region_id: 3,
        region_epoch: Some(metapb::RegionEpoch {
            conf_ver: 1,
            version: 4,
        }),
        end_key_exclusive: true,
        total_kvs: 5,
        total_bytes: 6,
        api_version: kvrpcpb::ApiVersion::V2.into(),
    };
    golden(
        meta.clone(),
        "0a10 30313233343536373839616263646566  1206 0a0161 120162  1801 2002 2a05 7772697465 3003
         3a04 0801 1004  4001 4805 5006 5802",
    );
    golden(
        import_sstpb::WriteRequest {
            chunk: Some(import_sstpb::write_request::Chunk::Batch(
                import_sstpb::WriteBatch {
                    commit_ts: 9,
                    pairs: vec![import_sstpb::Pair {
                        key: bytes("k"),
                        value: bytes("v"),
                        op: import_sstpb::pair::Op::Delete.into(),
                    }],
                },
            )),
            context: Some(kvrpcpb::Context::default()),
        },
        "120c 0809 1208 0a016b 120176 1801  1a00",
    );
    golden(
        import_sstpb::MultiIngestRequest {
            context: None,
            ssts: vec![import_sstpb::SstMeta {
                region_id: 3,
                ..Default::default()
            }],
        },
        "12023003",
    );
}

#[test]
fn our_own_service_keeps_its_numbers() {
    use ilmenitepb::chaos_request::Action;
    golden(
        ilmenitepb::ChaosRequest {
            action: Some(Action::AddFault(ilmenitepb::Fault {
                kind: ilmenitepb::FaultKind::LostReply.into(),
                region_id: 1,
                store_id: 2,
                method: "m".into(),
                requests: 3,
                duration_ms: 4,
                delay_ms: 5,
                backoff_ms: 6,
            })),
        },
        "2211 0808 1001 1802 22016d 2803 3004 3805 4006",
    );
}

#[test]
fn services_have_the_names_of_the_protocol() {
    fn name<S: NamedService>() -> &'static str {
        S::NAME
    }
    assert_eq!(name::<pdpb::pd_server::PdServer<()>>(), "pdpb.PD");
    assert_eq!(name::<tikvpb::tikv_server::TikvServer<()>>(), "tikvpb.Tikv");
    assert_eq!(
        name::<import_sstpb::import_sst_server::ImportSstServer<()>>(),
        "import_sstpb.ImportSST"
    );
    assert_eq!(name::<debugpb::debug_server::DebugServer<()>>(), "debugpb.Debug");
    assert_eq!(
        name::<ilmenitepb::ilmenite_server::IlmeniteServer<()>>(),
        "ilmenitepb.Ilmenite"
    );
}

#[test]
fn fields_we_do_not_know_are_skipped() {
    // A value, then 6 (execution details, which we leave out) with something in it, then 7 (a commit timestamp).
    let encoded = hex::decode("1a0176 320408011002 3805".replace(' ', "")).expect("hex");
    let response = kvrpcpb::GetResponse::decode(&encoded[..]).expect("decodes");
    assert_eq!(
        response,
        kvrpcpb::GetResponse {
            value: bytes("v"),
            ..Default::default()
        }
    );
    // An operation newer than ours stays what it is, and is not taken for another.
    let lock = kvrpcpb::LockInfo::decode(&[0x30, 0x63][..]).expect("decodes");
    assert_eq!(lock.lock_type, 99);
    assert!(kvrpcpb::Op::try_from(lock.lock_type).is_err());
}

#[test]
fn values_are_not_copied() {
    let encoded: Bytes = kvrpcpb::ScanResponse {
        pairs: vec![kvrpcpb::KvPair {
            error: None,
            key: bytes("key"),
            value: bytes("value"),
        }],
        ..Default::default()
    }
    .encode_to_vec()
    .into();
    let decoded = kvrpcpb::ScanResponse::decode(encoded.clone()).expect("decodes");
    assert!(encoded.as_ptr_range().contains(&decoded.pairs[0].value.as_ptr()));
}

/// A scan answers with tens of thousands of pairs: each must be little more than its two byte strings.
#[test]
fn errors_cost_nothing_where_there_are_none() {
    let two = 2 * size_of::<Bytes>() + size_of::<usize>();
    assert_eq!(size_of::<kvrpcpb::KvPair>(), two);
    assert!(size_of::<kvrpcpb::GetResponse>() <= two);
}
