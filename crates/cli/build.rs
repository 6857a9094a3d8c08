//! Notes whether nasm was there: without it the H.264 codec is built without its assembly and is several times slower.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    // Elsewhere the codec's assembly needs no nasm.
    let found = matches!(target.as_str(), "x86" | "x86_64")
        .then(|| Command::new("nasm").arg("-v").output().is_ok_and(|output| output.status.success()));
    let found = found.map_or("not needed", |found| if found { "found" } else { "missing" });
    println!("cargo::rustc-env=LUMENBUS_NASM={found}");
}
