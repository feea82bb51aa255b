// GET /metrics.
#pragma once
#include "base.h"
struct tcp_connection;
void metrics_answer(struct tcp_connection *c, bool head_only);
