"""What the processor of this machine can do."""

from pathlib import Path

_ROOT = Path("/")


def cpu_features(*, root: Path = _ROOT) -> frozenset[str] | None:
    """Return the names of the instruction sets that the processor has; None if they aren't known.

    Parameters
    ----------
    root : Path, optional
        The folder that holds `proc`.

    Notes
    -----
    Linux lists them by its own names, such as "avx512_bf16" (x86) and "bf16" (Arm).
    Source: arch/x86/include/asm/cpufeatures.h and Documentation/arch/arm64/elf_hwcaps.rst of Linux.
    """
    try:
        lines = (root / "proc" / "cpuinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        name, _, found = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(found.split())
    return None
