// PCI configuration mechanism 1, and a bounded walk over the buses that the firmware has numbered.
#include "pci.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc, HEADER_TYPE = 0x0e, SECONDARY_BUS = 0x19, DEPTH_MAX = 8 };

static void select_register(struct pci_device d, u8 offset) {
  out32(CONFIG_ADDRESS, 0x80000000u | (u32)d.bus << 16 | (u32)d.slot << 11 | (u32)d.function << 8 | (offset & 0xfc));
}

u32 pci_read32(struct pci_device d, u8 offset) {
  select_register(d, offset);
  return in32(CONFIG_DATA);
}
u16 pci_read16(struct pci_device d, u8 offset) { return (u16)(pci_read32(d, offset) >> (offset & 2) * 8); }
u8 pci_read8(struct pci_device d, u8 offset) { return (u8)(pci_read32(d, offset) >> (offset & 3) * 8); }

void pci_write32(struct pci_device d, u8 offset, u32 value) {
  select_register(d, offset);
  out32(CONFIG_DATA, value);
}
void pci_write16(struct pci_device d, u8 offset, u16 value) {
  select_register(d, offset);
  out16(CONFIG_DATA + (offset & 2), value);
}

u64 pci_bar(struct pci_device d, unsigned index) {
  if (index > 5) return 0;
  u32 low = pci_read32(d, (u8)(0x10 + index * 4));
  if (low & 1) return 0;
  u64 high = (low >> 1 & 3) == 2 && index < 5 ? pci_read32(d, (u8)(0x14 + index * 4)) : 0;
  return (low & ~15u) | high << 32;
}

static bool search_bus(u8 bus, unsigned depth, bool (*match)(struct pci_device)) {
  for (u8 slot = 0; slot < 32; slot++) {
    u8 functions = 1;
    for (u8 function = 0; function < functions; function++) {
      struct pci_device d = {bus, slot, function};
      if (pci_read16(d, 0) == 0xffff) continue;
      u8 header = pci_read8(d, HEADER_TYPE);
      if (function == 0 && header & 0x80) functions = 8;
      if (match(d)) return true;
      u8 behind = (header & 0x7f) == 1 ? pci_read8(d, SECONDARY_BUS) : 0;
      if (behind > bus && depth < DEPTH_MAX && search_bus(behind, depth + 1, match)) return true;
    }
  }
  return false;
}

bool pci_search(bool (*match)(struct pci_device)) {
  struct pci_device root = {0, 0, 0};
  if (pci_read32(root, 0) == 0xffffffff) return false;  // microvm has no PCI
  return search_bus(0, 0, match);
}
