// Reads the PVH start information (Xen: public/arch-x86/hvm/start_info.h) once, at boot.
#include "bootinfo.h"
#include "console.h"

struct start_info {
  u32 magic, version, flags, module_count;
  u64 modules, command_line, rsdp, memory_map;
  u32 memory_map_entries, reserved;
};
struct module_entry { u64 address, size, command_line, reserved; };
struct memory_entry { u64 address, size; u32 type, reserved; };

enum { START_INFO_MAGIC = 0x336ec578, MEMORY_RAM = 1, MEMORY_ENTRIES_MAX = 128 };
#define BOOT_MAP_END (1ull << 30)  // what boot.S has mapped

extern char __text_start[], __kernel_end[];

static const void *reachable(u64 address, u64 size, const char *what) {
  if (address == 0 || address + size < address || address + size > BOOT_MAP_END)
    die(EXIT_FAULT, "start information: %s out of reach", what);
  return (const void *)address;
}

static void find_ram(const struct start_info *start, struct boot_info *info) {
  if (start->version < 1 || start->memory_map_entries == 0)
    die(EXIT_FAULT, "start information has no memory map");
  u32 count = start->memory_map_entries < MEMORY_ENTRIES_MAX ? start->memory_map_entries : MEMORY_ENTRIES_MAX;
  const struct memory_entry *map = reachable(start->memory_map, (u64)count * sizeof *map, "memory map");
  for (u32 i = 0; i < count; i++) {
    u64 first = map[i].address, end = map[i].address + map[i].size;
    if (map[i].type != MEMORY_RAM || end < first) continue;
    if (first > (u64)__text_start || end < (u64)__kernel_end) continue;
    info->ram_start = (first + 4095) & ~4095ull;
    info->ram_end = end & ~4095ull;
  }
  if (info->ram_end == 0) die(EXIT_MEMORY, "the kernel does not lie in RAM of the memory map");
}

void boot_info_read(u64 address, struct boot_info *info) {
  const struct start_info *start = reachable(address, sizeof *start, "header");
  if (start->magic != START_INFO_MAGIC) die(EXIT_FAULT, "not started by a PVH loader");
  find_ram(start, info);
  if (start->module_count > 0) {
    const struct module_entry *module = reachable(start->modules, sizeof *module, "module list");
    info->module_start = module->address;
    info->module_size = module->size;
  }
  if (start->command_line) {
    const char *text = reachable(start->command_line, 1, "command line");
    size_t n = 0;
    while (n < COMMAND_LINE_MAX_BYTES - 1 && text[n]) n++;
    memcpy(info->command_line, text, n);
    info->command_line_cut = text[n] != 0;
  }
}
