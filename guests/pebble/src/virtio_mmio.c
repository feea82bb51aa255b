// virtio over memory-mapped registers (virtio 1.1, section 4.2; the legacy layout: 4.2.4).
#include "apic.h"
#include "config.h"
#include "paging.h"
#include "traps.h"
#include "virtio.h"

enum {
  MAGIC = 0x00, VERSION = 0x04, DEVICE_ID = 0x08, DEVICE_FEATURES = 0x10, DEVICE_FEATURES_SELECT = 0x14,
  DRIVER_FEATURES = 0x20, DRIVER_FEATURES_SELECT = 0x24, LEGACY_PAGE_SIZE = 0x28, QUEUE_SELECT = 0x30,
  QUEUE_SIZE_MAX = 0x34, QUEUE_SIZE_SET = 0x38, LEGACY_QUEUE_ALIGN = 0x3c, LEGACY_QUEUE_PAGE = 0x40, QUEUE_READY = 0x44,
  QUEUE_NOTIFY = 0x50, INTERRUPT_STATUS = 0x60, INTERRUPT_ACK = 0x64, STATUS = 0x70, QUEUE_DESCRIPTORS = 0x80,
  QUEUE_AVAILABLE = 0x90, QUEUE_USED = 0xa0, CONFIG = 0x100, DEVICE_NETWORK = 1,
};

static u64 base;
static struct virtio_transport transport;

static u32 rd(u32 offset) { return mmio_read32(base + offset); }
static void wr(u32 offset, u32 value) { mmio_write32(base + offset, value); }

static u64 read_features(void) {
  wr(DEVICE_FEATURES_SELECT, 0);
  u64 low = rd(DEVICE_FEATURES);
  if (transport.legacy) return low;
  wr(DEVICE_FEATURES_SELECT, 1);
  return low | (u64)rd(DEVICE_FEATURES) << 32;
}

static void write_features(u64 features) {
  wr(DRIVER_FEATURES_SELECT, 0);
  wr(DRIVER_FEATURES, (u32)features);
  if (transport.legacy) return;
  wr(DRIVER_FEATURES_SELECT, 1);
  wr(DRIVER_FEATURES, (u32)(features >> 32));
}

static u8 read_status(void) { return (u8)rd(STATUS); }
static void write_status(u8 status) {
  wr(STATUS, status);
  if (status == 0 && transport.legacy) wr(LEGACY_PAGE_SIZE, PAGE_BYTES);
}
static u8 read_config(u32 offset) { return mmio_read8(base + CONFIG + offset); }

static u16 queue_size_max(u16 index) {
  wr(QUEUE_SELECT, index);
  u32 max = rd(QUEUE_SIZE_MAX);
  return (u16)min_u64(max, QUEUE_SIZE);
}

static void write64(u32 offset, volatile void *p) {
  wr(offset, (u32)(u64)p);
  wr(offset + 4, (u32)((u64)p >> 32));
}

static void queue_enable(u16 index, struct queue *queue) {
  wr(QUEUE_SELECT, index);
  wr(QUEUE_SIZE_SET, queue->size);
  if (transport.legacy) {
    wr(LEGACY_QUEUE_ALIGN, PAGE_BYTES);
    wr(LEGACY_QUEUE_PAGE, (u32)((u64)queue->descriptors / PAGE_BYTES));
    return;
  }
  write64(QUEUE_DESCRIPTORS, queue->descriptors);
  write64(QUEUE_AVAILABLE, queue->available);
  write64(QUEUE_USED, queue->used);
  wr(QUEUE_READY, 1);
}

static void notify(u16 index, struct queue *queue) {
  (void)queue;
  wr(QUEUE_NOTIFY, index);
}

static void interrupt_acknowledge(void) {
  u32 status = rd(INTERRUPT_STATUS);
  if (status) wr(INTERRUPT_ACK, status);
}

static struct virtio_transport transport = {
    .read_features = read_features, .write_features = write_features, .read_status = read_status,
    .write_status = write_status, .read_config = read_config, .queue_size_max = queue_size_max,
    .queue_enable = queue_enable, .notify = notify, .interrupt_acknowledge = interrupt_acknowledge,
};

const struct virtio_transport *virtio_mmio_find(void) {
  u64 mapped = 0;
  for (unsigned i = 0; i < config.mmio_count; i++) {
    base = config.mmio[i].address;
    // Several devices share a page; each page is mapped once (QEMU lists them in one ascending or descending run).
    for (u64 page = base & ~4095ull; page < base + config.mmio[i].size; page += PAGE_BYTES)
      if (page != mapped) paging_map_device(page, 1), mapped = page;
    if (rd(MAGIC) != 0x74726976 || rd(DEVICE_ID) != DEVICE_NETWORK) continue;
    u32 version = rd(VERSION);
    if (version != 1 && version != 2) continue;
    transport.legacy = version == 1;
    transport.name = transport.legacy ? "virtio-mmio (legacy)" : "virtio-mmio";
    ioapic_route(config.mmio[i].irq, VECTOR_NETWORK);
    return &transport;
  }
  return NULL;
}
