// Memory: whole pages from the RAM behind the kernel, and the strict page tables.
#pragma once
#include "base.h"
#include "bootinfo.h"

enum { PAGE_BYTES = 4096 };

// Builds and switches to the strict tables: kernel code R-X, constants R--, data RW-, stacks with guard pages,
// other RAM RW-, everything else (page zero and the low megabyte too) unmapped. Nothing is both W and X.
void paging_init(const struct boot_info *info);
// `count` pages in a row, for good; zeroed, or left as they are (untouched RAM costs the host nothing).
// Ends the guest when there are none.
void *pages_take(u64 count);
void *pages_take_untouched(u64 count);
u64 pages_left(void);
// Makes device memory reachable at its physical address, uncached, never executable.
void paging_map_device(u64 address, u64 size);
