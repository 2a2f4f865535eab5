// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_hold <node> - Keeps a buffer while carveout_module.sh tries to unload
 *
 * Says what it holds, "descriptor" and then "mapping", with the node itself
 * closed, and goes on with every line of its input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "carveout.h"

int main(int argc, char **argv)
{
	int heap = argc == 2 ? open(argv[1], O_RDWR) : -1;
	int buf = heap < 0 ? -1 : heap_alloc(heap, 4096);
	char line[16];
	void *p;

	setbuf(stdout, NULL);
	if (buf < 0)
		return 1;
	close(heap);
	puts("descriptor");
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (p == MAP_FAILED)
		return 1;
	close(buf);
	puts("mapping");
	return !fgets(line, sizeof(line), stdin);
}
