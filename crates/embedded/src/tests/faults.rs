//! Crashes, damage, and failing disks.

use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::watermark;
use ilmenite_base::ErrorClass;
use ilmenite_store::conformance::mutation;

/// Set in the child process: the directory to write to.
const CHILD: &str = "ILMENITE_STORE_TEST_CHILD";

/// Not a test by itself: what the child process of the next one does, until it is killed.
#[test]
fn child_commits_until_killed() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let s = Arc::new(EmbeddedStore::open(path, test_options()).unwrap());
        let round = s.begin_timestamp().await.unwrap();
        let mut tasks = Vec::new();
        for writer in 0..4 {
            let s = s.clone();
            tasks.push(tokio::spawn(async move {
                for i in 0u32.. {
                    let key = format!("{round}/{writer}/{i:06}");
                    let partition = format!("p{}{key}", ['A', 'B', 'C'][i as usize / 20 % 3]);
                    let ts = write(&s, &[(&key, Some("v")), (&partition, Some("v"))]).await;
                    // One line is one write to the pipe: acknowledged to somebody outside of the process.
                    println!("ack {ts} {key} {partition}");
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test]
async fn every_acknowledged_commit_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut acknowledged = Vec::new();
    let mut last = Timestamp::ZERO;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "tests::faults::child_commits_until_killed",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // More each round; the child is in the middle of further commits when it dies.
        for line in lines.by_ref().take(10 + round * 60) {
            acknowledged.push(line.unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.map_while(|line| line.ok()));

        let s = EmbeddedStore::open(&path, test_options()).unwrap();
        let now = s.timestamp().await.unwrap();
        assert!(now > last, "time goes on");
        last = now;
        let mut seen = 0;
        for line in acknowledged
            .iter()
            .filter_map(|l| l.split_once("ack ").map(|(_, l)| l))
        {
            let mut words = line.split(' ');
            let ts = Timestamp(words.next().unwrap().parse().unwrap());
            assert!(ts <= now);
            // A torn last line has fewer words.
            let keys: Vec<_> = words.collect();
            if keys.len() == 2 && keys[1].len() == keys[0].len() + 2 {
                for key in keys {
                    assert_eq!(s.get(key.as_bytes(), ts).await.unwrap(), Some(b("v")), "{line}");
                    assert_eq!(s.get(key.as_bytes(), ts.prev()).await.unwrap(), None, "{line}");
                }
                seen += 1;
            }
        }
        assert!(seen >= 10 + round * 60 - 10, "{seen} in round {round}");
        // Whole transactions only: as many rows in the partitions as outside.
        let all = scan_all(&s, KeyRange::default(), now, ScanOptions::default()).await;
        let inside = all.iter().filter(|(k, _)| k.starts_with('p')).count();
        assert_eq!(inside * 2, all.len());
    }
}

/// A store with data in tables and in the journal, closed.
async fn filled(dir: &tempfile::TempDir) -> PathBuf {
    let s = open(dir);
    for i in 0..20 {
        write(
            &s,
            &[
                (&format!("a{i:02}"), Some("v")),
                (&format!("pA{i:02}"), Some("v")),
            ],
        )
        .await;
    }
    let at = s.timestamp().await.unwrap();
    ingest(&*s, KeyRange::prefix(b"pB"), at, &[("pB1", "v")]).await;
    for i in 0..20 {
        write(&s, &[(&format!("b{i:02}"), Some("v"))]).await;
    }
    s.close().await.unwrap();
    let path = dir.path().join("db");
    // Journals are made 64 MiB long beforehand; the zeros would only be copied again and again.
    for entry in std::fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|e| e == "jnl") {
            let data = std::fs::read(&file).unwrap();
            let used = data.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1);
            std::fs::write(&file, &data[..used]).unwrap();
        }
    }
    path
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Every file in turn is removed, emptied, cut in half, or overwritten: the store either says it is damaged (at the
/// latest when the data are read), or has everything. It never starts with less.
#[tokio::test]
async fn damage_never_passes_for_an_emptier_store() {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(&dir).await;
    let expected = {
        let s = EmbeddedStore::open(&whole, test_options()).unwrap();
        let now = s.timestamp().await.unwrap();
        scan_all(&s, KeyRange::default(), now, ScanOptions::default()).await
    };
    assert_eq!(expected.len(), 61);
    let mut all = Vec::new();
    files(&whole, &mut all);
    let mut refused = 0;
    for file in all {
        let name = file.strip_prefix(&whole).unwrap();
        for damage in ["removed", "emptied", "cut", "overwritten"] {
            let scratch = dir.path().join("scratch");
            copy(&whole, &scratch);
            let target = scratch.join(name);
            let data = std::fs::read(&target).unwrap();
            match damage {
                "removed" => std::fs::remove_file(&target).unwrap(),
                "emptied" => std::fs::write(&target, b"").unwrap(),
                "cut" => std::fs::write(&target, &data[..data.len() / 2]).unwrap(),
                _ => {
                    let mut f = std::fs::File::options().write(true).open(&target).unwrap();
                    f.seek(SeekFrom::Start(data.len() as u64 / 2)).unwrap();
                    f.write_all(&[0x5a; 16]).unwrap();
                }
            }
            let what = format!("{} {damage}", name.display());
            match EmbeddedStore::open(&scratch, test_options()) {
                Err(Error::Damaged { path, detail }) => {
                    assert!(
                        path.starts_with(scratch.to_str().unwrap()),
                        "{what}: {path}: {detail}"
                    );
                    refused += 1;
                    // And so it stays.
                    assert!(
                        EmbeddedStore::open(&scratch, test_options()).is_err(),
                        "{what}, again"
                    );
                }
                Err(e) => panic!("{what}: {e}"),
                Ok(s) => {
                    let now = s.timestamp().await.unwrap();
                    let mut scan = s.scan(KeyRange::default(), now, ScanOptions::default()).unwrap();
                    let mut batch = KvBatch::new();
                    let mut rows = 0;
                    loop {
                        match scan.next_batch(&mut batch).await {
                            Ok(true) => rows += batch.len(),
                            Ok(false) => {
                                assert_eq!(rows, expected.len(), "{what}");
                                break;
                            }
                            Err(Error::Damaged { .. }) => {
                                refused += 1;
                                break;
                            }
                            Err(e) => panic!("{what}: {e}"),
                        }
                    }
                }
            }
            std::fs::remove_dir_all(&scratch).unwrap();
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("photo.jpg"), b"x").unwrap();
    let refused = EmbeddedStore::open(dir.path(), test_options());
    assert!(matches!(refused, Err(Error::Io(text)) if text.contains("not empty")));
    let file = dir.path().join("photo.jpg");
    assert!(EmbeddedStore::open(file, test_options()).is_err());
}

/// A creation that was interrupted at any moment is begun again.
#[tokio::test]
async fn an_interrupted_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    drop(s);
    let path = dir.path().join("db");
    watermark::set_watermark(&path, 0);
    std::fs::remove_file(path.join("version")).unwrap();
    let s = open(&dir);
    let ts = write(&s, &[("a", Some("1"))]).await;
    drop(s);
    let s = open(&dir);
    assert_eq!(s.get(b"a", ts).await.unwrap(), Some(b("1")));
}

/// Between the last renewal of the watermark and a crash, the batches themselves tell what was synced.
#[tokio::test]
async fn a_hole_in_a_journal_is_told_from_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let value = "v".repeat(100);
    for i in 0..30 {
        write(&s, &[(&format!("a{i:02}"), Some(&value))]).await;
    }
    // As a crash would leave it, before the watermark moved.
    let crashed = dir.path().join("crashed");
    copy(&dir.path().join("db"), &crashed);
    watermark::set_watermark(&crashed, 1);
    drop(s);
    let file = crashed.join("0.jnl");
    let journal = std::fs::read(&file).unwrap();
    let used = journal.iter().rposition(|&b| b != 0).unwrap() + 1;
    let rows = |path: PathBuf| async move {
        let s = EmbeddedStore::open(path, test_options())?;
        let now = s.timestamp().await?;
        Ok::<_, Error>(
            scan_all(&s, KeyRange::default(), now, ScanOptions::default())
                .await
                .len(),
        )
    };

    // A batch in the middle no longer adds up: refused, and the file left as it is.
    let mut hole = journal.clone();
    hole[used / 2..used / 2 + 8].fill(0);
    std::fs::write(&file, &hole).unwrap();
    let refused = rows(crashed.clone()).await;
    assert!(
        matches!(&refused, Err(Error::Damaged { path, .. }) if path.ends_with("0.jnl")),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), hole);

    // The last batch is torn: it was never acknowledged, for all one can tell.
    let mut torn = journal.clone();
    torn[used - 20..].fill(0);
    std::fs::write(&file, &torn).unwrap();
    assert_eq!(rows(crashed.clone()).await.unwrap(), 29);

    // The same in a journal that another one follows.
    std::fs::write(&file, &torn).unwrap();
    std::fs::write(crashed.join("1.jnl"), b"").unwrap();
    let refused = rows(crashed.clone()).await;
    assert!(
        matches!(&refused, Err(Error::Damaged { path, .. }) if path.ends_with("0.jnl")),
        "{refused:?}"
    );
}

/// With too little free space nothing is begun, so nothing is half done, and it goes on when there is space again.
#[tokio::test]
async fn a_full_disk_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let s = open(&dir);
    write(&s, &[("a", Some("1"))]).await;
    drop(s);
    let full = EmbeddedOptions {
        reserve_disk_bytes: u64::MAX,
        ..test_options()
    };
    let s = EmbeddedStore::open(&path, full).unwrap();
    let start_ts = s.begin_timestamp().await.unwrap();
    let refused = s
        .commit(CommitRequest {
            start_ts,
            mutations: vec![mutation("a", Some("2"), Check::Unchanged)],
            ..CommitRequest::default()
        })
        .await;
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::DiskFull(_)), "{error}");
    assert_eq!(error.class(), ilmenite_base::ErrorClass::Resource);
    let mut ingest = s.ingest(KeyRange::prefix(b"pA"), start_ts).await.unwrap();
    let mut batch = KvBatch::new();
    batch.push(b"pA1", b"v");
    assert!(matches!(ingest.write(&batch).await, Err(Error::DiskFull(_))));
    drop(ingest);
    let now = s.timestamp().await.unwrap();
    assert_eq!(s.get(b"a", now).await.unwrap(), Some(b("1")), "reads go on");
    drop(s);

    // The system's own rows may use the reserve: a lease that ran out would leave nobody to say what is wrong.
    let fs = rustix::fs::statvfs(&path).unwrap();
    let nearly_full = EmbeddedOptions {
        reserve_disk_bytes: fs.f_bavail * fs.f_frsize * 2,
        ..test_options()
    };
    let s = EmbeddedStore::open(&path, nearly_full).unwrap();
    for (key, accepted) in [("a", true), ("pA1", false)] {
        let start_ts = s.begin_timestamp().await.unwrap();
        let committed = s
            .commit(CommitRequest {
                start_ts,
                mutations: vec![mutation(key, Some("1"), Check::Unchanged)],
                ..CommitRequest::default()
            })
            .await;
        match accepted {
            true => drop(committed.unwrap()),
            false => assert!(matches!(committed, Err(Error::DiskFull(_))), "{committed:?}"),
        }
    }
    drop(s);
    write(&open(&dir), &[("a", Some("2"))]).await;
}

/// And nothing in it is changed: the program that is named opens it afterwards.
#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused_with_the_program_to_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = EmbeddedStore::open(&path, test_options()).unwrap();
    write(&store, &[("k", Some("v"))]).await;
    let of_newer = |format: &str| {
        let meta = &store.core.keyspaces.meta;
        meta.insert(crate::meta::FORMAT, format.as_bytes()).unwrap();
    };
    of_newer("2 9.8.7");
    store.close().await.unwrap();
    drop(store);
    for _ in 0..2 {
        let Err(error) = EmbeddedStore::open(&path, test_options()) else {
            panic!("a newer directory was opened");
        };
        assert_eq!(error.class(), ErrorClass::Permanent);
        let text = error.to_string();
        assert!(text.starts_with("the data directory has format 2"), "{text}");
        assert!(text.ends_with("use ilmenite 9.8.7 or newer"), "{text}");
    }
}
