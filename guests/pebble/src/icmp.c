// ICMP (RFC 792) and UDP (RFC 768): echo is answered, a closed UDP port is told so, all else is silence.
#include "icmp.h"
#include "clock.h"
#include "config.h"

enum { ECHO_REPLY = 0, UNREACHABLE = 3, ECHO_REQUEST = 8, HEADER_BYTES = 8, ERRORS_PER_SECOND = 20 };

void icmp_input(const struct ip_packet *packet) {
  if (packet->length < HEADER_BYTES || packet->length > IP_PAYLOAD_MAX_BYTES) {
    ip_counters.malformed++;
    return;
  }
  if (checksum(packet->payload, packet->length, 0) != 0) {
    ip_counters.bad_checksum++;
    return;
  }
  if (packet->payload[0] != ECHO_REQUEST || packet->payload[1] != 0) return;
  u8 *p = ip_packet(packet->source_mac, packet->source, PROTOCOL_ICMP);
  if (!p) return;
  memcpy(p, packet->payload, packet->length);
  p[0] = ECHO_REPLY;
  put16(p + 2, 0);
  put16(p + 2, checksum(p, packet->length, 0));
  ip_send(packet->length);
}

void icmp_unreachable(const struct ip_packet *packet, u8 code) {
  static u64 second, sent;
  u64 now = clock_now_ns() / NS_PER_S;
  if (now != second) {
    second = now;
    sent = 0;
  }
  if (sent++ >= ERRORS_PER_SECOND) return;
  u32 quoted = packet->header_length + (packet->length < 8 ? packet->length : 8);
  u8 *p = ip_packet(packet->source_mac, packet->source, PROTOCOL_ICMP);
  if (!p) return;
  p[0] = UNREACHABLE;
  p[1] = code;
  memset(p + 2, 0, 6);
  memcpy(p + HEADER_BYTES, packet->header, quoted);
  put16(p + 2, checksum(p, HEADER_BYTES + quoted, 0));
  ip_send(HEADER_BYTES + quoted);
}

void udp_input(const struct ip_packet *packet) {
  const u8 *p = packet->payload;
  u32 length = packet->length >= HEADER_BYTES ? get16(p + 4) : 0;
  if (length < HEADER_BYTES || length > packet->length) {
    ip_counters.malformed++;
    return;
  }
  bool summed = get16(p + 6) != 0;
  if (summed && checksum(p, length, pseudo_header_sum(packet->source, config.ip, PROTOCOL_UDP, length)) != 0) {
    ip_counters.bad_checksum++;
    return;
  }
  ip_counters.refused++;
  icmp_unreachable(packet, ICMP_CODE_PORT);
}
