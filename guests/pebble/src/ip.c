// Ethernet (RFC 894), ARP (RFC 826) and IPv4 (RFC 791) input and output. Fragments are dropped: HTTP over TCP needs none.
#include "ip.h"
#include "config.h"
#include "icmp.h"
#include "nic.h"
#include "tcp.h"

enum { ETHERNET_BYTES = 14, ARP_BYTES = 28, IP_BYTES = 20, TYPE_IP = 0x0800, TYPE_ARP = 0x0806, HOPS = 64 };

struct ip_counters ip_counters;
static const u8 broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static u8 *out_frame;
static u16 next_id;

u16 checksum(const u8 *data, u32 length, u32 initial) {
  u64 sum = initial;
  for (; length >= 4; data += 4, length -= 4) sum += get32(data);
  if (length >= 2) {
    sum += get16(data);
    data += 2;
    length -= 2;
  }
  if (length) sum += (u32)*data << 8;
  // 32-bit words are two 16-bit words apart by 2^16, which is 1 in ones' complement.
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (u16)~sum;
}

u32 pseudo_header_sum(u32 source, u32 destination, u8 protocol, u32 length) {
  return (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff) + protocol + length;
}

static u8 *ethernet_frame(const u8 to[6], u16 type) {
  out_frame = nic_frame();
  if (!out_frame) return NULL;
  memcpy(out_frame, to, 6);
  memcpy(out_frame + 6, nic_mac, 6);
  put16(out_frame + 12, type);
  return out_frame + ETHERNET_BYTES;
}

static void arp_send(u16 operation, const u8 to[6], const u8 target_mac[6], u32 target_ip) {
  u8 *p = ethernet_frame(to, TYPE_ARP);
  if (!p) return;
  static const u8 start[6] = {0, 1, 8, 0, 6, 4};
  memcpy(p, start, 6);
  put16(p + 6, operation);
  memcpy(p + 8, nic_mac, 6);
  put32(p + 14, config.ip);
  memcpy(p + 18, target_mac, 6);
  put32(p + 24, target_ip);
  nic_send(ETHERNET_BYTES + ARP_BYTES);
}

void arp_announce(void) {
  static const u8 unknown[6];
  arp_send(1, broadcast, unknown, config.gateway ? config.gateway : config.ip);
}

static void arp_input(const u8 *p, u32 length) {
  static const u8 start[6] = {0, 1, 8, 0, 6, 4};
  if (length < ARP_BYTES || memcmp(p, start, 6) != 0) {
    ip_counters.malformed++;
    return;
  }
  bool unicast_sender = !(p[8] & 1);
  if (get16(p + 6) == 1 && get32(p + 24) == config.ip && unicast_sender) arp_send(2, p + 8, p + 8, get32(p + 14));
}

static bool can_be_source(u32 a) {
  u32 host_mask = ~config.netmask;
  bool own_broadcast = (a & config.netmask) == (config.ip & config.netmask) && (a & host_mask) == host_mask;
  return a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 14 && !own_broadcast && a != config.ip;
}

static void ip_input(const u8 *source_mac, u8 *p, u32 length) {
  u32 header = (u32)(p[0] & 15) * 4, total = length >= IP_BYTES ? get16(p + 2) : 0;
  if (length < IP_BYTES || p[0] >> 4 != 4 || header < IP_BYTES || total < header || total > length) {
    ip_counters.malformed++;
    return;
  }
  if (checksum(p, header, 0) != 0) {
    ip_counters.bad_checksum++;
    return;
  }
  struct ip_packet packet = {source_mac, get32(p + 12), p, header, p + header, total - header};
  if (get32(p + 16) != config.ip || !can_be_source(packet.source) || source_mac[0] & 1) {
    ip_counters.not_ours++;
    return;
  }
  if (get16(p + 6) & 0x3fff) {
    ip_counters.fragments++;
    return;
  }
  if (p[9] == PROTOCOL_TCP) tcp_input(&packet);
  else if (p[9] == PROTOCOL_UDP) udp_input(&packet);
  else if (p[9] == PROTOCOL_ICMP) icmp_input(&packet);
  else icmp_unreachable(&packet, ICMP_CODE_PROTOCOL);
}

void ethernet_input(u8 *frame, u32 length) {
  if (length < ETHERNET_BYTES) {
    ip_counters.malformed++;
    return;
  }
  bool to_us = memcmp(frame, nic_mac, 6) == 0;
  u16 type = get16(frame + 12);
  if (type == TYPE_ARP && (to_us || memcmp(frame, broadcast, 6) == 0)) arp_input(frame + ETHERNET_BYTES, length - ETHERNET_BYTES);
  else if (type == TYPE_IP && to_us) ip_input(frame + 6, frame + ETHERNET_BYTES, length - ETHERNET_BYTES);
  else ip_counters.not_ours++;
}

u8 *ip_packet(const u8 mac[6], u32 destination, u8 protocol) {
  u8 *p = ethernet_frame(mac, TYPE_IP);
  if (!p) return NULL;
  p[0] = 0x45;
  p[1] = 0;
  put16(p + 4, next_id++);
  put16(p + 6, 0x4000);  // don't fragment
  p[8] = HOPS;
  p[9] = protocol;
  put16(p + 10, 0);
  put32(p + 12, config.ip);
  put32(p + 16, destination);
  return p + IP_BYTES;
}

void ip_send(u32 length) {
  u8 *p = out_frame + ETHERNET_BYTES;
  put16(p + 2, (u16)(IP_BYTES + length));
  put16(p + 10, checksum(p, IP_BYTES, 0));
  nic_send(ETHERNET_BYTES + IP_BYTES + length);
}
