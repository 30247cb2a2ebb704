"""Keep the memory that each training step frees and needs again."""

from __future__ import annotations

import ctypes
import sys

# mallopt's names for its parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks for this process instead of giving them back to the system.

    The features of a step are blocks of megabytes. By default each is mapped anew at every step, and the system fills
    it with zeros page by page: about 4% of a step on a CPU (`make bench`). Peak memory stays what it is; what was freed
    stays with the process.

    Returns:
        Whether this system's C library could be told so; where it is another one than glibc, nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # All three, as a list, not a chain that ends at the first refusal.
    return all([tell(_TRIM_THRESHOLD, 2**31 - 1), tell(_MMAP_THRESHOLD, 2**30), tell(_TOP_PAD, 2**26)])
