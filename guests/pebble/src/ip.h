// Ethernet, ARP, IPv4, ICMP and UDP. pebble never speaks first: an answer goes to the MAC address that the question
// came from, so there is no ARP table to fill or to poison. At boot it asks for its gateway, which announces it.
#pragma once
#include "base.h"

enum { IP_PAYLOAD_MAX_BYTES = 1480, PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

struct ip_packet {
  const u8 *source_mac;
  u32 source;           // host byte order
  const u8 *header;
  u32 header_length;
  u8 *payload;
  u32 length;
};

struct ip_counters { u64 malformed, bad_checksum, fragments, not_ours, refused; };
extern struct ip_counters ip_counters;

void ethernet_input(u8 *frame, u32 length);
void arp_announce(void);

// A packet to `destination`: its payload's place, NULL when the transmit ring is full; ip_send sends `length` bytes of it.
u8 *ip_packet(const u8 mac[6], u32 destination, u8 protocol);
void ip_send(u32 length);

// RFC 1071. The sum over a TCP or UDP segment begins with its pseudo header.
u16 checksum(const u8 *data, u32 length, u32 initial);
u32 pseudo_header_sum(u32 source, u32 destination, u8 protocol, u32 length);
