//! The processors: how each is emulated and compiled for.

/// A processor of one of the targets.
#[derive(Debug)]
pub(super) struct Cpu {
    /// As in `cargo xtask sizes`.
    pub(super) target: &'static str,
    /// The processor.
    pub(super) name: &'static str,
    /// Rust's name of the target with a C library.
    pub(super) triple: &'static str,
    /// Debian's prefix of the cross compilers.
    pub(super) gnu: &'static str,
    /// The dynamically linked emulator; the static one loads no plugins.
    pub(super) emulator: &'static str,
    /// The emulator's name of the processor.
    pub(super) emulated: &'static str,
    /// The emulator's name of the nearest processor that can run Debian's C library too.
    pub(super) emulated_libc: &'static str,
    /// CMake's name of the processor.
    pub(super) processor: &'static str,
    /// Flags for all of llama.cpp.
    pub(super) flags: &'static str,
    /// CMake's options for its kernels.
    pub(super) cmake: &'static [&'static str],
}

/// Every processor.
pub(super) static CPUS: &[Cpu] = &[
    Cpu {
        target: "aarch64",
        // Raspberry Pi 3 and Zero 2: no dot products.
        name: "cortex-a53",
        triple: "aarch64-unknown-linux-gnu",
        gnu: "aarch64-linux-gnu",
        emulator: "qemu-aarch64",
        emulated: "cortex-a53",
        emulated_libc: "cortex-a53",
        processor: "aarch64",
        flags: "",
        cmake: &["-DGGML_CPU_ARM_ARCH=armv8-a"],
    },
    Cpu {
        target: "aarch64",
        // Raspberry Pi 5: dot products and half floats.
        name: "cortex-a76",
        triple: "aarch64-unknown-linux-gnu",
        gnu: "aarch64-linux-gnu",
        emulator: "qemu-aarch64",
        emulated: "cortex-a76",
        emulated_libc: "cortex-a76",
        processor: "aarch64",
        flags: "",
        cmake: &["-DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod+fp16"],
    },
    Cpu {
        target: "riscv64",
        // The boards with this instruction set and no usable vectors.
        name: "rv64gc",
        triple: "riscv64gc-unknown-linux-gnu",
        gnu: "riscv64-linux-gnu",
        emulator: "qemu-riscv64",
        emulated: "rv64",
        emulated_libc: "rv64",
        processor: "riscv64",
        flags: "",
        cmake: &[
            "-DGGML_RVV=OFF",
            "-DGGML_RV_ZFH=OFF",
            "-DGGML_RV_ZICBOP=OFF",
            "-DGGML_RV_ZIHINTPAUSE=OFF",
        ],
    },
    Cpu {
        target: "armv6",
        // Raspberry Pi 1 and Zero. Debian's C library is for ARMv7, so programs with it run on a later processor,
        // without NEON; their own code keeps to ARMv6.
        name: "arm1176",
        triple: "arm-unknown-linux-gnueabihf",
        gnu: "arm-linux-gnueabihf",
        emulator: "qemu-arm",
        emulated: "arm1176",
        emulated_libc: "cortex-a9,neon=off",
        processor: "armv6l",
        flags: "-march=armv6+fp -marm -Wno-psabi",
        cmake: &["-DGGML_CPU_ARM_ARCH=armv6+fp"],
    },
];
