"""How much memory a worker holds, and whether an error says that there was none left."""

import os

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, of the machine or of its accelerator."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def resident_bytes() -> int:
    """The resident memory of this process, in bytes."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  read many times a second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
