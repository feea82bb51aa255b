// The prelude's text, as constant data.
	.section .rodata.prelude, "a"
	.globl prelude_start, prelude_end
prelude_start:
	.incbin "prelude.min.js"
prelude_end:
	.section .note.GNU-stack, "", @progbits
