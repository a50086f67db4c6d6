//! What the CPU can do, as a value that only proof can make: kernels are chosen by it, and those that need an
//! instruction the CPU lacks would end the program.
#![allow(unsafe_code)]

/// A group of instructions that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Feature {
    /// x86-64: SSSE3 and SSE4.1.
    Sse41,
    /// x86-64: AVX2 and F16C.
    Avx2,
    /// x86-64: AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// aarch64: NEON, which each has.
    Neon,
    /// aarch64: `sdot`.
    DotProd,
    /// ARM: the instructions on halves of words that came with ARMv6.
    Armv6,
    /// RISC-V: the vector extension, version 1.0.
    Vector,
}

/// The groups of instructions that the CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuFeatures {
    bits: u32,
}

impl CpuFeatures {
    /// Nothing beyond what the program was compiled for.
    pub const NONE: CpuFeatures = CpuFeatures { bits: 0 };

    /// What can be found without asking the system: all on x86-64 (CPUID), elsewhere what every CPU of the target has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        return x86::detect();
        #[cfg(target_arch = "aarch64")]
        return CpuFeatures { bits: 1 << Feature::Neon as u8 };
        #[allow(unreachable_code)]
        CpuFeatures::NONE
    }

    /// What the tests' machine has.
    #[cfg(test)]
    pub(crate) fn of_tests() -> Self {
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            // SAFETY: just detected.
            return unsafe { Self::detect().with(Feature::DotProd) };
        }
        // SAFETY: no emulator of the tests has an older processor.
        #[cfg(target_arch = "arm")]
        return unsafe { Self::detect().with(Feature::Armv6) };
        // Emulators that have vectors need not know how to ask for them.
        #[cfg(all(target_arch = "riscv64", target_os = "linux"))]
        if std::env::var_os("PICOLM_KERNELS").is_some_and(|name| name == "rvv") {
            // SAFETY: whoever runs the tests says so.
            return unsafe { Self::detect().with(Feature::Vector) };
        }
        #[cfg(all(target_arch = "riscv64", target_os = "linux"))]
        return Self::detect().with_hwprobe();
        #[allow(unreachable_code)]
        Self::detect()
    }

    /// These and one more.
    ///
    /// # Safety
    ///
    /// The CPU must have it, and the system must keep its registers.
    pub const unsafe fn with(self, feature: Feature) -> Self {
        CpuFeatures { bits: self.bits | 1 << feature as u8 }
    }

    /// These and what Linux says with `AT_HWCAP` of the auxiliary vector.
    ///
    /// # Safety
    ///
    /// `hwcap` must be what the kernel of this machine says.
    pub const unsafe fn with_hwcap(self, hwcap: usize) -> Self {
        let _ = hwcap;
        #[cfg(target_arch = "aarch64")]
        if hwcap >> 20 & 1 == 1 {
            // SAFETY: the kernel's bit for `sdot` and `udot`.
            return unsafe { self.with(Feature::DotProd) };
        }
        #[cfg(target_arch = "arm")]
        if hwcap >> 15 & 1 == 1 {
            // SAFETY: the kernel's bit for the register for thread-local storage, which came a step after these instructions.
            return unsafe { self.with(Feature::Armv6) };
        }
        self
    }

    /// These and what Linux says by `riscv_hwprobe`. The auxiliary vector would not do: on boards with version 0.7.1 of the
    /// vector extension its bit is set too. Kernels before 6.4 do not know the call; then there are no vectors.
    #[cfg(all(target_arch = "riscv64", target_os = "linux"))]
    pub fn with_hwprobe(self) -> Self {
        const RISCV_HWPROBE: usize = 258;
        const KEY_IMA_EXT_0: i64 = 4;
        const IMA_V: u64 = 1 << 2;
        let mut pair = (KEY_IMA_EXT_0, 0u64);
        let result: isize;
        // SAFETY: the kernel's calling convention; it writes the value of this one pair, or -1 to a key that it does not
        // know. No set of CPUs stands for all of them.
        unsafe {
            core::arch::asm!(
                "ecall",
                in("a7") RISCV_HWPROBE, inlateout("a0") &raw mut pair => result, in("a1") 1, in("a2") 0, in("a3") 0,
                in("a4") 0, options(nostack),
            );
        }
        if result == 0 && pair.0 == KEY_IMA_EXT_0 && pair.1 & IMA_V != 0 {
            // SAFETY: the kernel says that each CPU has it.
            return unsafe { self.with(Feature::Vector) };
        }
        self
    }

    /// Whether the CPU has it.
    pub const fn has(self, feature: Feature) -> bool {
        self.bits & 1 << feature as u8 != 0
    }

    /// Whether the CPU has all of them.
    pub fn has_all(self, features: &[Feature]) -> bool {
        features.iter().all(|&feature| self.has(feature))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CpuFeatures, Feature};
    use core::arch::x86_64::{__cpuid, __cpuid_count};

    /// Instruction sets by CPUID, and whether the system saves their registers by XCR0.
    #[allow(unused_unsafe)]
    pub(super) fn detect() -> CpuFeatures {
        // SAFETY: every x86-64 CPU has CPUID; leaf 7 is read only if leaf 0 says that it exists.
        let (one, seven) = unsafe {
            let seven = (__cpuid(0).eax >= 7).then(|| __cpuid_count(7, 0));
            (__cpuid(1), seven)
        };
        let all = |register: u32, bits: &[u32]| bits.iter().all(|bit| register >> bit & 1 == 1);
        let mut features = CpuFeatures::NONE;
        let mut found = |feature, present| {
            if present {
                // SAFETY: CPUID has it and, where registers beyond SSE's are used, XCR0 too.
                features = unsafe { features.with(feature) };
            }
        };
        found(Feature::Sse41, all(one.ecx, &[9, 19]));
        // Bit 27: the system uses XSAVE, so XCR0 can be read.
        let Some(seven) = seven.filter(|_| all(one.ecx, &[27])) else { return features };
        let saved = xcr0();
        let avx = all(saved, &[1, 2]) && all(one.ecx, &[28, 29]);
        let avx2 = avx && all(seven.ebx, &[5]);
        found(Feature::Avx2, avx2);
        let avx512 = avx2 && all(saved, &[5, 6, 7]) && all(seven.ebx, &[16, 17, 30, 31]);
        found(Feature::Avx512, avx512 && all(seven.ecx, &[11]));
        features
    }

    /// Which registers the system saves.
    fn xcr0() -> u32 {
        let low: u32;
        // SAFETY: called only if CPUID says that XSAVE is in use; it reads one register.
        unsafe {
            core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack));
        }
        low
    }
}
