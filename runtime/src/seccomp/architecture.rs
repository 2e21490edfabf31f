//! The architectures that a profile can name, and which of them a machine can run.

/// An architecture, by libseccomp's name for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the specification's names")]
pub enum Architecture {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Mips,
    Mips64,
    Mips64N32,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc,
    Ppc64,
    Ppc64le,
    S390,
    S390x,
    Parisc,
    Parisc64,
    Riscv64,
    Loongarch64,
    M68k,
    Sh,
    Sheb,
}

/// The kernel's name for a family of calls, as a filter sees it in `seccomp_data.arch`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Audit(pub(super) u32);

const AUDIT_X86_64: Audit = Audit(0xc000_003e);
const AUDIT_X86: Audit = Audit(0x4000_0003);
const AUDIT_AARCH64: Audit = Audit(0xc000_00b7);
const AUDIT_ARM: Audit = Audit(0x4000_0028);

impl Architecture {
    /// The architecture this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The architecture this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// The architecture of that name in `config.json`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_ARM" => Self::Arm,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_MIPS" => Self::Mips,
            "SCMP_ARCH_MIPS64" => Self::Mips64,
            "SCMP_ARCH_MIPS64N32" => Self::Mips64N32,
            "SCMP_ARCH_MIPSEL" => Self::Mipsel,
            "SCMP_ARCH_MIPSEL64" => Self::Mipsel64,
            "SCMP_ARCH_MIPSEL64N32" => Self::Mipsel64N32,
            "SCMP_ARCH_PPC" => Self::Ppc,
            "SCMP_ARCH_PPC64" => Self::Ppc64,
            "SCMP_ARCH_PPC64LE" => Self::Ppc64le,
            "SCMP_ARCH_S390" => Self::S390,
            "SCMP_ARCH_S390X" => Self::S390x,
            "SCMP_ARCH_PARISC" => Self::Parisc,
            "SCMP_ARCH_PARISC64" => Self::Parisc64,
            "SCMP_ARCH_RISCV64" => Self::Riscv64,
            "SCMP_ARCH_LOONGARCH64" => Self::Loongarch64,
            "SCMP_ARCH_M68K" => Self::M68k,
            "SCMP_ARCH_SH" => Self::Sh,
            "SCMP_ARCH_SHEB" => Self::Sheb,
            _ => return None,
        })
    }

    /// Whether a kernel of the native architecture can run this one's programs at all. A block for any other
    /// could never match a call.
    pub(super) fn runs_on(self, native: Self) -> bool {
        match native {
            Self::X86_64 => matches!(self, Self::X86_64 | Self::X86 | Self::X32),
            Self::Aarch64 => matches!(self, Self::Aarch64 | Self::Arm),
            Self::X86 | Self::Arm => self == native,
            _ => false,
        }
    }

    /// What the kernel calls this architecture, `None` without a table of its calls.
    /// x32 shares its value with x86-64 and differs in the call's number alone.
    pub(super) fn audit(self) -> Option<Audit> {
        match self {
            Self::X86_64 | Self::X32 => Some(AUDIT_X86_64),
            Self::X86 => Some(AUDIT_X86),
            Self::Aarch64 => Some(AUDIT_AARCH64),
            Self::Arm => Some(AUDIT_ARM),
            _ => None,
        }
    }
}

impl Audit {
    /// Whether arguments are 64 bits wide. x32's registers are, so that it is not told apart.
    pub(super) fn has_wide_arguments(self) -> bool {
        self == AUDIT_X86_64 || self == AUDIT_AARCH64
    }
}
