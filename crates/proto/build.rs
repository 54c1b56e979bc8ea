//! Generates messages, clients and server traits from `proto/`, with a parser in Rust: no `protoc` to install.

use std::error::Error;
use std::path::Path;

/// Rare and large: in a box, or an answer, and each pair of a scan's answer, would carry their size around for nothing.
const BOXED: &[&str] = &[".errorpb.Error", ".kvrpcpb.KeyError"];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = Path::new("proto");
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        files.push(entry?.path());
    }
    files.sort();
    let descriptors = protox::compile(&files, [dir])?;

    let mut builder = tonic_prost_build::configure()
        .bytes(".")
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
    builder.compile_fds(descriptors)?;
    Ok(())
}
