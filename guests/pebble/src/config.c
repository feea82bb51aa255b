// Parses the kernel command line. Every value is bounded; a wrong one ends the guest with the word named.
#include "config.h"
#include "console.h"

struct config config = {.port = 8080, .name = "function", .timeout_ms = 1000, .load_ms = 5000, .body_kib = 512};

static void wrong(const char *word, const char *want) {
  die(EXIT_COMMAND_LINE, "command line: %s: want %s", word, want);
}

// A number in base 10 or 16 at *text, which moves behind it; false when there is none or it is too large.
static bool take_number(const char **text, unsigned base, u64 max, u64 *out) {
  const char *p = *text;
  u64 value = 0;
  for (;; p++) {
    unsigned digit = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0')
                     : base == 16 && (*p | 32) >= 'a' && (*p | 32) <= 'f' ? (unsigned)((*p | 32) - 'a' + 10) : 99;
    if (digit >= base) break;
    if (value > (max - digit) / base) return false;
    value = value * base + digit;
  }
  if (p == *text) return false;
  *text = p;
  *out = value;
  return true;
}

static bool take_char(const char **text, char c) {
  if (**text != c) return false;
  (*text)++;
  return true;
}

static bool take_address(const char **text, u32 *out) {
  u32 address = 0;
  for (int i = 0; i < 4; i++) {
    u64 part;
    if ((i > 0 && !take_char(text, '.')) || !take_number(text, 10, 255, &part)) return false;
    address = address << 8 | (u32)part;
  }
  *out = address;
  return true;
}

static u64 whole_number(const char *word, const char *value, u64 min, u64 max) {
  u64 number;
  if (!take_number(&value, 10, max, &number) || *value || number < min)
    die(EXIT_COMMAND_LINE, "command line: %s: want a number from %llu to %llu", word, (unsigned long long)min, (unsigned long long)max);
  return number;
}

static void set_ip(const char *word, const char *value) {
  u64 prefix;
  if (!take_address(&value, &config.ip) || !take_char(&value, '/') || !take_number(&value, 10, 30, &prefix) ||
      prefix < 1 || *value)
    wrong(word, "an address and a prefix length from 1 to 30, as 10.1.2.3/24");
  config.netmask = ~0u << (32 - prefix);
  u32 host = config.ip & ~config.netmask;
  if (host == 0 || host == ~config.netmask || config.ip >> 28 >= 14 || config.ip >> 24 == 0 || config.ip >> 24 == 127)
    wrong(word, "an address that a host can have");
}

static void set_gateway(const char *word, const char *value) {
  if (!take_address(&value, &config.gateway) || *value) wrong(word, "an address, as 10.1.2.1");
}

static void set_name(const char *word, const char *value) {
  size_t n = strlen(value);
  for (size_t i = 0; i < n; i++) {
    char c = value[i], lower = (char)(c | 32);
    if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) n = 0;
  }
  if (n == 0 || n >= sizeof config.name) wrong(word, "1 to 63 letters, digits, '-', '_', '.'");
  memcpy(config.name, value, n + 1);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 32);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void set_seed(const char *word, const char *value) {
  size_t n = strlen(value);
  if (n == 0 || n % 2 || n / 2 > SEED_MAX_BYTES) wrong(word, "2 to 64 hexadecimal digits, an even number");
  for (size_t i = 0; i < n / 2; i++) {
    int high = hex_digit(value[i * 2]), low = hex_digit(value[i * 2 + 1]);
    if (high < 0 || low < 0) wrong(word, "hexadecimal digits");
    config.seed[i] = (u8)(high << 4 | low);
  }
  config.seed_length = n / 2;
}

static void set_mmio(const char *word, const char *value) {
  u64 size, address, irq;
  static const char want[] = "SIZE@0xADDRESS:IRQ below 4 GiB";
  if (!take_number(&value, 10, 1 << 20, &size)) wrong(word, want);
  if (take_char(&value, 'K')) size <<= 10;
  if (!take_char(&value, '@') || !take_char(&value, '0') || !take_char(&value, 'x') ||
      !take_number(&value, 16, 0xffffffff, &address) || !take_char(&value, ':') || !take_number(&value, 10, 47, &irq))
    wrong(word, want);
  if (address < 0x80000000 || address % 4 || size < 0x200 || size > 1 << 20) wrong(word, "a device above 2 GiB, 512 bytes or more");
  if (config.mmio_count == MMIO_DEVICES_MAX) return;
  config.mmio[config.mmio_count].address = address;
  config.mmio[config.mmio_count].size = (u32)size;
  config.mmio[config.mmio_count++].irq = (u32)irq;
}

// `KEY=VALUE` with %xx decoded in place; a %00 would end the value early and is refused.
static void add_env(char *word) {
  char *equals = strchr(word, '='), *to = equals + 1;
  if (config.env_count == ENV_MAX) die(EXIT_COMMAND_LINE, "command line: more than %d env words", ENV_MAX);
  *equals = 0;
  config.env_key[config.env_count] = word;
  config.env_value[config.env_count++] = to;
  for (const char *from = to; *from; from++) {
    int high = *from == '%' ? hex_digit(from[1]) : -1, low = high >= 0 ? hex_digit(from[2]) : -1;
    if (low >= 0) {
      if ((high | low) == 0) wrong(word, "no %00");
      *to++ = (char)(high << 4 | low);
      from += 2;
    } else {
      *to++ = *from;
    }
  }
  *to = 0;
}

static void set_word(char *word) {
  char *equals = strchr(word, '='), *value = equals ? equals + 1 : word + strlen(word);
  size_t key = (size_t)(equals ? equals - word : value - word);
#define IS(text) (equals && key == sizeof text - 1 && memcmp(word, text, sizeof text - 1) == 0)
  if (IS("ip")) set_ip(word, value);
  else if (IS("gw")) set_gateway(word, value);
  else if (IS("port")) config.port = (u16)whole_number(word, value, 1, 65535);
  else if (IS("name")) set_name(word, value);
  else if (IS("timeout_ms")) config.timeout_ms = (u32)whole_number(word, value, 10, 60000);
  else if (IS("load_ms")) config.load_ms = (u32)whole_number(word, value, 10, 60000);
  else if (IS("heap_kib")) config.heap_kib = (u32)whole_number(word, value, 512, 1 << 20);
  else if (IS("body_kib")) config.body_kib = (u32)whole_number(word, value, 1, 16384);
  else if (IS("time")) config.time_ms = whole_number(word, value, 1, 1ull << 52);
  else if (IS("seed")) set_seed(word, value);
  else if (IS("selftest")) config.selftest = value;
  else if (IS("virtio_mmio.device")) set_mmio(word, value);
  else if (key > 4 && equals && memcmp(word, "env.", 4) == 0) add_env(word + 4);
  else say("command line: %s is unknown, ignored", word);
#undef IS
}

void config_read(char *line) {
  while (*line) {
    while (*line == ' ') line++;
    char *word = line;
    while (*line && *line != ' ') line++;
    bool last = *line == 0;
    *line = 0;
    if (*word) set_word(word);
    if (last) break;
    line++;
  }
  if (config.ip == 0) die(EXIT_COMMAND_LINE, "command line: ip=ADDRESS/PREFIX is missing");
  if (config.gateway && (config.gateway & config.netmask) != (config.ip & config.netmask))
    die(EXIT_COMMAND_LINE, "command line: the gateway is not in the guest's network");
  console_set_name(config.name);
}
