/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A boot loader as there are some: it has used memory that the kernel is not told of,
 * here LOADER_SIZE bytes at LOADER_BASE, by a Write-Back mapping, and turns the MMU off
 * without having cleaned it. The boot protocol asks for no more: what must be clean is
 * the kernel, which is KERNEL_AT bytes behind this, as QEMU has loaded both for one
 * (Documentation/arch/arm64/booting.rst).
 */
	.globl	_start
_start:
	b	start
	nop
	.quad	0			/* anywhere */
	.quad	LOADER_AND_KERNEL	/* with what the kernel needs behind it */
	.quad	0xa			/* little endian, 4K pages, at any 2 MiB */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

start:
	/* A GiB an entry, from the RAM's first one on */
	adr	x1, table
	msr	ttbr0_el2, x1
	mov	x1, #0xff		/* Normal, Write-Back */
	msr	mair_el2, x1
	ldr	x1, =0x80820019		/* 39 bits of address, to 40 bits */
	msr	tcr_el2, x1
	isb
	tlbi	alle2
	dsb	nsh
	isb
	mrs	x2, sctlr_el2
	orr	x1, x2, #0x1		/* M */
	orr	x1, x1, #0x4		/* C */
	msr	sctlr_el2, x1
	isb

	ldr	x3, =LOADER_BASE
	ldr	x4, =LOADER_BASE + LOADER_SIZE
	mov	x5, #0x100000000
1:	add	x5, x5, #1
	str	x5, [x3], #8
	cmp	x3, x4
	b.lo	1b
	dsb	sy

	msr	sctlr_el2, x2
	isb
	tlbi	alle2
	dsb	nsh
	isb
	adr	x5, _start
	add	x5, x5, #KERNEL_AT
	mov	x1, xzr			/* x0 is the device tree's, as it was */
	mov	x2, xzr
	mov	x3, xzr
	br	x5

	.ltorg
	.balign	4096
table:
	.quad	0
	.quad	0x40000741
	.quad	0x80000741
	.quad	0xc0000741
	.fill	508, 8, 0
