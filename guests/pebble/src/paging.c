// Page tables with 4 KiB pages where rights differ and 2 MiB pages elsewhere; identity-mapped, built once.
// The page allocator only hands out: nothing is ever given back.
#include "paging.h"
#include "console.h"

#define PTE_PRESENT 1ull
#define PTE_WRITE 2ull
#define PTE_UNCACHED 0x18ull  // PWT | PCD
#define PTE_LARGE 0x80ull
#define PTE_NO_EXECUTE (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull
#define LARGE_BYTES 0x200000ull

extern char __text_start[], __text_end[], __rodata_start[], __rodata_end[], __data_start[], __kernel_end[];
extern char main_stack_guard[], fault_stack_guard[];

static u64 next_page, end_page;
static u64 *top_table;

void *pages_take_untouched(u64 count) {
  u64 at = next_page, bytes = count * PAGE_BYTES;
  if (bytes / PAGE_BYTES != count || bytes > end_page - at) die(EXIT_MEMORY, "out of memory (%llu pages wanted)", (unsigned long long)count);
  next_page += bytes;
  return (void *)at;
}

void *pages_take(u64 count) {
  return memset(pages_take_untouched(count), 0, count * PAGE_BYTES);
}

u64 pages_left(void) { return (end_page - next_page) / PAGE_BYTES; }

// The table one level down, made when it is missing.
static u64 *descend(u64 *table, unsigned index) {
  if (!(table[index] & PTE_PRESENT)) table[index] = (u64)pages_take(1) | PTE_PRESENT | PTE_WRITE;
  return (u64 *)(table[index] & PTE_ADDRESS);
}

static void map(u64 from, u64 to, u64 flags) {
  while (from < to) {
    u64 *directory = descend(descend(top_table, from >> 39 & 511), from >> 30 & 511);
    u64 *entry = &directory[from >> 21 & 511];
    bool whole = (from & (LARGE_BYTES - 1)) == 0 && to - from >= LARGE_BYTES;
    if (whole && !(*entry & PTE_PRESENT)) {
      *entry = from | flags | PTE_PRESENT | PTE_LARGE;
      from += LARGE_BYTES;
      continue;
    }
    if (*entry & PTE_LARGE) die(EXIT_FAULT, "page %llx is mapped twice", (unsigned long long)from);
    descend(directory, from >> 21 & 511)[from >> 12 & 511] = from | flags | PTE_PRESENT;
    from += PAGE_BYTES;
  }
}

static void unmap_page(u64 address) {
  u64 *directory = descend(descend(top_table, address >> 39 & 511), address >> 30 & 511);
  descend(directory, address >> 21 & 511)[address >> 12 & 511] = 0;
}

void paging_init(const struct boot_info *info) {
  next_page = (u64)__kernel_end;
  end_page = info->ram_end;
  // The loader puts the module near the end of RAM: pages stop below it.
  if (info->module_size && info->module_start >= next_page && info->module_start < end_page)
    end_page = info->module_start & ~(u64)(PAGE_BYTES - 1);
  if (end_page > (1ull << 30)) end_page = 1ull << 30;  // tables are built through boot.S's 1 GiB map

  top_table = pages_take(1);
  map((u64)__text_start, (u64)__text_end, 0);
  map((u64)__rodata_start, (u64)__rodata_end, PTE_NO_EXECUTE);
  map((u64)__data_start, (u64)__kernel_end, PTE_WRITE | PTE_NO_EXECUTE);
  map((u64)__kernel_end, info->ram_end, PTE_WRITE | PTE_NO_EXECUTE);
  unmap_page((u64)main_stack_guard);
  unmap_page((u64)fault_stack_guard);
  __asm__ volatile("mov %0, %%cr3" ::"r"(top_table) : "memory");
}

void paging_map_device(u64 address, u64 size) {
  u64 from = address & ~(u64)(PAGE_BYTES - 1), to = (address + size + PAGE_BYTES - 1) & ~(u64)(PAGE_BYTES - 1);
  for (; from < to; from += PAGE_BYTES) map(from, from + PAGE_BYTES, PTE_WRITE | PTE_NO_EXECUTE | PTE_UNCACHED);
}
