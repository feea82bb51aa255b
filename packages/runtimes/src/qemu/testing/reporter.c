/*
 * A kernel for tests that prints what it was given and then ends in the way of a family: its command line, what was loaded
 * beside it, the devices on its PCI bus in their slots, virtio devices in memory. Booted by PVH or by multiboot 1, in 32-bit
 * protected mode with flat segments; without interrupts, without memory of its own beyond the image.
 *
 *   -DPVH | -DMULTIBOOT=FLAGS   the boot entry (flags 0x10003: with addresses)
 *   -DWORDS="..."               printed last
 *   -DEND_PORT=N -DEND_VALUE=N -DEND_BYTES=N | -DPOWER_OFF | -DHALT
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#ifdef PVH
__asm__(".section .note.Xen,\"a\",@note\n.long 4, 4, 18\n.asciz \"Xen\"\n.long start\n");
#else
extern u8 load_begin[], load_end[];
__asm__(".section .boot,\"ax\",@progbits\nheader: .long 0x1badb002, " MULTIBOOT ", -(0x1badb002 + " MULTIBOOT ")\n"
        ".long header, load_begin, load_end, load_end, start\n");
#endif
__asm__(".text\n.globl start\nstart: movl $stack_end, %esp\npushl %ebx\ncall report\n1: cli; hlt; jmp 1b\n"
        ".data\n.align 16\n.fill 4096, 1, 0\nstack_end:\n");

static void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static u32 in32(u16 port) {
  u32 value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void put(const char *text) {
  while (*text) out8(0x3f8, (u8)*text++);
}
static void put_hex(u32 value, int digits) {
  while (digits--) out8(0x3f8, (u8)"0123456789abcdef"[(value >> (4 * digits)) & 15]);
}
/* At most `limit` bytes that can be printed. */
static void put_bytes(const char *at, u32 limit) {
  for (u32 i = 0; i < limit && at[i] >= ' ' && at[i] <= '~'; i++) out8(0x3f8, (u8)at[i]);
}

static void list_pci(void) {
  for (u32 slot = 0; slot < 32; slot++) {
    out32(0xcf8, 0x80000000u | slot << 11);
    u32 id = in32(0xcfc);
    if ((id & 0xffff) != 0x1af4) continue; /* virtio alone */
    put("pci slot ");
    put_hex(slot, 2);
    put(" device ");
    put_hex(id >> 16, 4);
    put("\r\n");
  }
}

/* Where microvm has them (QEMU 7.2: 24 from 0xfeb00000 on, 512 bytes each). */
static void list_mmio(void) {
  for (u32 at = 0xfeb00000u; at < 0xfeb03000u; at += 512) {
    volatile u32 *device = (volatile u32 *)at;
    if (device[0] != 0x74726976 || device[2] == 0) continue;
    put("mmio device ");
    put_hex(device[2], 2);
    put(" version ");
    put_hex(device[1], 1);
    put("\r\n");
  }
}

void report(u32 *info) {
#ifdef PVH
  u32 command_line = info[6], modules = info[3], list = info[4], step = 8, words = 4;
#else
  u32 command_line = info[4], modules = info[0] & 8 ? info[5] : 0, list = info[6], step = 4, words = 2;
#endif
  put("told: ");
  if (command_line) put((const char *)command_line);
  put("\r\n");
  for (u32 i = 0; i < modules && i < 4; i++) {
    u32 *module = (u32 *)list + i * step;
    put("beside: ");
#ifdef PVH
    put_hex(module[2], 8);
#else
    put_hex(module[1] - module[0], 8);
#endif
    put(" bytes, ");
    put_bytes((const char *)module[0], 64);
    put(" | ");
    if (module[words]) put_bytes((const char *)module[words], 512);
    put("\r\n");
  }
  list_pci();
  list_mmio();
#ifdef WORDS
  put(WORDS "\r\n");
#endif
#if defined(POWER_OFF)
  out16(0x604, 0x2000);
#elif !defined(HALT)
  if (END_BYTES == 4) out32(END_PORT, END_VALUE);
  else out16(END_PORT, END_VALUE);
#endif
  (void)out32;
}
