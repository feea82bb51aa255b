// GDT, TSS, IDT and what happens on each vector. Compiled without vector registers: the stubs don't save them.
#include "traps.h"
#include "apic.h"
#include "console.h"
#include "selftest.h"

struct trap_frame {
  u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
  u64 vector, error, rip, cs, rflags, rsp, ss;
};
struct gate { u16 low, selector; u8 ist, kind; u16 middle; u32 high, zero; } __attribute__((packed));
struct task_state { u32 zero; u64 rsp[3], zero2, ist[7]; u64 zero3; u16 zero4, io_map; } __attribute__((packed));
struct table_pointer { u16 limit; u64 base; } __attribute__((packed));

enum { SELECTOR_CODE = 0x08, SELECTOR_TASK = 0x18, STUB_BYTES = 16, GATE_INTERRUPT = 0x8e };

extern char trap_stubs[], fault_stack_top[];
void trap(struct trap_frame *frame);
void (*volatile trap_escape)(const char *fault);

static u64 gdt[5] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};
static struct task_state task = {.io_map = sizeof task};
static struct gate idt[VECTOR_COUNT];

static const char *const names[] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound", "invalid opcode", "no FPU", "double fault",
    "?", "bad TSS", "no segment", "stack fault", "general protection", "page fault", "?", "x87 error",
    "alignment", "machine check", "SIMD error",
};

void traps_init(void) {
  u64 base = (u64)&task, limit = sizeof task - 1;
  task.ist[0] = (u64)fault_stack_top;
  gdt[3] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
  gdt[4] = base >> 32;
  struct table_pointer pointer = {sizeof gdt - 1, (u64)gdt};
  __asm__ volatile("lgdt %0" ::"m"(pointer));
  __asm__ volatile("ltr %w0" ::"r"(SELECTOR_TASK));

  for (unsigned v = 0; v < VECTOR_COUNT; v++) {
    u64 at = (u64)trap_stubs + v * STUB_BYTES;
    // Exceptions get a stack of their own: the main one may be what has just overflowed.
    idt[v] = (struct gate){(u16)at, SELECTOR_CODE, v < 32, GATE_INTERRUPT, (u16)(at >> 16), (u32)(at >> 32), 0};
  }
  pointer = (struct table_pointer){sizeof idt - 1, (u64)idt};
  __asm__ volatile("lidt %0" ::"m"(pointer));
}

void trap(struct trap_frame *f) {
  if (f->vector >= 32) {
    if (f->vector != VECTOR_SPURIOUS) apic_end_of_interrupt();
    if (f->vector == VECTOR_TIMER) apic_timer_fired();
    return;  // the network's interrupt has done its work by ending the hlt
  }
  u64 address = 0;
  if (f->vector == 14) __asm__ volatile("mov %%cr2, %0" : "=r"(address));
  const char *name = f->vector < ARRAY_SIZE(names) ? names[f->vector] : "exception";
  if (selftest_expects_fault(address)) selftest_passed(name, f->error, address);
  say("%s at rip=%llx rsp=%llx address=%llx error=%llx", name, (unsigned long long)f->rip, (unsigned long long)f->rsp,
      (unsigned long long)address, (unsigned long long)f->error);
  if (trap_escape) trap_escape(name);
  leave(EXIT_FAULT);
}
