// virtio-net with two split rings. Receive wakes the guest by interrupt; sent frames are reclaimed when room is needed.
// Nothing but VERSION_1 and MAC is accepted: no offloads, so every checksum is ours to verify.
#include "nic.h"
#include "config.h"
#include "console.h"
#include "paging.h"
#include "virtio.h"

enum { RECEIVE = 0, TRANSMIT = 1, BUFFER_BYTES = 2048, HEADER_MODERN = 12, HEADER_LEGACY = 10, RESET_SPINS = 100000 };

struct nic_counters nic_counters;
u8 nic_mac[6];
static const struct virtio_transport *device;
static struct queue queues[2];
static u8 *buffers[2];
static u32 header_bytes;
static bool flush_wanted;
static u16 free_frames[QUEUE_SIZE];  // transmit buffers that the device does not hold
static u16 free_count;

static void fail(const char *what) {
  device->write_status(VIRTIO_STATUS_FAILED);
  die(EXIT_NO_NETWORK, "%s: %s", device->name, what);
}

// Legacy devices compute the places of the three parts from one page number: this layout serves both.
static void queue_init(u16 index) {
  struct queue *q = &queues[index];
  q->size = device->queue_size_max(index);
  if (q->size < 2 || q->size & (q->size - 1)) fail("no usable queue");
  u8 *pages = pages_take(2);
  q->descriptors = (void *)pages;
  q->available = (void *)(pages + q->size * sizeof *q->descriptors);
  q->used = (void *)(pages + PAGE_BYTES);
  buffers[index] = pages_take_untouched((u64)q->size * BUFFER_BYTES / PAGE_BYTES);
  for (u16 i = 0; i < q->size; i++) q->descriptors[i].address = (u64)buffers[index] + (u64)i * BUFFER_BYTES;
  device->queue_enable(index, q);
}

static void offer_receive(u16 id) {
  struct queue *q = &queues[RECEIVE];
  q->descriptors[id].length = BUFFER_BYTES;
  q->descriptors[id].flags = DESCRIPTOR_DEVICE_WRITES;
  q->available->ring[q->next_available++ & (q->size - 1)] = id;
}

void nic_init(void) {
  device = virtio_mmio_find();
  if (!device) device = virtio_pci_find();
  if (!device) die(EXIT_NO_NETWORK, "no virtio network device (on microvm, acpi=off makes QEMU announce it)");
  device->write_status(0);
  int spins = 0;
  while (device->read_status() != 0)
    if (++spins > RESET_SPINS) fail("reset does not end");
  device->write_status(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
  u64 offered = device->read_features(), wanted = VIRTIO_NET_F_MAC;
  wanted |= device->legacy ? VIRTIO_F_ANY_LAYOUT : VIRTIO_F_VERSION_1;
  if ((offered & wanted) != wanted) fail("a feature is missing (MAC; VERSION_1 or ANY_LAYOUT)");
  device->write_features(wanted);
  u8 status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
  if (!device->legacy) {
    status |= VIRTIO_STATUS_FEATURES_OK;
    device->write_status(status);
    if (!(device->read_status() & VIRTIO_STATUS_FEATURES_OK)) fail("features refused");
  }
  header_bytes = device->legacy ? HEADER_LEGACY : HEADER_MODERN;
  for (u32 i = 0; i < 6; i++) nic_mac[i] = device->read_config(i);
  queue_init(RECEIVE);
  queue_init(TRANSMIT);
  queues[TRANSMIT].available->flags = AVAILABLE_NO_INTERRUPT;
  for (u16 i = 0; i < queues[TRANSMIT].size; i++) free_frames[free_count++] = i;
  for (u16 i = 0; i < queues[RECEIVE].size; i++) offer_receive(i);
  order_writes();
  queues[RECEIVE].available->index = queues[RECEIVE].next_available;
  device->write_status(status | VIRTIO_STATUS_DRIVER_OK);
  device->notify(RECEIVE, &queues[RECEIVE]);
  say("%s, mac %02x:%02x:%02x:%02x:%02x:%02x", device->name, nic_mac[0], nic_mac[1], nic_mac[2], nic_mac[3], nic_mac[4], nic_mac[5]);
}

bool nic_pending(void) { return queues[RECEIVE].used->index != queues[RECEIVE].next_used; }

unsigned nic_receive(void (*take)(u8 *, u32), unsigned limit) {
  struct queue *q = &queues[RECEIVE];
  unsigned count = 0;
  device->interrupt_acknowledge();  // before draining: a frame that comes later raises a new one
  while (count < limit && nic_pending()) {
    order_writes();
    u16 slot = q->next_used++ & (q->size - 1);
    u32 id = q->used->ring[slot].id, length = q->used->ring[slot].length;
    count++;
    if (id >= q->size) {
      nic_counters.rx_bad++;
      continue;
    }
    if (length > header_bytes && length <= BUFFER_BYTES) {
      nic_counters.rx_frames++;
      nic_counters.rx_bytes += length - header_bytes;
      take(buffers[RECEIVE] + id * BUFFER_BYTES + header_bytes, length - header_bytes);
    } else {
      nic_counters.rx_bad++;
    }
    offer_receive((u16)id);
  }
  if (count) {
    order_writes();
    q->available->index = q->next_available;
    full_barrier();
    if (!(q->used->flags & USED_NO_NOTIFY)) device->notify(RECEIVE, q);
  }
  return count;
}

u8 *nic_frame(void) {
  struct queue *q = &queues[TRANSMIT];
  while (q->used->index != q->next_used) {
    order_writes();
    u32 id = q->used->ring[q->next_used++ & (q->size - 1)].id;
    if (id < q->size && free_count < q->size) free_frames[free_count++] = (u16)id;
  }
  if (free_count == 0) {
    nic_flush();
    nic_counters.tx_dropped++;
    return NULL;
  }
  return buffers[TRANSMIT] + (u64)free_frames[free_count - 1] * BUFFER_BYTES + header_bytes;
}

void nic_send(u32 length) {
  struct queue *q = &queues[TRANSMIT];
  u16 id = free_frames[--free_count];
  memset(buffers[TRANSMIT] + (u64)id * BUFFER_BYTES, 0, header_bytes);
  q->descriptors[id].length = length + header_bytes;
  q->descriptors[id].flags = 0;
  q->available->ring[q->next_available++ & (q->size - 1)] = id;
  order_writes();
  q->available->index = q->next_available;
  flush_wanted = true;
  nic_counters.tx_frames++;
  nic_counters.tx_bytes += length;
}

void nic_flush(void) {
  struct queue *q = &queues[TRANSMIT];
  if (!flush_wanted) return;
  flush_wanted = false;
  full_barrier();
  if (!(q->used->flags & USED_NO_NOTIFY)) device->notify(TRANSMIT, q);
}
