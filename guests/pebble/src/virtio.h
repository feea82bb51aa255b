// virtio 1.1, as a driver: one network device over virtio-mmio (legacy or modern) or virtio-pci (modern).
#pragma once
#include "base.h"

enum { QUEUE_SIZE = 64 };  // entries of each ring; a power of two
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_ANY_LAYOUT (1ull << 27)
#define VIRTIO_NET_F_MAC (1ull << 5)
enum { VIRTIO_STATUS_ACKNOWLEDGE = 1, VIRTIO_STATUS_DRIVER = 2, VIRTIO_STATUS_DRIVER_OK = 4, VIRTIO_STATUS_FEATURES_OK = 8, VIRTIO_STATUS_FAILED = 128 };

struct ring_descriptor { u64 address; u32 length; u16 flags, next; };
struct ring_available { u16 flags, index, ring[QUEUE_SIZE], event; };
struct ring_used { u16 flags, index; struct { u32 id, length; } ring[QUEUE_SIZE]; u16 event; };
enum { DESCRIPTOR_DEVICE_WRITES = 2, AVAILABLE_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

struct queue {
  volatile struct ring_descriptor *descriptors;
  volatile struct ring_available *available;
  volatile struct ring_used *used;
  u16 size;                 // what device and driver agreed on, at most QUEUE_SIZE
  u16 next_available, next_used;
  u64 notify_address;       // virtio-pci
};

// How registers are reached; one of these is found at boot.
struct virtio_transport {
  const char *name;
  bool legacy;
  u64 (*read_features)(void);
  void (*write_features)(u64 features);
  u8 (*read_status)(void);
  void (*write_status)(u8 status);
  u8 (*read_config)(u32 offset);
  u16 (*queue_size_max)(u16 index);
  void (*queue_enable)(u16 index, struct queue *queue);
  void (*notify)(u16 index, struct queue *queue);
  void (*interrupt_acknowledge)(void);
};

// The first network device, its interrupt routed to VECTOR_NETWORK; NULL when there is none.
const struct virtio_transport *virtio_mmio_find(void);
const struct virtio_transport *virtio_pci_find(void);
