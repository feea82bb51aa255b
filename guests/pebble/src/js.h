// The function: its engine, its heap, its limits.
#pragma once
#include "base.h"
#include "http.h"

struct js_counters { u64 errors, timeouts, out_of_memory, restarts; };
extern struct js_counters js_counters;

// Makes the engine and evaluates the module (`source` must stay). Ends the guest when that fails.
void js_load(const u8 *source, u64 length);
// Runs the function for one request and answers it on `c`, whatever happens inside.
void js_answer(struct tcp_connection *c, const struct http_head *head, const u8 *body, u32 body_length);
