/* SPDX-License-Identifier: GPL-2.0 */
#ifndef CARVEOUT_ARCH_H
#define CARVEOUT_ARCH_H

#include <linux/types.h>

/* What the linear map has at the address of a page */
enum carveout_alias {
	CARVEOUT_ALIAS_NONE,
	CARVEOUT_ALIAS_MAPPED,
	/* The translation ends in something else than a translation fault */
	CARVEOUT_ALIAS_UNKNOWN,
};

enum carveout_alias carveout_arch_linear_alias(phys_addr_t phys);
bool carveout_arch_has_fdt(phys_addr_t base, size_t size);
bool carveout_arch_fdt_reserved(unsigned int n, phys_addr_t *start, phys_addr_t *last);
void carveout_arch_clean_inval_poc(const void *va, size_t size);

#endif /* CARVEOUT_ARCH_H */
