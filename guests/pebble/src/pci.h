// PCI configuration space by ports 0xcf8/0xcfc.
#pragma once
#include "base.h"

struct pci_device { u8 bus, slot, function; };

u32 pci_read32(struct pci_device d, u8 offset);
u16 pci_read16(struct pci_device d, u8 offset);
u8 pci_read8(struct pci_device d, u8 offset);
void pci_write32(struct pci_device d, u8 offset, u32 value);
void pci_write16(struct pci_device d, u8 offset, u16 value);
// Address of memory BAR `index`; 0 when it is an I/O BAR or not set.
u64 pci_bar(struct pci_device d, unsigned index);
// Calls `match` for every function on bus 0 and behind bridges until it answers true.
bool pci_search(bool (*match)(struct pci_device d));
