"""What memory needs before a process serves: fewer collections, and fewer pages given back and fetched again."""

import gc

GC_THRESHOLD = (50_000, 20, 50)
"""A request leaves no cycles behind: the collector is for the rest, and need not look after every 700 objects."""
KEPT = 31 * 1024 * 1024


def tune_gc() -> None:
    """Call once, when all that lives as long as the process has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    # glibc hands memory at the heap's end back to the system from 128 KiB on, and every page that comes again costs a
    # fault: they were half the price of a streamed MiB. Once a larger block has come and gone it keeps twice that much
    # (mallopt(3), M_MMAP_THRESHOLD).
    _ = bytes(KEPT)  # asked for with calloc: not a page of it is touched
