// SYN cookies (Bernstein; RFC 4987, 3.6), always on: a SYN costs no memory, so a flood of them can't push anyone out.
// The initial sequence number is: minute counter 5 bits, MSS class 3 bits, hash of the address pair 12 bits, hash that
// covers the peer's sequence number too 12 bits. The first hash tells "a later segment that overtook the
// first" (dropped, it comes again) from "no connection at all" (reset).
#include "clock.h"
#include "random.h"
#include "tcp.h"

enum { SLOT_SECONDS = 64 };
static const u16 mss_classes[8] = {64, 256, 536, 1024, 1220, 1360, 1440, 1460};

static u32 slot_now(void) { return (u32)(clock_now_ns() / (SLOT_SECONDS * NS_PER_S)); }

static u32 compose(const struct ip_packet *packet, u16 port, u32 peer_seq, u32 slot, u32 class, u32 *pair_hash) {
  struct { u32 ip, slot, seq; u16 port, class; } word = {packet->source, slot, 0, port, (u16)class};
  *pair_hash = (u32)random_keyed_hash(&word, sizeof word) & 0xfff;
  word.seq = peer_seq | 1;  // differs from the first even for sequence number 0
  word.class |= (u16)(8 | (peer_seq & 1) << 4);
  u32 full = (u32)random_keyed_hash(&word, sizeof word) & 0xfff;
  return (slot & 31) << 27 | class << 24 | *pair_hash << 12 | full;
}

u32 tcp_cookie(const struct ip_packet *packet, u16 port, u32 peer_seq, u32 mss) {
  u32 class = 0, pair;
  while (class < 7 && mss_classes[class + 1] <= mss) class++;
  return compose(packet, port, peer_seq, slot_now(), class, &pair);
}

enum cookie_verdict tcp_cookie_check(const struct ip_packet *packet, u16 port, u32 peer_seq, u32 cookie, u32 *mss) {
  u32 now = slot_now();
  for (u32 age = 0; age < 2 && age <= now; age++) {
    if ((cookie >> 27) != ((now - age) & 31)) continue;
    u32 class = cookie >> 24 & 7, pair;
    *mss = mss_classes[class];
    if (compose(packet, port, peer_seq, now - age, class, &pair) == cookie) return COOKIE_GOOD;
    if ((cookie >> 12 & 0xfff) == pair) return COOKIE_OTHER_SEQ;
  }
  return COOKIE_WRONG;
}
