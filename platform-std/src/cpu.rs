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
    features
}
