//! The code in `generated/` is what comes of the files in `proto/`. It is kept, so that nobody has to build a parser and a
//! generator who does not change them; `UPDATE_PROTO=1` writes it anew.

use std::path::Path;

/// Rare and large: in a box, or an answer, and each pair of a scan's answer, would carry their size around for nothing.
const BOXED: &[&str] = &[".errorpb.Error", ".kvrpcpb.KeyError"];

/// Parsed in Rust: no `protoc` to install.
fn generate(proto: &Path, into: &Path) {
    let entries = std::fs::read_dir(proto).expect("the directory of the protocol");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let descriptors = protox::compile(&files, [proto]).expect("the files are valid");
    let mut builder = tonic_prost_build::configure()
        .bytes(".")
        .out_dir(into)
        .emit_rerun_if_changed(false);
    for file in &descriptors.file {
        for message in &file.message_type {
            for field in &message.field {
                if BOXED.contains(&field.type_name()) {
                    builder =
                        builder.boxed(format!(".{}.{}.{}", file.package(), message.name(), field.name()));
                }
            }
        }
    }
    builder.compile_fds(descriptors).expect("code is generated");
}

#[test]
fn generated_code_is_that_of_the_protocol() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = here.join("generated");
    let update = std::env::var_os("UPDATE_PROTO").is_some();
    let scratch = tempfile::tempdir().expect("a directory");
    generate(&here.join("proto"), scratch.path());
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory");
        let names = entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let fresh = names(scratch.path());
    assert!(fresh.len() > 5, "{fresh:?}");
    for name in &fresh {
        let text = std::fs::read_to_string(scratch.path().join(name)).expect("generated code");
        if update {
            std::fs::write(kept.join(name), text).expect("it is kept");
            continue;
        }
        let found = std::fs::read_to_string(kept.join(name)).unwrap_or_default();
        assert!(
            found == text,
            "{name} is out of date: UPDATE_PROTO=1 cargo test -p ilmenite-proto"
        );
    }
    assert_eq!(names(&kept), fresh, "files nobody generates");
}
