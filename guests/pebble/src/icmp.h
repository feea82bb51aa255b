// ICMP echo and "unreachable", and UDP, of which no port is open.
#pragma once
#include "ip.h"

enum { ICMP_CODE_PROTOCOL = 2, ICMP_CODE_PORT = 3 };

void icmp_input(const struct ip_packet *packet);
// At most a few a second (RFC 1812, 4.3.2.8), so that spoofed packets don't make the guest a source of traffic.
void icmp_unreachable(const struct ip_packet *packet, u8 code);
void udp_input(const struct ip_packet *packet);
