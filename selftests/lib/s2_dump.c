// SPDX-License-Identifier: GPL-2.0
/* What is mapped at stage 2; see s2_dump.h */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>

#include "kvm_util.h"
#include "pages.h"
#include "s2_dump.h"

/* The VM's own stage 2, whose addresses are those of memslots */
#define S2_FILE	"stage2_page_tables"

static FILE *s2_open(struct kvm_vm *vm, const char *file)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s", getpid(), vm->fd, file);
	return fopen(path, "r");
}

bool s2_dump_file_exists(struct kvm_vm *vm, const char *file)
{
	FILE *f = s2_open(vm, file);

	if (f)
		fclose(f);
	return f;
}

bool s2_dump_exists(struct kvm_vm *vm)
{
	return s2_dump_file_exists(vm, S2_FILE);
}

#define S2_BLANKS	"\n "

/*
 * "0x<start>-0x<end>   <total> <level> <attributes>": the attributes are words,
 * and columns that are not set are spaces. Invalid ranges have an F or nothing.
 */
static bool s2_parse(char *line, struct s2_range *range)
{
	char *word, *save = NULL, unit;
	unsigned long total;
	int level, len, per_level = __builtin_ctzl(MT_PAGE / 8);

	memset(range, 0, sizeof(*range));
	if (sscanf(line, "0x%lx-0x%lx %lu%c %d%n", &range->start, &range->end,
		   &total, &unit, &level, &len) != 5)
		return false;
	/* Down from -1, with 52 bits of address and small pages */
	TEST_ASSERT(level >= -1 && level <= 3, "Stage-2 dump has level %d: %s", level, line);
	range->leaf_size = MT_PAGE << (3 - level) * per_level;

	for (word = strtok_r(line + len, S2_BLANKS, &save); word;
	     word = strtok_r(NULL, S2_BLANKS, &save)) {
		if (!strcmp(word, "F"))
			return false;
		if (strchr(word, '/')) {
			snprintf(range->type, sizeof(range->type), "%s", word);
			continue;
		}
		if (!strcmp(word, "R"))
			range->readable = true;
		else if (!strcmp(word, "W"))
			range->writable = true;
		else if (!strcmp(word, "PXNUXN"))
			range->xn = true;
		if (*range->perms)
			strncat(range->perms, " ", sizeof(range->perms) - strlen(range->perms) - 1);
		strncat(range->perms, word, sizeof(range->perms) - strlen(range->perms) - 1);
	}

	return *range->perms;
}

size_t s2_dump_file(struct kvm_vm *vm, const char *file, u64 gpa, u64 size,
		    struct s2_range **ranges)
{
	FILE *f = s2_open(vm, file);
	struct s2_range range;
	char line[256];
	size_t nr = 0;

	TEST_ASSERT(f, "Stage-2 dump of the VM: %s", strerror(errno));
	*ranges = NULL;
	while (fgets(line, sizeof(line), f)) {
		if (!s2_parse(line, &range))
			continue;
		range.start = max(range.start, gpa);
		range.end = min(range.end, gpa + size);
		if (range.start >= range.end)
			continue;
		*ranges = realloc(*ranges, (nr + 1) * sizeof(range));
		TEST_ASSERT(*ranges, "Out of memory");
		(*ranges)[nr++] = range;
	}
	fclose(f);
	return nr;
}

size_t s2_dump(struct kvm_vm *vm, u64 gpa, u64 size, struct s2_range **ranges)
{
	return s2_dump_file(vm, S2_FILE, gpa, size, ranges);
}

bool s2_find(struct kvm_vm *vm, u64 gpa, struct s2_range *range)
{
	struct s2_range *ranges;
	size_t nr;

	nr = s2_dump(vm, gpa, 1, &ranges);
	if (nr)
		*range = ranges[0];
	free(ranges);
	return nr;
}

u64 s2_count(struct kvm_vm *vm, u64 gpa, u64 size, u64 leaf_size)
{
	struct s2_range *ranges;
	u64 count = 0;
	size_t i, nr;

	nr = s2_dump(vm, gpa, size, &ranges);
	for (i = 0; i < nr; i++) {
		if (leaf_size && ranges[i].leaf_size != leaf_size)
			continue;
		count += (ranges[i].end - ranges[i].start) / ranges[i].leaf_size;
	}
	free(ranges);
	return count;
}

bool s2_type_is(const struct s2_range *range, const char *type)
{
	/* Kernels without the flag do not print it; the behaviour must do there */
	if (!*range->type && !kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		return true;
	return !strcmp(range->type, type);
}

void mt_expect_type(struct kvm_vm *vm, u64 gpa, const char *type, struct s2_range *range)
{
	struct s2_range unused;

	range = range ?: &unused;
	TEST_ASSERT(s2_find(vm, gpa, range), "%#lx is not mapped", (unsigned long)gpa);
	TEST_ASSERT(s2_type_is(range, type), "%#lx is mapped as '%s', expected '%s'",
		    (unsigned long)gpa, range->type, type);
}

void mt_expect_nc(struct kvm_vm *vm, u64 gpa, u64 size, const char *when)
{
	struct s2_range *ranges;
	size_t i, nr;

	nr = s2_dump(vm, gpa, size, &ranges);
	TEST_ASSERT(nr, "%s: nothing is mapped at %#lx-%#lx", when, (unsigned long)gpa,
		    (unsigned long)(gpa + size));
	for (i = 0; i < nr; i++) {
		TEST_ASSERT(s2_type_is(&ranges[i], S2_NC), "%s: %#lx-%#lx is '%s'", when,
			    (unsigned long)ranges[i].start, (unsigned long)ranges[i].end,
			    ranges[i].type);
		TEST_ASSERT(ranges[i].xn, "%s: %#lx-%#lx is executable (%s)", when,
			    (unsigned long)ranges[i].start, (unsigned long)ranges[i].end,
			    ranges[i].perms);
	}
	free(ranges);
}
