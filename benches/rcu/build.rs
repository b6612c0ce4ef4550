//! Compiles the loops over liburcu if its headers are installed, as `ci/bench/run.sh rcu` does.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(liburcu)");
    println!("cargo::rerun-if-changed=liburcu.c");
    let places = [
        "/usr/include",
        "/usr/include/x86_64-linux-gnu",
        "/usr/include/aarch64-linux-gnu",
    ];
    if !places
        .iter()
        .any(|dir| std::path::Path::new(dir).join("urcu.h").exists())
    {
        println!("cargo::warning=liburcu is not installed: its rows are left out");
        return;
    }
    println!("cargo::rustc-cfg=liburcu");
    for flavour in ["memb", "bp", "qsbr"] {
        cc::Build::new()
            .file("liburcu.c")
            .define("FLAVOUR", flavour)
            .define(&format!("FLAVOUR_{flavour}"), None)
            .opt_level(3)
            .compile(&format!("loops_{flavour}"));
        println!("cargo::rustc-link-lib=urcu-{flavour}");
    }
    println!("cargo::rustc-link-lib=urcu-common");
}
