use std::path::Path;

use super::*;
use crate::format::{MAGIC, TRAILER_BYTES, VERSION};
use crate::writer::RunEncoder;

fn encode(entries: &[Entry], path: &str) -> (Vec<u8>, RunMeta) {
    let mut encoder = RunEncoder::new(1 << 20, Some(1)).unwrap();
    for (key, value) in entries {
        encoder.push(key, value).unwrap();
    }
    encoder.finish(path.into()).unwrap()
}

fn tiny() -> Vec<Entry> {
    vec![
        (b"a".to_vec(), b"1".to_vec()),
        (b"ab".to_vec(), vec![]),
        (b"c".to_vec(), b"22".to_vec()),
    ]
}

/// The bytes of version 3: a change here is a new version of the format.
#[test]
fn golden_bytes() {
    let (file, meta) = encode(&tiny(), "g");
    let block = b"\x01\x01a1\x02\x00ab\x01\x02c22";
    let mut expected = block.to_vec();
    let digest = digest_of(&tiny());
    expected.extend_from_slice(&3u64.to_le_bytes());
    expected.extend_from_slice(&7u64.to_le_bytes());
    expected.extend_from_slice(&digest.sum.to_le_bytes());
    expected.extend_from_slice(b"\x01\0\0\0a\x01\0\0\0c");
    expected.extend_from_slice(&1u32.to_le_bytes());
    expected.extend_from_slice(&0u64.to_le_bytes());
    for number in [13u32, 13, 3] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(block).to_le_bytes());
    expected.extend_from_slice(b"\x01\0\0\0a");
    let footer = expected[13..].to_vec();
    expected.extend_from_slice(&(footer.len() as u64).to_le_bytes());
    expected.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&footer).to_le_bytes());
    expected.extend_from_slice(&VERSION.to_le_bytes());
    let trailer = expected.len() - 20;
    let checksum = xxhash_rust::xxh3::xxh3_64(&expected[trailer..]) as u32;
    expected.extend_from_slice(&checksum.to_le_bytes());
    expected.extend_from_slice(&MAGIC);
    assert_eq!(hex::encode(&file), hex::encode(&expected));
    assert_eq!(hex::encode(&file), GOLDEN);
    assert_eq!(meta.stored_bytes, file.len() as u64);
    assert_eq!(meta.footer_bytes, (footer.len() + TRAILER_BYTES) as u64);
}

const GOLDEN: &str = "010161310200616201026332320300000000000000070000000000000083a79f02c44c6504b944\
    b88cb7c158e3010000006101000000630100000000000000000000000d0000000d00000003000000\
    a06a9ed9ccaffdb101000000614f00000000000000ffb4bdbc863aa3fc03000000e25cd160494c4d\
    52554e0d0a";

#[test]
fn meta_is_compact_and_round_trips() {
    let mut entries = index_entries(&mut rng(1), 200_000, u64::MAX);
    entries.sort();
    let (_, meta) = encode(&entries, "7/1/1/000000.run");
    assert!(
        (24..=MAX_BUCKETS).contains(&meta.histogram.len()),
        "{}",
        meta.histogram.len()
    );
    assert_eq!(
        meta.histogram.iter().map(|bucket| bucket.bytes).sum::<u64>(),
        meta.raw_bytes()
    );
    let text = serde_json::to_string(&meta).unwrap();
    assert!(text.len() < 8 << 10, "{} bytes in a row", text.len());
    assert_eq!(serde_json::from_str::<RunMeta>(&text).unwrap(), meta);
    // Each bucket begins after the last key of the one before.
    for bucket in &meta.histogram[1..] {
        let at = entries.partition_point(|(key, _)| key[..] < bucket.start[..]);
        assert!(at > 0 && entries[at - 1].0[..] < bucket.start[..]);
    }
}

async fn try_read(storage: &ObjectStorage, meta: &RunMeta) -> Result<Vec<Entry>> {
    let options = merge_options(64 << 20, DuplicatePolicy::Allow);
    let mut merge = Merge::new(
        storage,
        std::slice::from_ref(meta),
        KeyRange::default(),
        &options,
        &token(),
    )?;
    read_all(&mut merge).await
}

async fn expect_found(storage: &ObjectStorage, file: &Path, meta: &RunMeta, bytes: Vec<u8>, what: &str) {
    std::fs::write(file, bytes).unwrap();
    match try_read(storage, meta).await {
        Err(Error::Damaged { path, .. }) => assert_eq!(path, meta.path),
        Err(error) => panic!("{what}: {error}"),
        Ok(entries) => panic!("{what}: not found, {} entries read", entries.len()),
    }
}

/// Against F50 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn every_changed_byte_is_found() {
    let (dir, storage) = directory();
    let mut compressible: Vec<Entry> = (0..400u32)
        .map(|i| (i.to_be_bytes().to_vec(), b"the same again".to_vec()))
        .collect();
    compressible.extend(tiny());
    compressible.sort();
    for (name, entries) in [("tiny.run", tiny()), ("compressed.run", compressible)] {
        let (good, meta) = encode(&entries, name);
        let file = dir.path().join("objects").join(name);
        std::fs::write(&file, &good).unwrap();
        assert_eq!(try_read(&storage, &meta).await.unwrap(), entries);
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                expect_found(
                    &storage,
                    &file,
                    &meta,
                    bad,
                    &format!("{name} byte {at} ^ {flip:#x}"),
                )
                .await;
            }
        }
        for len in 0..good.len() {
            expect_found(
                &storage,
                &file,
                &meta,
                good[..len].to_vec(),
                &format!("{name} cut to {len}"),
            )
            .await;
        }
        let longer = [&good[..], b"\0"].concat();
        expect_found(&storage, &file, &meta, longer, "a byte more").await;
        // A whole and healthy file, but another one.
        let mut others = entries.clone();
        others[0].1.clear();
        others[1].1 = b"1".to_vec();
        let (other, _) = encode(&others, name);
        expect_found(&storage, &file, &meta, other, "another run").await;
    }
}

/// As an attacker or a bug of ours would write it: checksums right, content wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_lie_is_no_panic() {
    let (dir, storage) = directory();
    let (good, meta) = encode(&tiny(), "lie.run");
    let footer_at = good.len() - meta.footer_bytes as usize;
    for at in 0..meta.footer_bytes as usize - TRAILER_BYTES {
        for value in [0x00, 0x01, 0x7f, 0xff] {
            let mut bad = good.clone();
            if bad[footer_at + at] == value {
                continue;
            }
            bad[footer_at + at] = value;
            let trailer = bad.len() - TRAILER_BYTES;
            let footer_sum = xxhash_rust::xxh3::xxh3_64(&bad[footer_at..trailer]);
            bad[trailer + 8..trailer + 16].copy_from_slice(&footer_sum.to_le_bytes());
            let trailer_sum = xxhash_rust::xxh3::xxh3_64(&bad[trailer..trailer + 20]) as u32;
            bad[trailer + 20..trailer + 24].copy_from_slice(&trailer_sum.to_le_bytes());
            let file = dir.path().join("objects/lie.run");
            expect_found(
                &storage,
                &file,
                &meta,
                bad,
                &format!("footer byte {at} = {value:#x}"),
            )
            .await;
        }
    }
}
