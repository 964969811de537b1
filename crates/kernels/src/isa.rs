//! Which instruction set the kernels run on: detected once, or forced.

use std::sync::OnceLock;

/// Environment variable that forces an instruction set: `portable`, `avx2`, `avx512` or `avx512vnni`.
pub const ISA_VARIABLE: &str = "FORETOKEN_ISA";

/// An instruction set that this machine has.
///
/// AVX2 and both AVX-512 give the same bits; [`Isa::Portable`] agrees within a tolerance on x86-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// What the build target guarantees, nothing more.
    Portable,
    /// AVX2, FMA and F16C: 8 lanes a register.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 16 lanes a register.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with VNNI: four products of bytes a lane in one instruction, for quantised weights.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// Every set this machine has, the plainest first.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut sets = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            if avx2 {
                sets.push(Isa::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    sets.push(Isa::Avx512);
                    if is_x86_feature_detected!("avx512vnni") {
                        sets.push(Isa::Avx512Vnni);
                    }
                }
            }
        }
        sets
    }

    /// The widest set there is, or the one [`ISA_VARIABLE`] names.
    ///
    /// # Errors
    /// The variable names a set that is unknown or that this machine lacks.
    pub fn detect() -> Result<Isa, String> {
        static DETECTED: OnceLock<Result<Isa, String>> = OnceLock::new();
        DETECTED
            .get_or_init(|| Self::choose(std::env::var(ISA_VARIABLE).ok().as_deref()))
            .clone()
    }

    fn choose(forced: Option<&str>) -> Result<Isa, String> {
        let sets = Self::available();
        let Some(name) = forced else {
            return Ok(*sets.last().expect("the portable set is always there"));
        };
        sets.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = sets.iter().map(|isa| isa.name()).collect();
            format!(
                "{ISA_VARIABLE}={name} is not an instruction set of this machine: it has {}",
                names.join(", ")
            )
        })
    }

    /// The name that [`ISA_VARIABLE`] takes and that every figure is recorded with.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => "avx512vnni",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_set_is_taken_or_refused_by_name() {
        assert_eq!(Isa::choose(Some("portable")), Ok(Isa::Portable));
        let error = Isa::choose(Some("mmx")).unwrap_err();
        assert!(error.contains("mmx") && error.contains("portable"), "{error}");
        assert_eq!(Isa::choose(None), Ok(*Isa::available().last().unwrap()));
    }
}
