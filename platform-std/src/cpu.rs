//! What the CPU can do, as the system tells it.
#![allow(unsafe_code)]

use picolm_core::platform::CpuFeatures;

/// Every group of instructions that the CPU has and kernels are written for.
pub fn cpu_features() -> CpuFeatures {
    let features = CpuFeatures::detect();
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("dotprod") {
        // SAFETY: the system says that the CPU has it.
        return unsafe { features.with(picolm_core::platform::Feature::DotProd) };
    }
    #[cfg(all(target_arch = "arm", target_os = "linux"))]
    if let Some(hwcap) = hwcap() {
        // SAFETY: it is what the kernel says.
        return unsafe { features.with_hwcap(hwcap) };
    }
    #[cfg(all(target_arch = "riscv64", target_os = "linux"))]
    let features = match std::env::var_os("PICOLM_KERNELS") {
        // SAFETY: the user says that the CPU has vectors, to a system that cannot be asked.
        Some(name) if name == "rvv" => unsafe { features.with(picolm_core::platform::Feature::Vector) },
        _ => features.with_hwprobe(),
    };
    features
}

/// `AT_HWCAP` of the auxiliary vector, for which Rust has no stable question on this architecture.
#[cfg(all(target_arch = "arm", target_os = "linux"))]
fn hwcap() -> Option<usize> {
    const AT_HWCAP: usize = 16;
    let vector = std::fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    let mut entries = vector.chunks_exact(2 * size_of::<usize>());
    entries.find_map(|entry| {
        let (key, value) = entry.split_at(size_of::<usize>());
        if word(key) == Some(AT_HWCAP) { word(value) } else { None }
    })
}
