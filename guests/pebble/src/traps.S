// Stubs: every vector saves the general registers in one layout (struct trap_frame) and calls trap(frame).

	.macro stub vector, has_error
	.balign 16
	.if !\has_error
	pushq	$0
	.endif
	pushq	$\vector
	jmp	trap_common
	.endm

	.section .text.traps, "ax"
	.globl trap_stubs
	.balign 16
trap_stubs:
	.set v, 0
	.rept 48
	.if v == 8 || v == 10 || v == 11 || v == 12 || v == 13 || v == 14 || v == 17 || v == 21 || v == 29 || v == 30
	stub v, 1
	.else
	stub v, 0
	.endif
	.set v, v + 1
	.endr

trap_common:
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%rbp
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	movq	%rsp, %rdi
	movq	%rsp, %rbx		// the ABI wants a 16-byte aligned stack at the call
	andq	$-16, %rsp
	call	trap
	movq	%rbx, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rbp
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	addq	$16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
