// Entry from the PVH loader: 32-bit protected mode, paging off, EBX = physical address of hvm_start_info.
// Builds a throw-away 1 GiB identity map, enters long mode, calls kernel_main(start_info). paging.c then builds the
// strict tables. Never returns.

	.section .note.pvh, "a", @note
	.balign 4
	.long	4			// name size
	.long	4			// descriptor size
	.long	18			// XEN_ELFNOTE_PHYS32_ENTRY
	.ascii	"Xen\0"
	.long	boot_entry

	.section .text.boot, "ax"
	.code32
	.globl boot_entry
boot_entry:
	cli
	cld
	movl	%ebx, %ebp		// cpuid below overwrites EBX

	movl	$0x80000001, %eax	// long mode (bit 29) and no-execute (bit 20) are a must
	cpuid
	andl	$0x20100000, %edx
	cmpl	$0x20100000, %edx
	jne	unfit_cpu

	movl	$__bss_start, %edi	// QEMU clears .bss, other loaders may not
	movl	$__bss_end, %ecx
	subl	%edi, %ecx
	shrl	$2, %ecx
	xorl	%eax, %eax
	rep stosl

	movl	$boot_pd, %edi		// 512 pages of 2 MiB, writable, present
	movl	$0x83, %eax
	movl	$512, %ecx
1:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	1b
	movl	$boot_pd + 3, boot_pdpt
	movl	$boot_pdpt + 3, boot_pml4

	movl	$boot_pml4, %eax
	movl	%eax, %cr3
	movl	$0x620, %eax		// PAE | OSFXSR | OSXMMEXCPT
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx	// EFER: LME | NXE; SCE stays off, a stray syscall instruction faults
	movl	$0x900, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x80010033, %eax	// PG | WP | NE | ET | MP | PE
	movl	%eax, %cr0
	lgdt	boot_gdt_pointer
	ljmp	$0x08, $long_mode

unfit_cpu:
	movw	$0x501, %dx
	movw	$4, %ax
	outw	%ax, %dx
2:	hlt
	jmp	2b

	.code64
long_mode:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	$main_stack_top, %rsp
	movl	%ebp, %edi
	xorl	%ebp, %ebp
	call	kernel_main
3:	hlt
	jmp	3b

	.section .rodata.boot, "a"
	.balign 8
boot_gdt:
	.quad	0
	.quad	0x00af9b000000ffff	// 0x08 code, 64-bit
	.quad	0x00cf93000000ffff	// 0x10 data
boot_gdt_end:
boot_gdt_pointer:
	.word	boot_gdt_end - boot_gdt - 1
	.long	boot_gdt

	.section .bss.boot, "aw", @nobits
	.balign 4096
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
boot_pd:	.skip 4096

	// Each stack has an unmapped page below it (paging.c): an overflow faults instead of writing into its neighbour.
	.section .bss.stacks, "aw", @nobits
	.balign 4096
	.globl main_stack_guard, main_stack_bottom, main_stack_top, fault_stack_guard, fault_stack_top
main_stack_guard:	.skip 4096
main_stack_bottom:	.skip 262144
main_stack_top:
fault_stack_guard:	.skip 4096
fault_stack_bottom:	.skip 16384
fault_stack_top:

	.section .note.GNU-stack, "", @progbits
