//! What the other steps need: compilers, emulators and cross linkers from Debian, cargo-fuzz from its source.

use crate::Outcome;
use crate::run::{call, capture, cargo, command, installed, target_dir};

/// Debian's packages: a compiler with library sources (and its clippy), user-mode emulators, cross linkers.
const PACKAGES: &[&str] = &[
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-clippy",
    "qemu-user-static",
    "g++",
    "gcc-riscv64-linux-gnu",
    "gcc-aarch64-linux-gnu",
    "gcc-arm-linux-gnueabihf",
    "libc6-dev-riscv64-cross",
    "libc6-dev-arm64-cross",
    "libc6-dev-armhf-cross",
];

/// Installs what is missing.
pub(super) fn run() -> Outcome {
    packages()?;
    if super::fuzz::program().is_file() {
        return Ok(());
    }
    let mut install = cargo(&["install", "--quiet", "--locked", "cargo-fuzz", "--root"]);
    // The tool's own build goes with the fuzz targets', not among the workspace's.
    install.arg(target_dir().join("tools")).env("CARGO_TARGET_DIR", target_dir().join("fuzz"));
    call(&mut install)
}

fn packages() -> Outcome {
    if !installed("dpkg-query") || !installed("apt-get") {
        return Err(format!(
            "the other processors' tests are written for Debian; elsewhere, provide what these packages hold: {}",
            PACKAGES.join(" ")
        ));
    }
    let status = |package: &&&str| {
        let state =
            capture(command("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]));
        state.is_ok_and(|state| state == "installed")
    };
    let missing: Vec<&str> = PACKAGES.iter().filter(|package| !status(package)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    if capture(command("id").arg("-u"))?.trim() != "0" {
        let list = missing.join(" ");
        return Err(format!(
            "packages are missing; as root:\n    apt-get install --no-install-recommends {list}"
        ));
    }
    eprintln!("installing {}", missing.join(" "));
    capture(command("apt-get").args(["update", "-qq"]))?;
    let mut install = command("apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends"]).args(missing);
    capture(install.env("DEBIAN_FRONTEND", "noninteractive")).map(|_| ())
}
