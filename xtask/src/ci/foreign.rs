//! The tests on other processors, emulated, and the engine for machines without an operating system.
//!
//! Debian's compiler builds the standard library from its source package, so no other toolchain is needed.

use std::process::Command;

use crate::run::{call, cargo, debian_cargo};
use crate::{Outcome, root, sizes, text};

/// A processor whose tests run in a user-mode emulator.
struct Target {
    triple: &'static str,
    /// Debian's prefix of the cross compiler, and of the folder with the C library.
    gnu: &'static str,
    emulator: &'static str,
    /// The emulator's names of further processors, which run other kernels: only these are tested there. Some must be named,
    /// because programs cannot ask the emulator for what they need.
    models: &'static [(&'static str, Option<&'static str>)],
}

const TARGETS: &[Target] = &[
    Target {
        triple: "riscv64gc-unknown-linux-gnu",
        gnu: "riscv64-linux-gnu",
        emulator: "qemu-riscv64-static",
        // With vectors of two lengths.
        models: &[("rv64,v=true,vlen=128", Some("rvv")), ("rv64,v=true,vlen=512", Some("rvv"))],
    },
    Target {
        triple: "aarch64-unknown-linux-gnu",
        gnu: "aarch64-linux-gnu",
        emulator: "qemu-aarch64-static",
        // Without and with dot products of bytes.
        models: &[("cortex-a53", None), ("max", None)],
    },
    // ARMv6 with floating point, as in the first Pi Zero.
    Target {
        triple: "arm-unknown-linux-gnueabihf",
        gnu: "arm-linux-gnueabihf",
        emulator: "qemu-arm-static",
        models: &[],
    },
];

/// The emulators' programs.
pub(crate) const EMULATORS: &[&str] = &["qemu-riscv64-static", "qemu-aarch64-static", "qemu-arm-static"];

/// Processors without an operating system for which the engine must build: 32 and 64 bits, without and with
/// hardware floats.
const BARE: &[&str] = &["thumbv7em-none-eabi", "riscv64gc-unknown-none-elf"];

/// Runs the engine's and the program's tests on each processor.
pub(super) fn tests() -> Outcome {
    for target in TARGETS {
        call(test(target, "").arg("--tests"))?;
        for (model, kernels) in target.models {
            let mut test = test(target, &format!("-cpu {model} "));
            call(test.arg("selftest").envs(kernels.map(|kernels| ("PICOLM_KERNELS", kernels))))?;
        }
    }
    Ok(())
}

/// The engine's unit tests, with options for the emulator.
fn test(target: &Target, options: &str) -> Command {
    let variable = format!("CARGO_TARGET_{}", target.triple.to_uppercase().replace('-', "_"));
    let mut test = debian_cargo(&["test", "--quiet", "-Zbuild-std", "--target", target.triple]);
    test.args(["--package", "picolm-core", "--lib"]);
    test.env(format!("{variable}_LINKER"), format!("{}-gcc", target.gnu));
    let runner = format!("{} {options}-L /usr/{}", target.emulator, target.gnu);
    test.env(format!("{variable}_RUNNER"), runner);
    test
}

/// Checks the platform without libc, and runs the command's tests on the command without libc, on each target.
pub(super) fn raw() -> Outcome {
    crate::raw::check(&root(), &[]).map_err(text)?;
    for (target, program) in sizes::build(lexopt::Parser::from_iter(["raw"]))? {
        let mut test = cargo(&["test", "--quiet", "--package", "picolm-cli", "--tests"]);
        test.env("PICOLM_PROGRAM", program).env("PICOLM_RUNNER", target.qemu.join(" "));
        call(&mut test)?;
    }
    Ok(())
}

/// Builds the engine without an operating system and lints it there.
pub(super) fn bare() -> Outcome {
    for target in BARE {
        let mut build = debian_cargo(&["clippy", "--quiet", "--package", "picolm-core", "--lib"]);
        build.args(["-Zbuild-std=core,alloc", "--target", target, "--", "-D", "warnings"]);
        call(&mut build)?;
        let mut build = debian_cargo(&["build", "--quiet", "--release", "--package", "picolm-core"]);
        call(build.args(["-Zbuild-std=core,alloc", "--target", target]))?;
    }
    Ok(())
}
