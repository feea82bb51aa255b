// What the loader told us, copied out of memory that paging.c will unmap.
#pragma once
#include "base.h"

enum { COMMAND_LINE_MAX_BYTES = 2048 };

struct boot_info {
  u64 ram_start, ram_end;        // the RAM range that holds the kernel, page-aligned inwards
  u64 module_start, module_size; // the first module: the function's source
  char command_line[COMMAND_LINE_MAX_BYTES];
  bool command_line_cut;
};

// Reads hvm_start_info (Xen's public/arch-x86/hvm/start_info.h). Ends the guest when it makes no sense.
void boot_info_read(u64 start_info_address, struct boot_info *info);
