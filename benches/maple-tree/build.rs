//! Compiles Linux's maple tree if linux/fetch.sh has fetched its source, as `ci/bench/run.sh
//! maple-tree` does.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(linux_tree)");
    println!("cargo::rerun-if-changed=linux");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/linux");
    println!("cargo::rerun-if-changed={}", source.join("VERSION").display());
    if !source.join("VERSION").exists() {
        println!("cargo::warning=no kernel source, see linux/fetch.sh: Linux's rows are left out");
        return;
    }
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let built = Command::new("linux/build.sh").arg(&source).arg(&out).status();
    assert!(built.is_ok_and(|status| status.success()), "linux/build.sh failed");
    println!("cargo::rustc-cfg=linux_tree");
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=cmt");
    println!("cargo::rustc-link-lib=urcu-memb");
    println!("cargo::rustc-link-lib=urcu-common");
}
