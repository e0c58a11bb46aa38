//! Generates Rust from the `.proto` files without protoc: protox compiles them, tonic and pbjson write the code.

use std::path::{Path, PathBuf};

use prost::Message;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut files = proto_files(Path::new("assize/admin/v1"))?;
    files.extend(proto_files(Path::new("google/rpc"))?);
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }

    let descriptors = protox::compile(&files, ["."])?;
    let encoded = descriptors.encode_to_vec();
    std::fs::write(out.join("descriptors.bin"), &encoded)?;

    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .btree_map(".")
        .compile_fds(descriptors)?;

    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .extern_path(".google.protobuf", "::pbjson_types")
        .btree_map(["."])
        .build(&[".assize.admin.v1"])?;
    Ok(())
}

fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
