// Duktape's configuration: Debian's duk_config.h, then what differs here. Given to the compiler with -include, so that
// duktape.h finds duk_config.h already read.
#pragma once
#include <duk_config.h>

// An endless loop is asked about every 256 Ki instructions; a deep recursion before the C stack ends.
#undef DUK_USE_INTERRUPT_COUNTER
#undef DUK_USE_EXEC_TIMEOUT_CHECK
#undef DUK_USE_NATIVE_STACK_CHECK
#undef DUK_USE_FATAL_HANDLER
#define DUK_USE_INTERRUPT_COUNTER
#define DUK_USE_EXEC_TIMEOUT_CHECK(udata) js_is_overdue(udata)
#define DUK_USE_NATIVE_STACK_CHECK() js_stack_is_low()
#define DUK_USE_FATAL_HANDLER(udata, message) js_fatal(udata, message)
int js_is_overdue(void *udata);
int js_stack_is_low(void);
void js_fatal(void *udata, const char *message) __attribute__((noreturn));

// Time and chance come from the kernel; local time is UTC.
#undef DUK_USE_DATE_NOW_GETTIMEOFDAY
#undef DUK_USE_DATE_TZO_GMTIME_R
#undef DUK_USE_DATE_PRS_STRPTIME
#undef DUK_USE_DATE_FMT_STRFTIME
#undef DUK_USE_DATE_GET_NOW
#undef DUK_USE_DATE_GET_LOCAL_TZOFFSET
#undef DUK_USE_DATE_PARSE_STRING
#undef DUK_USE_DATE_FORMAT_STRING
#undef DUK_USE_GET_MONOTONIC_TIME
#undef DUK_USE_GET_MONOTONIC_TIME_CLOCK_GETTIME
#undef DUK_USE_GET_RANDOM_DOUBLE
#define DUK_USE_DATE_GET_NOW(ctx) js_wall_ms()
#define DUK_USE_DATE_GET_LOCAL_TZOFFSET(time) 0
#define DUK_USE_DATE_PARSE_STRING(ctx, text) js_parse_date(ctx, text)
#define DUK_USE_DATE_FORMAT_STRING(ctx, parts, tzoffset, flags) 0
#define DUK_USE_GET_MONOTONIC_TIME(ctx) js_monotonic_ms()
#define DUK_USE_GET_RANDOM_DOUBLE(udata) js_random()
double js_wall_ms(void);
double js_monotonic_ms(void);
double js_random(void);
int js_parse_date(void *context, const char *text);

#undef DUK_USE_PROVIDE_DEFAULT_ALLOC_FUNCTIONS
#define DUK_USE_JSON_STRINGIFY_FASTPATH
