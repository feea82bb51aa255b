// The network device: whole Ethernet frames in and out.
#pragma once
#include "base.h"

enum { FRAME_MAX_BYTES = 1514 };

struct nic_counters { u64 rx_frames, rx_bytes, rx_bad, tx_frames, tx_bytes, tx_dropped; };
extern struct nic_counters nic_counters;
extern u8 nic_mac[6];

// Finds and starts the device. Ends the guest when there is none.
void nic_init(void);
// Hands each received frame to `take`, at most `limit`; the frame is valid during the call. Answers how many.
unsigned nic_receive(void (*take)(u8 *frame, u32 length), unsigned limit);
// True when a frame waits; for the check before hlt.
bool nic_pending(void);
// Room for one frame of FRAME_MAX_BYTES, NULL when the ring is full; nic_send queues that frame, nic_flush tells the device.
u8 *nic_frame(void);
void nic_send(u32 length);
void nic_flush(void);
