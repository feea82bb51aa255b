// virtio over PCI, modern layout (virtio 1.1, section 4.1), with one MSI-X vector for the receive queue.
#include "apic.h"
#include "console.h"
#include "paging.h"
#include "pci.h"
#include "traps.h"
#include "virtio.h"

enum {
  VENDOR_VIRTIO = 0x1af4, NETWORK_MODERN = 0x1041, NETWORK_TRANSITIONAL = 0x1000, CAP_POINTER = 0x34, CAP_VENDOR = 9,
  CAP_MSIX = 0x11, CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_DEVICE = 4, CAPS_MAX = 48, REGION_MAX_BYTES = 1 << 20,
  // Common configuration structure, 4.1.4.3.
  DEVICE_FEATURES_SELECT = 0, DEVICE_FEATURES = 4, DRIVER_FEATURES_SELECT = 8, DRIVER_FEATURES = 12, MSIX_CONFIG = 16,
  DEVICE_STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE_REGISTER = 24, QUEUE_MSIX = 26, QUEUE_ENABLE = 28, QUEUE_NOTIFY_OFF = 30,
  QUEUE_DESCRIPTORS = 32, QUEUE_DRIVER = 40, QUEUE_DEVICE = 48, MSIX_NONE = 0xffff,
};

static u64 common, notify_base, device_config, msix_table;
static u32 notify_multiplier;

static bool is_network(struct pci_device d) {
  u16 id = pci_read16(d, 2);
  return pci_read16(d, 0) == VENDOR_VIRTIO && (id == NETWORK_MODERN || id == NETWORK_TRANSITIONAL);
}

static u64 map_region(struct pci_device d, u8 bar, u32 offset, u32 length) {
  static u64 mapped[8][2];  // capabilities share pages: each page is mapped once
  u64 base = pci_bar(d, bar);
  if (!base || length > REGION_MAX_BYTES) return 0;
  for (u64 page = (base + offset) & ~4095ull; page < base + offset + length; page += PAGE_BYTES) {
    bool known = false;
    unsigned i = 0;
    for (; i < ARRAY_SIZE(mapped) && mapped[i][1]; i++) known |= mapped[i][0] == page;
    if (known) continue;
    if (i == ARRAY_SIZE(mapped)) return 0;
    mapped[i][0] = page;
    mapped[i][1] = 1;
    paging_map_device(page, 1);
  }
  return base + offset;
}

static bool probe(struct pci_device d) {
  if (!is_network(d)) return false;
  common = notify_base = device_config = msix_table = 0;
  u8 at = pci_read8(d, CAP_POINTER) & 0xfc;
  for (int i = 0; i < CAPS_MAX && at; i++, at = pci_read8(d, (u8)(at + 1)) & 0xfc) {
    u8 kind = pci_read8(d, at);
    if (kind == CAP_MSIX) {
      u32 table = pci_read32(d, (u8)(at + 4));
      msix_table = map_region(d, table & 7, table & ~7u, 16);
      pci_write16(d, (u8)(at + 2), (u16)((pci_read16(d, (u8)(at + 2)) & 0x3fff) | 0x8000));
    }
    if (kind != CAP_VENDOR) continue;
    u8 structure = pci_read8(d, (u8)(at + 3)), bar = pci_read8(d, (u8)(at + 4));
    u32 offset = pci_read32(d, (u8)(at + 8)), length = pci_read32(d, (u8)(at + 12));
    if (structure == CFG_COMMON && !common) common = map_region(d, bar, offset, length);
    if (structure == CFG_DEVICE && !device_config) device_config = map_region(d, bar, offset, (u32)min_u64(length, 64));
    if (structure == CFG_NOTIFY && !notify_base) {
      notify_multiplier = pci_read32(d, (u8)(at + 16));
      notify_base = map_region(d, bar, offset, (u32)min_u64(length, 2 * PAGE_BYTES));
    }
  }
  if (!common || !notify_base || !device_config || !msix_table) {
    say("virtio-net at %02x:%02x.%u lacks the modern layout or MSI-X", d.bus, d.slot, d.function);
    return false;
  }
  pci_write16(d, 4, (u16)(pci_read16(d, 4) | 0x406));  // memory, bus master, no INTx
  u64 message = msi_address();
  mmio_write32(msix_table, (u32)message);
  mmio_write32(msix_table + 4, 0);
  mmio_write32(msix_table + 8, VECTOR_NETWORK);
  mmio_write32(msix_table + 12, 0);
  return true;
}

static u64 read_features(void) {
  mmio_write32(common + DEVICE_FEATURES_SELECT, 0);
  u64 low = mmio_read32(common + DEVICE_FEATURES);
  mmio_write32(common + DEVICE_FEATURES_SELECT, 1);
  return low | (u64)mmio_read32(common + DEVICE_FEATURES) << 32;
}

static void write_features(u64 features) {
  mmio_write32(common + DRIVER_FEATURES_SELECT, 0);
  mmio_write32(common + DRIVER_FEATURES, (u32)features);
  mmio_write32(common + DRIVER_FEATURES_SELECT, 1);
  mmio_write32(common + DRIVER_FEATURES, (u32)(features >> 32));
}

static u8 read_status(void) { return mmio_read8(common + DEVICE_STATUS); }
static void write_status(u8 status) { mmio_write8(common + DEVICE_STATUS, status); }
static u8 read_config(u32 offset) { return mmio_read8(device_config + offset); }

static u16 queue_size_max(u16 index) {
  mmio_write16(common + QUEUE_SELECT, index);
  u16 max = mmio_read16(common + QUEUE_SIZE_REGISTER);
  return max < QUEUE_SIZE ? max : QUEUE_SIZE;
}

static void write64(u32 offset, volatile void *p) {
  mmio_write32(common + offset, (u32)(u64)p);
  mmio_write32(common + offset + 4, (u32)((u64)p >> 32));
}

static void queue_enable(u16 index, struct queue *queue) {
  mmio_write16(common + QUEUE_SELECT, index);
  mmio_write16(common + QUEUE_SIZE_REGISTER, queue->size);
  mmio_write16(common + MSIX_CONFIG, MSIX_NONE);
  mmio_write16(common + QUEUE_MSIX, index == 0 ? 0 : MSIX_NONE);
  write64(QUEUE_DESCRIPTORS, queue->descriptors);
  write64(QUEUE_DRIVER, queue->available);
  write64(QUEUE_DEVICE, queue->used);
  queue->notify_address = notify_base + (u64)mmio_read16(common + QUEUE_NOTIFY_OFF) * notify_multiplier;
  mmio_write16(common + QUEUE_ENABLE, 1);
}

static void notify(u16 index, struct queue *queue) { mmio_write16(queue->notify_address, index); }
static void interrupt_acknowledge(void) {}  // a message interrupt needs none

static const struct virtio_transport transport = {
    .name = "virtio-pci", .read_features = read_features, .write_features = write_features,
    .read_status = read_status, .write_status = write_status, .read_config = read_config,
    .queue_size_max = queue_size_max, .queue_enable = queue_enable, .notify = notify,
    .interrupt_acknowledge = interrupt_acknowledge,
};

const struct virtio_transport *virtio_pci_find(void) { return pci_search(probe) ? &transport : NULL; }
