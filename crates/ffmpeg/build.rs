//! Compiles the shim against the system's FFmpeg, whichever version its headers are of.

fn main() {
    println!("cargo:rerun-if-changed=shim");
    #[cfg(feature = "system")]
    system();
}

#[cfg(feature = "system")]
fn system() {
    // FFmpeg 5.0; older ones lack what the shim calls.
    let libraries = [("libavcodec", "59.18"), ("libavutil", "57.17"), ("libswscale", "6.4")];
    let mut build = cc::Build::new();
    build.file("shim/shim.c").std("c11").warnings_into_errors(std::env::var_os("CI").is_some());
    let mut found = Vec::new();
    for (name, version) in libraries {
        match pkg_config::Config::new().atleast_version(version).cargo_metadata(false).probe(name) {
            Ok(library) => {
                build.includes(&library.include_paths);
                found.push(library);
            }
            Err(error) => {
                let packages = "libavcodec-dev libavutil-dev libswscale-dev pkg-config";
                eprintln!(
                    "error: the `ffmpeg` feature needs the system's FFmpeg 5.0 or later (Debian: {packages})\n{error}"
                );
                std::process::exit(1);
            }
        }
    }
    // The shim first: a linker looks for what is still missing in what comes after.
    build.compile("lumenbus_ffmpeg_shim");
    for library in found {
        library.link_paths.iter().for_each(|path| println!("cargo:rustc-link-search=native={}", path.display()));
        library.libs.iter().for_each(|name| println!("cargo:rustc-link-lib=dylib={name}"));
    }
}
