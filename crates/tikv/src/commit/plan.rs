//! What a commit request means for TiKV: operations, actions, primary.

use std::collections::HashSet;

use ahash::RandomState;
use bytes::Bytes;
use ilmenite_proto::kvrpcpb::Op;
use ilmenite_proto::kvrpcpb::prewrite_request::PessimisticAction;
use ilmenite_store::{Check, CommitRequest, Error, Result, Timestamp};

use crate::key::{MAX_ENTRY_BYTES, check_key};
use crate::metrics::METRICS;
use crate::registry::Locks;

#[derive(Clone)]
pub(super) struct Write {
    pub key: Bytes,
    pub op: Op,
    pub value: Bytes,
    pub action: PessimisticAction,
}

impl Write {
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + 32
    }
}

/// What a key must be at the commit timestamp.
pub(super) struct Required {
    pub key: Bytes,
    pub value: Option<Bytes>,
    /// The transaction inserted it and took it away again, so a value is the error of an insert.
    pub not_inserted: bool,
}

pub(super) struct Plan {
    /// In key order.
    pub writes: Vec<Write>,
    /// In `writes`.
    pub primary: usize,
    pub required: Vec<Required>,
    /// Zero: an optimistic transaction.
    pub for_update_ts: Timestamp,
    pub min_commit_ts: Timestamp,
    pub max_commit_ts: Option<Timestamp>,
}

/// Bounds and sense of a request, before anything is done.
pub(super) fn check(request: &CommitRequest, max_transaction_bytes: usize) -> Result<()> {
    let mut bytes = 0;
    let mut unique: HashSet<&[u8], RandomState> = HashSet::default();
    for m in &request.mutations {
        check_key(&m.key)?;
        let size = m.key.len() + m.value.as_ref().map_or(0, Bytes::len) + 64;
        if size > MAX_ENTRY_BYTES {
            return Err(Error::TooLarge {
                what: "value",
                size,
                limit: MAX_ENTRY_BYTES,
            });
        }
        bytes += size;
        if !unique.insert(&m.key) {
            return Err(Error::Bug("a key twice in one commit".into()));
        }
    }
    if bytes > max_transaction_bytes {
        return Err(Error::TooLarge {
            what: "transaction",
            size: bytes,
            limit: max_transaction_bytes,
        });
    }
    for p in &request.preconditions {
        check_key(&p.key)?;
    }
    Ok(())
}

impl Plan {
    /// `now`: a timestamp taken after the request came.
    pub(super) fn new(request: CommitRequest, locks: &Locks, now: Timestamp) -> Result<Self> {
        let CommitRequest {
            mutations,
            preconditions,
            max_commit_ts,
            ..
        } = request;
        let mut required: Vec<Required> = preconditions
            .into_iter()
            .map(|p| Required {
                key: p.key,
                value: p.value,
                not_inserted: false,
            })
            .collect();
        let mut writes = Vec::with_capacity(mutations.len());
        let mut pessimistic = !locks.keys.is_empty();
        let mut written: HashSet<Bytes, RandomState> = HashSet::default();
        for m in mutations {
            let held = locks.keys.get(&m.key);
            if held.is_some() {
                written.insert(m.key.clone());
            }
            let op = match (&m.value, m.check, held) {
                (_, Check::MustNotExist, Some(held)) if held.exists => {
                    METRICS.conflicts.with_label_values(&["key_exists"]).inc();
                    return Err(Error::KeyExists { key: m.key.to_vec() });
                }
                (None, Check::MustNotExist, None) => {
                    required.push(Required {
                        key: m.key,
                        value: None,
                        not_inserted: true,
                    });
                    continue;
                }
                (Some(_), Check::MustNotExist, None) => Op::Insert,
                (Some(_), ..) => Op::Put,
                (None, ..) => Op::Del,
            };
            let action = match (held, m.check) {
                (Some(_), _) => PessimisticAction::DoPessimisticCheck,
                (None, Check::None) => {
                    pessimistic = true;
                    PessimisticAction::SkipPessimisticCheck
                }
                (None, _) => PessimisticAction::DoConstraintCheck,
            };
            writes.push(Write {
                key: m.key,
                op,
                value: m.value.unwrap_or_default(),
                action,
            });
        }
        if !writes.is_empty() {
            let only_locked = locks.keys.keys().filter(|key| !written.contains(*key));
            writes.extend(only_locked.map(|key| Write {
                key: key.clone(),
                op: Op::Lock,
                value: Bytes::new(),
                action: PessimisticAction::DoPessimisticCheck,
            }));
        }
        writes.sort_by(|a, b| a.key.cmp(&b.key));
        let primary = match &locks.primary {
            // Locks that stand point to it.
            Some(primary) => writes.iter().position(|w| w.key == primary),
            None => None,
        };
        Ok(Plan {
            writes,
            primary: primary.unwrap_or(0),
            required,
            for_update_ts: match pessimistic {
                true => now.max(locks.greatest_for_update_ts()),
                false => Timestamp::ZERO,
            },
            min_commit_ts: now.next(),
            max_commit_ts,
        })
    }

    /// When every required key is one the transaction writes, and `required` held at a timestamp after its start: the same
    /// with the checks of a prewrite in place of them, so that it can be committed in one phase.
    pub(super) fn with_required_as_checks(&self) -> Option<Plan> {
        if self.required.is_empty() {
            return None;
        }
        let mut writes = self.writes.clone();
        for required in &self.required {
            let at = writes.binary_search_by(|w| w.key.cmp(&required.key)).ok()?;
            if writes[at].action == PessimisticAction::SkipPessimisticCheck {
                writes[at].action = PessimisticAction::DoConstraintCheck;
            }
        }
        Some(Plan {
            writes,
            required: Vec::new(),
            primary: self.primary,
            for_update_ts: self.for_update_ts,
            min_commit_ts: self.min_commit_ts,
            max_commit_ts: self.max_commit_ts,
        })
    }

    pub(super) fn primary_key(&self) -> &Bytes {
        &self.writes[self.primary].key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ilmenite_store::{Mutation, Precondition};

    use super::*;
    use crate::key::MAX_KEY_BYTES;
    use crate::registry::Held;

    fn locks(keys: &[(&'static str, bool)]) -> Locks {
        let mut locks = Locks::default();
        for (key, exists) in keys {
            let held = Held {
                for_update_ts: Timestamp(50),
                exists: *exists,
                ghost: false,
            };
            locks.keys.insert(Bytes::from(*key), held);
        }
        locks.primary = keys.first().map(|(key, _)| Bytes::from(*key));
        locks
    }

    fn request(mutations: &[(&'static str, Option<&'static str>, Check)]) -> CommitRequest {
        CommitRequest {
            start_ts: Timestamp(10),
            mutations: mutations
                .iter()
                .map(|(key, value, check)| Mutation {
                    key: Bytes::from(*key),
                    value: value.map(Bytes::from),
                    check: *check,
                })
                .collect(),
            ..CommitRequest::default()
        }
    }

    fn planned(plan: &Plan) -> BTreeMap<String, (Op, PessimisticAction)> {
        let of = |w: &Write| (String::from_utf8_lossy(&w.key).into_owned(), (w.op, w.action));
        plan.writes.iter().map(of).collect()
    }

    #[test]
    fn checks_become_operations_and_actions() {
        use PessimisticAction::*;
        let mutations = [
            ("a", Some("1"), Check::Unchanged),
            ("b", None, Check::Unchanged),
            ("c", Some("1"), Check::MustNotExist),
        ];
        let plan = Plan::new(request(&mutations), &locks(&[]), Timestamp(100)).unwrap();
        assert_eq!(plan.for_update_ts, Timestamp::ZERO, "an optimistic transaction");
        assert_eq!(plan.min_commit_ts, Timestamp(101));
        let ops = planned(&plan);
        assert_eq!(ops["a"].0, Op::Put);
        assert_eq!(ops["b"].0, Op::Del);
        assert_eq!(ops["c"].0, Op::Insert);

        // One key without a check makes it a pessimistic one, so that the check can be left out.
        let mutations = [("a", Some("1"), Check::Unchanged), ("n", Some("1"), Check::None)];
        let plan = Plan::new(request(&mutations), &locks(&[]), Timestamp(100)).unwrap();
        assert_eq!(plan.for_update_ts, Timestamp(100));
        let ops = planned(&plan);
        assert_eq!(ops["a"], (Op::Put, DoConstraintCheck));
        assert_eq!(ops["n"], (Op::Put, SkipPessimisticCheck));

        let held = locks(&[("l", false), ("a", true), ("c", false)]);
        let mutations = [
            ("a", Some("1"), Check::None),
            ("b", None, Check::None),
            ("c", Some("1"), Check::MustNotExist),
            ("d", Some("1"), Check::MustNotExist),
        ];
        let plan = Plan::new(request(&mutations), &held, Timestamp(100)).unwrap();
        let ops = planned(&plan);
        assert_eq!(ops["a"], (Op::Put, DoPessimisticCheck));
        assert_eq!(ops["b"], (Op::Del, SkipPessimisticCheck));
        assert_eq!(
            ops["c"],
            (Op::Put, DoPessimisticCheck),
            "its absence was seen under the lock"
        );
        assert_eq!(ops["d"], (Op::Insert, DoConstraintCheck));
        assert_eq!(ops["l"], (Op::Lock, DoPessimisticCheck), "locked and not written");
        assert_eq!(plan.primary_key(), "l");
        let exists = Plan::new(
            request(&[("a", Some("1"), Check::MustNotExist)]),
            &held,
            Timestamp(100),
        );
        assert!(matches!(exists, Err(Error::KeyExists { .. })));
    }

    #[test]
    fn conditions_on_keys_that_are_not_written() {
        let mut request = request(&[("gone", None, Check::MustNotExist)]);
        request.preconditions.push(Precondition {
            key: "owner".into(),
            value: Some("me".into()),
        });
        let plan = Plan::new(request, &locks(&[]), Timestamp(100)).unwrap();
        assert!(plan.writes.is_empty());
        assert_eq!(plan.required.len(), 2);
        assert!(plan.required[1].not_inserted && plan.required[1].value.is_none());
        // Locks alone are nothing to write.
        let plan = Plan::new(CommitRequest::default(), &locks(&[("l", true)]), Timestamp(100)).unwrap();
        assert!(plan.writes.is_empty());
    }

    #[test]
    fn conditions_on_written_keys_become_checks() {
        let guard = |key: &'static str| Precondition {
            key: key.into(),
            value: None,
        };
        let mut own = request(&[("a", Some("1"), Check::None), ("b", Some("1"), Check::None)]);
        own.preconditions.push(guard("b"));
        let plan = Plan::new(own.clone(), &locks(&[]), Timestamp(100)).unwrap();
        let quick = plan.with_required_as_checks().unwrap();
        assert!(quick.required.is_empty());
        assert_eq!(planned(&quick)["a"].1, PessimisticAction::SkipPessimisticCheck);
        assert_eq!(planned(&quick)["b"].1, PessimisticAction::DoConstraintCheck);
        own.preconditions.push(guard("owner"));
        let plan = Plan::new(own, &locks(&[]), Timestamp(100)).unwrap();
        assert!(plan.with_required_as_checks().is_none());
    }

    #[test]
    fn requests_are_bounded() {
        let twice = request(&[("a", None, Check::None), ("a", None, Check::None)]);
        assert!(matches!(check(&twice, 1 << 20), Err(Error::Bug(_))));
        let large = request(&[("a", Some("0123456789"), Check::None)]);
        assert!(matches!(
            check(&large, 70),
            Err(Error::TooLarge {
                what: "transaction",
                ..
            })
        ));
        check(&large, 80).unwrap();
        let mut huge = large.clone();
        huge.mutations[0].value = Some(vec![0; MAX_ENTRY_BYTES].into());
        assert!(matches!(
            check(&huge, 1 << 30),
            Err(Error::TooLarge { what: "value", .. })
        ));
        huge.mutations[0].key = vec![1; MAX_KEY_BYTES + 1].into();
        assert!(matches!(
            check(&huge, 1 << 30),
            Err(Error::TooLarge { what: "key", .. })
        ));
    }
}
