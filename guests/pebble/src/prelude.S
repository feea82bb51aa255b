// The prelude's bytecode, as constant data.
	.section .rodata.prelude, "a"
	.globl prelude_start, prelude_end
prelude_start:
	.incbin "prelude.bin"
prelude_end:
	.section .note.GNU-stack, "", @progbits
