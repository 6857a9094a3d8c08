//! Compiles the shim against the system's OpenCV 4.

fn main() {
    println!("cargo:rerun-if-changed=shim");
    #[cfg(feature = "system")]
    system();
}

#[cfg(feature = "system")]
fn system() {
    let mut build = cc::Build::new();
    build.cpp(true).file("shim/shim.cpp").std("c++17").warnings_into_errors(std::env::var_os("CI").is_some());
    // Debian has the package file in `libopencv-dev` alone, which brings every module; three are enough.
    let found = pkg_config::Config::new().atleast_version("4.5").cargo_metadata(false).probe("opencv4");
    let (include_paths, link_paths) = match found {
        Ok(library) => (library.include_paths, library.link_paths),
        Err(_) => (vec!["/usr/include/opencv4".into()], Vec::new()),
    };
    if !include_paths.iter().any(|path: &std::path::PathBuf| path.join("opencv2/objdetect.hpp").is_file()) {
        let packages = "libopencv-core-dev libopencv-imgproc-dev libopencv-objdetect-dev opencv-data";
        eprintln!("error: the `opencv` feature needs the system's OpenCV 4.5 or a later 4.x (Debian: {packages})");
        std::process::exit(1);
    }
    // As the system's own: what OpenCV's headers hold is not for this crate's warnings.
    for path in &include_paths {
        build.flag("-isystem").flag(path);
    }
    // The shim first: a linker looks for what is still missing in what comes after.
    build.compile("lumenbus_opencv_shim");
    link_paths.iter().for_each(|path| println!("cargo:rustc-link-search=native={}", path.display()));
    for module in ["objdetect", "imgproc", "core"] {
        println!("cargo:rustc-link-lib=dylib=opencv_{module}");
    }
}
