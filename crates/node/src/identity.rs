//! What names a node and what it stands on: its cluster, its directory, its machine.

use std::path::Path;

use ilmenite_base::rng;
use ilmenite_store::{Check, CommitOptions, Error, StoreRef, run_txn};

/// Names this cluster among others that share an object store; made once.
pub async fn cluster_id(store: &StoreRef) -> Result<String, Error> {
    const KEY: &[u8] = b"i/cluster";
    run_txn(store, CommitOptions::default(), |txn| {
        Box::pin(async move {
            if let Some(id) = txn.get(KEY).await? {
                return Ok(String::from_utf8_lossy(&id).into_owned());
            }
            let id = rng::hex_id();
            txn.put(KEY, id.clone(), Check::Unchanged)?;
            Ok::<_, Error>(id)
        })
    })
    .await
}

/// Names the directory since the machine's start: what is sorted there is on this disk and no other, and not synced.
pub fn local_id(dir: &Path) -> Result<String, Error> {
    // Where it is not known, every start counts as the machine's.
    let boot_id =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| rng::hex_id());
    Ok(format!("{}@{}", directory_id(dir)?, boot_id.trim()))
}

/// Names the directory, once and for all.
fn directory_id(dir: &Path) -> Result<String, Error> {
    let path = dir.join("node-id");
    let failed = |e: std::io::Error| Error::Io(format!("{}: {e}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
        _ => {
            let id = rng::hex_id();
            std::fs::create_dir_all(dir).map_err(failed)?;
            std::fs::write(&path, &id).map_err(failed)?;
            Ok(id)
        }
    }
}

/// Memory of this machine, or of the container where that is less.
pub fn memory_bytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let total = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|t| t.trim().parse().ok());
    Some(limit.map_or(total, |limit: u64| limit.min(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_id_until_the_machine_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let id = local_id(dir.path()).unwrap();
        assert_eq!(local_id(dir.path()).unwrap(), id);
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(id.ends_with(boot_id.trim()), "{id}");
        assert_ne!(local_id(&dir.path().join("another")).unwrap(), id);
    }
}
