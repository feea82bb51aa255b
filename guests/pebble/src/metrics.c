// The guest's counters in Prometheus' text format (version 0.0.4), answered without the function.
#include "metrics.h"
#include "clock.h"
#include "js.h"
#include "memory.h"
#include "nic.h"
#include "tcp.h"
#include <stdio.h>

enum { TEXT_MAX_BYTES = 6144 };

static char text[TEXT_MAX_BYTES];
static u32 length;

static void line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void line(const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsnprintf(text + length, TEXT_MAX_BYTES - length, format, list);
  va_end(list);
  length = (u32)min_u64((u64)length + (u64)(n > 0 ? n : 0), TEXT_MAX_BYTES - 1);
}

static void metric(const char *name, const char *type, u64 value) {
  line("# TYPE pebble_%s %s\npebble_%s %llu\n", name, type, name, (unsigned long long)value);
}

static void labelled(const char *name, const char *label, const char *value, u64 number) {
  line("pebble_%s{%s=\"%s\"} %llu\n", name, label, value, (unsigned long long)number);
}

void metrics_answer(struct tcp_connection *c, bool head_only) {
  length = 0;
  u64 now = clock_now_ns();
  line("# TYPE pebble_uptime_seconds gauge\npebble_uptime_seconds %llu.%03llu\n", (unsigned long long)(now / NS_PER_S), (unsigned long long)(now / NS_PER_MS % 1000));
  metric("requests_total", "counter", http_counters.requests);
  metric("function_requests_total", "counter", http_counters.function_requests);
  line("# TYPE pebble_responses_total counter\n");
  static const char *const classes[] = {NULL, NULL, "2xx", "3xx", "4xx", "5xx"};
  for (unsigned i = 2; i < 6; i++) labelled("responses_total", "class", classes[i], http_counters.by_class[i]);
  metric("http_bytes_in_total", "counter", http_counters.bytes_in);
  metric("http_bytes_out_total", "counter", http_counters.bytes_out);
  metric("function_errors_total", "counter", js_counters.errors);
  metric("function_timeouts_total", "counter", js_counters.timeouts);
  metric("function_out_of_memory_total", "counter", js_counters.out_of_memory);
  metric("heap_restarts_total", "counter", js_counters.restarts);
  metric("heap_used_bytes", "gauge", js_arena.used_bytes);
  metric("heap_limit_bytes", "gauge", js_arena.limit_bytes);
  metric("network_buffers_used_bytes", "gauge", net_arena.used_bytes);
  metric("network_buffers_limit_bytes", "gauge", net_arena.limit_bytes);
  metric("packets_in_total", "counter", nic_counters.rx_frames);
  metric("packets_out_total", "counter", nic_counters.tx_frames);
  metric("network_bytes_in_total", "counter", nic_counters.rx_bytes);
  metric("network_bytes_out_total", "counter", nic_counters.tx_bytes);
  line("# TYPE pebble_packets_dropped_total counter\n");
  labelled("packets_dropped_total", "reason", "device", nic_counters.rx_bad);
  labelled("packets_dropped_total", "reason", "malformed", ip_counters.malformed + tcp_counters.malformed);
  labelled("packets_dropped_total", "reason", "checksum", ip_counters.bad_checksum + tcp_counters.bad_checksum);
  labelled("packets_dropped_total", "reason", "fragment", ip_counters.fragments);
  labelled("packets_dropped_total", "reason", "not_ours", ip_counters.not_ours);
  labelled("packets_dropped_total", "reason", "closed_port", ip_counters.refused + tcp_counters.refused);
  labelled("packets_dropped_total", "reason", "transmit_full", nic_counters.tx_dropped);
  metric("tcp_connections", "gauge", tcp_open_count());
  metric("tcp_syn_total", "counter", tcp_counters.syn);
  metric("tcp_accepted_total", "counter", tcp_counters.accepted);
  metric("tcp_evicted_total", "counter", tcp_counters.evicted);
  metric("tcp_retransmitted_total", "counter", tcp_counters.retransmitted);
  metric("tcp_timed_out_total", "counter", tcp_counters.timed_out);
  metric("no_memory_total", "counter", tcp_counters.no_memory);
  struct http_answer answer = {.status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8", .body = (const u8 *)text, .body_length = length};
  http_respond(c, &answer, head_only);
}
