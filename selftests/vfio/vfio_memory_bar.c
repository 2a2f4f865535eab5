// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_memory_bar - Is the BAR that BAR= names one that tests may write to?
 *
 * Its device has to be bound to vfio-pci, or is bound now. Exits as skipped, with the
 * reason, if the BAR is not memory or nobody can open the device.
 */
#include "kselftest.h"

#include "bars.h"

int main(void)
{
	const struct bar *bar = memory_bar(0);

	printf("%s BAR %d is memory%s\n", bar->bdf, bar->index,
	       bar->prefetchable ? ", prefetchable" : "");
	return 0;
}
