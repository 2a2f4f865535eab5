// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_hostile - A guest and a process that want what is not theirs
 *
 * The guest maps, unmaps, reads, writes and executes whatever it can name: its memslot in
 * a buffer, what is before and behind it, any other address, each with any memory type and
 * any kind of access. Around its memslot, in the same buffer and in those before and behind
 * that, are canaries: it sees none, and none is changed.
 *
 * The process has been told to let go, for its pool's device was unbound, and keeps all
 * that it had: descriptors, mappings, a VM, other processes. It reaches nothing by any of
 * them, and as long as it has them nobody else gets the memory. Afterwards that has nothing
 * of what was there.
 *
 * What they do may be logged, but not oftener than a rate limit lets it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "carveout.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pool_require.h"
#include "processor.h"

/* Half of it says that it is one */
#define CANARY_MARK	0xca9a57edUL
#define CANARY		(CANARY_MARK << 32 | 0x0badcafeUL)

/* ---- what is logged ---- */

#define MAX_TEXTS	256
/* ___ratelimit(): ten in five seconds, in which two of these may begin and end */
#define LIMIT(_seconds)	(10U * ((_seconds) / 5 + 2))

static int kmsg_start(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	TEST_ASSERT(fd >= 0, "/dev/kmsg: %s", strerror(errno));
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* Two lines that differ in their numbers only are from one place */
static void without_numbers(char *text)
{
	char *to = text;

	for (; *text && *text != '\n'; text++)
		if (!strchr("0123456789abcdefx", *text))
			*to++ = *text;
	*to = '\0';
}

static void kmsg_expect_limited(int fd, unsigned int seconds)
{
	static struct { char text[128]; unsigned int nr; } seen[MAX_TEXTS];
	unsigned int i, nr = 0;
	char record[8192], *text;
	ssize_t len;

	memset(seen, 0, sizeof(seen));
	while ((len = read(fd, record, sizeof(record) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		TEST_ASSERT(len > 0, "More has been logged than the kernel keeps");
		record[len] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		without_numbers(text);
		for (i = 0; i < nr && strncmp(seen[i].text, text, sizeof(seen[i].text) - 1); i++)
			;
		TEST_ASSERT(i < MAX_TEXTS, "%u different lines have been logged", i);
		if (i == nr)
			snprintf(seen[nr++].text, sizeof(seen[i].text), "%s", text);
		TEST_ASSERT(++seen[i].nr <= LIMIT(seconds), "Logged more than %u times in %u s: %s",
			    LIMIT(seconds), seconds, record);
	}
	close(fd);
}

/* ---- the guest ---- */

/*
 * In the guest's address space, 512 pages whose entries the guest changes as it likes, and
 * the table with these entries. Its pages have 4 KiB, whatever the host's have: it can
 * name parts of those.
 */
#define WINDOW		0xc0000000UL
#define NR_WINDOW	512
#define TABLE		(WINDOW + SZ_2M)

/* The memslot is in the middle of blocks, so that either end tempts to map too much */
#define BUFFER		SZ_8M
#define SLOT_AT		(SZ_2M - SZ_64K)
#define SLOT_SIZE	(SZ_4M + 2 * SZ_64K)
#define SLOT_GPA	(MT_GPA + SLOT_AT)

#define ACCESSES_A_SYNC	2000

#define RET_INSN	0xd65f03c0U	/* AArch64 "ret" */

/* Beyond what processor.h has of an entry of stage 1 */
#define PTE_RDONLY	BIT(7)
#define PTE_XN		(BIT(53) | BIT(54))

static struct hostile {
	u64 random;
	u64 entry;		/* of the window, the parts that all have */
	u64 lse;
	u64 accesses;
	u64 exceptions;
	u64 loads;
	u64 stores;
	u64 executed;
	u64 canaries;		/* that it has seen */
} hostile;

static u64 guest_random(void)
{
	hostile.random ^= hostile.random << 13;
	hostile.random ^= hostile.random >> 7;
	hostile.random ^= hostile.random << 17;
	return hostile.random;
}

static void guest_skip(struct ex_regs *regs)
{
	hostile.exceptions++;
	regs->pc += 4;
}

/* The branch that got here left its return address in x30 */
static void guest_return(struct ex_regs *regs)
{
	hostile.exceptions++;
	regs->pc = regs->regs[30];
}

static void guest_error(struct ex_regs *regs)
{
	hostile.exceptions++;
}

static u64 guest_target(void)
{
	u64 r = guest_random();

	switch (r % 8) {
	case 0 ... 3:
		return SLOT_GPA + (r >> 8) % (SLOT_SIZE / SZ_4K) * SZ_4K;
	case 4:
		return SLOT_GPA - SZ_64K + (r >> 8) % 32 * SZ_4K;
	case 5:
		return SLOT_GPA + SLOT_SIZE - SZ_64K + (r >> 8) % 32 * SZ_4K;
	case 6:
		/* Not its own pages below, which it could do nothing without */
		return (SZ_4G + (r >> 8)) & GENMASK(39, 12);
	default:
		return (r | BIT(47)) & GENMASK(47, 12);
	}
}

static void guest_map(u64 nr)
{
	u64 r = guest_random(), entry = hostile.entry | guest_target();

	entry |= PTE_ATTRINDX(r % 6);
	if (r & BIT(8))
		entry |= PTE_RDONLY;
	if (!(r & BIT(9)))
		entry &= ~PTE_XN;
	if ((r >> 10) % 16 == 0)
		entry = 0;
	WRITE_ONCE(((u64 *)TABLE)[nr], entry);
	asm volatile("dsb ishst\n"
		     "tlbi vaae1is, %0\n"
		     "dsb ish\n"
		     "isb" :: "r" ((WINDOW + nr * SZ_4K) >> 12) : "memory");
}

static void guest_saw(u64 val)
{
	hostile.loads++;
	if (val >> 32 == CANARY_MARK || (val & GENMASK(31, 0)) == CANARY_MARK)
		hostile.canaries++;
}

static void guest_execute(u64 addr)
{
	asm volatile("str %w1, [%0]\n"
		     "dc civac, %0\n"
		     "dsb ish\n"
		     "ic ivau, %0\n"
		     "dsb ish\n"
		     "isb\n"
		     "blr %0" :: "r" (addr), "r" (RET_INSN) : "x30", "memory");
}

static void guest_try(u64 addr)
{
	u64 val = 0, val2 = 0, before;
	u32 failed;

	switch (guest_random() % 16) {
	case 0 ... 2:
		asm volatile("ldr %0, [%1]" : "+r" (val) : "r" (addr) : "memory");
		guest_saw(val);
		break;
	case 3 ... 4:
		/* Aligned first: see mt_access() */
		asm volatile("ldr xzr, [%2]\n"
			     "ldr %0, [%1]"
			     : "+r" (val) : "r" (addr + 1), "r" (addr) : "memory");
		guest_saw(val);
		break;
	case 5:
		asm volatile("ldp %0, %1, [%2]"
			     : "+r" (val), "+r" (val2) : "r" (addr) : "memory");
		guest_saw(val);
		guest_saw(val2);
		break;
	case 6 ... 8:
		hostile.stores++;
		asm volatile("str %0, [%1]" :: "r" (addr), "r" (addr) : "memory");
		break;
	case 9:
		hostile.stores++;
		asm volatile("stp %0, %0, [%1]" :: "r" (addr), "r" (addr) : "memory");
		break;
	case 10:
		asm volatile("ldxr %0, [%2]\n"
			     "stxr %w1, %2, [%2]"
			     : "+r" (val), "=&r" (failed) : "r" (addr) : "memory");
		guest_saw(val);
		break;
	case 11:
		if (hostile.lse)
			asm volatile(".arch_extension lse\n"
				     "ldadd %1, %0, [%1]" : "+r" (val) : "r" (addr) : "memory");
		guest_saw(val);
		break;
	case 12:
		asm volatile("dc zva, %0" :: "r" (addr) : "memory");
		break;
	case 13:
		/* To lose what others have written, if it can */
		asm volatile("dc ivac, %0\n"
			     "dsb sy" :: "r" (addr) : "memory");
		break;
	case 14:
		asm volatile("prfm pldl1keep, [%0]\n"
			     "at s1e1w, %0" :: "r" (addr) : "memory");
		break;
	default:
		before = hostile.exceptions;
		guest_execute(addr);
		hostile.executed += hostile.exceptions == before;
		break;
	}
}

static void guest_main(void)
{
	u64 nr;
	int i;

	for (;;) {
		for (i = 0; i < ACCESSES_A_SYNC; i++) {
			nr = guest_random() % NR_WINDOW;
			if (guest_random() % 4 == 0)
				guest_map(nr);
			guest_try(WINDOW + nr * SZ_4K + guest_random() % 64 * 64);
			hostile.accesses++;
		}
		GUEST_SYNC(0);
	}
}

static struct kvm_vm *guest_create(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm;
	u64 *table;

	vm = vm_create_shape_with_one_vcpu(VM_SHAPE(VM_MODE_P40V48_4K), vcpu, guest_main);
	vm_init_descriptor_tables(vm);
	vcpu_init_descriptor_tables(*vcpu);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_DABT_CUR, guest_skip);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_UNKNOWN, guest_skip);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_IABT_CUR, guest_return);
	vm_install_exception_handler(vm, VECTOR_ERROR_CURRENT, guest_error);

	virt_map(vm, WINDOW, SLOT_GPA, NR_WINDOW);
	table = virt_get_pte_hva(vm, WINDOW);
	virt_map(vm, TABLE, addr_hva2gpa(vm, table), 1);
	hostile = (struct hostile) {
		.random = mt_seed() | 1,
		.entry = (table[0] & ~(GENMASK(47, 12) | PTE_ATTRINDX_MASK)) | PTE_XN,
		.lse = mt_host_has_lse(),
	};
	ksft_print_msg("MT_SEED=%lu\n", (unsigned long)hostile.random);
	sync_global_to_guest(vm, hostile);
	return vm;
}

static bool in_slot(u64 gpa)
{
	return gpa >= SLOT_GPA && gpa < SLOT_GPA + SLOT_SIZE;
}

/* Until it has made its accesses; what KVM cannot do for it is skipped */
static void guest_run(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct ucall uc;
	u64 pc;

	for (;;) {
		if (__vcpu_run(vcpu)) {
			if (errno == EINTR)
				continue;
			/* An access without a syndrome to where no memory is */
			TEST_ASSERT(errno == ENOSYS || errno == EFAULT, "KVM_RUN: %s",
				    strerror(errno));
			TEST_ASSERT(run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
				    !in_slot(run->memory_fault.gpa),
				    "The guest's own memory at %#lx is refused",
				    (unsigned long)run->memory_fault.gpa);
			pc = vcpu_get_reg(vcpu, ARM64_CORE_REG(regs.pc));
			vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.pc), pc + 4);
			run->exit_reason = 0;
			continue;
		}
		switch (get_ucall(vcpu, &uc)) {
		case UCALL_SYNC:
			return;
		case UCALL_NONE:
			TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MMIO);
			TEST_ASSERT(!in_slot(run->mmio.phys_addr), "MMIO at %#lx",
				    (unsigned long)run->mmio.phys_addr);
			memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
			break;
		case UCALL_ABORT:
			REPORT_GUEST_ASSERT(uc);
			break;
		default:
			TEST_FAIL("ucall %lu", uc.cmd);
		}
	}
}

static void expect_canaries(void *p, u64 size, const char *where)
{
	long at = check(p, size, CANARY);

	if (at >= 0)
		TEST_FAIL("%s, word %ld is %#lx", where, at, (unsigned long)((u64 *)p)[at]);
}

static void *canary_buffer(int heap, u64 size)
{
	int buf = heap_alloc(heap, size);
	void *p;

	TEST_ASSERT(buf >= 0, "Buffer: %s", strerror(-buf));
	p = map_shared(buf, size);
	TEST_ASSERT(p, "mmap: %s", strerror(errno));
	close(buf);
	fill(p, size, CANARY);
	return p;
}

MT_TEST(guest)
{
	unsigned int seconds = mt_number("MT_SECONDS", 5);
	struct kvm_vcpu *vcpu, *other_vcpu;
	struct kvm_vm *vm, *other;
	void *before, *p, *behind;
	struct pool pool;
	int heap, kmsg;
	time_t end;
	u64 rest;

	mt_require_noncacheable();
	pool_require(&pool, &heap);
	before = canary_buffer(heap, SZ_4M);
	p = canary_buffer(heap, BUFFER);
	rest = pool.total - SZ_4M - BUFFER;
	behind = canary_buffer(heap, rest);
	memset(p + SLOT_AT, 0, SLOT_SIZE);

	/* Another guest has what is behind it */
	other = mt_vm_create(&other_vcpu, SZ_4M);
	MT_EXPECT_ERRNO(mt_set_slot(other, KVM_MEM_NONCACHEABLE, MT_GPA, SZ_4M, behind), 0);
	TEST_ASSERT_EQ(mt_access_ok(other_vcpu, MT_LDR, MT_GPA, 0), CANARY);

	vm = guest_create(&vcpu);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, SLOT_GPA, SLOT_SIZE, p + SLOT_AT),
			0);
	kmsg = kmsg_start();
	end = time(NULL) + seconds;
	do {
		guest_run(vcpu);
	} while (time(NULL) < end);
	kmsg_expect_limited(kmsg, seconds);
	sync_global_from_guest(vm, hostile);

	ksft_print_msg("%lu accesses, %lu exceptions, %lu loads, %lu stores\n",
		       (unsigned long)hostile.accesses, (unsigned long)hostile.exceptions,
		       (unsigned long)hostile.loads, (unsigned long)hostile.stores);
	TEST_ASSERT(hostile.exceptions && hostile.loads && hostile.stores, "It does nothing");
	TEST_ASSERT(count(p + SLOT_AT, SLOT_SIZE, 0) < SLOT_SIZE / 8, "It has written nothing");
	TEST_ASSERT(!hostile.canaries, "It has seen %lu canaries",
		    (unsigned long)hostile.canaries);
	TEST_ASSERT(!hostile.executed, "It has executed %lu times from memory that is not to be",
		    (unsigned long)hostile.executed);
	expect_canaries(before, SZ_4M, "The buffer before");
	expect_canaries(p, SLOT_AT, "Before the memslot");
	expect_canaries(p + SLOT_AT + SLOT_SIZE, BUFFER - SLOT_AT - SLOT_SIZE,
			"Behind the memslot");
	expect_canaries(behind, rest, "The buffer behind");
	TEST_ASSERT_EQ(mt_access_ok(other_vcpu, MT_LDR, MT_GPA, 0), CANARY);

	kvm_vm_free(vm);
	kvm_vm_free(other);
	munmap(before, SZ_4M);
	munmap(p, BUFFER);
	munmap(behind, rest);
	close(heap);
}

/* ---- the process ---- */

#define SIZE		SZ_4M

struct keeper {
	int heap, buf, buf2, sockets[2];
	void *p, *q, *node;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	pid_t child;
	int go;
};

/* All that a process can have of a buffer */
static void keeper_start(struct keeper *k, const struct pool *pool)
{
	int go[2], up[2];
	void *p;
	char c;

	k->heap = pool_open(pool);
	k->buf = heap_alloc(k->heap, SIZE);
	TEST_ASSERT(k->buf >= 0, "Buffer: %s", strerror(-k->buf));
	k->buf2 = dup(k->buf);
	k->p = map_shared(k->buf, SIZE);
	k->q = map_shared(k->buf2, SIZE);
	k->node = map_shared(k->heap, SIZE);
	TEST_ASSERT(k->p && k->q && k->node, "mmap: %s", strerror(errno));
	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_DGRAM, 0, k->sockets) && !pipe(go) && !pipe(up),
		    "sockets, pipe: %s", strerror(errno));
	MT_EXPECT_ERRNO(-send_fd(k->sockets[0], k->buf), 0);

	/* Mappings are not inherited, descriptors are */
	k->child = fork();
	if (!k->child) {
		close(go[1]);
		p = map_shared(k->buf, SIZE);
		if (!p || write(up[1], "", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(signal_of_access(p, false));
	}
	close(up[1]);
	TEST_ASSERT(read(up[0], &c, 1) == 1, "The child did not start");
	close(up[0]);
	close(go[0]);
	k->go = go[1];

	k->vm = mt_vm_create(&k->vcpu, SIZE);
	MT_EXPECT_ERRNO(mt_set_slot(k->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, k->p), 0);
	mt_access_ok(k->vcpu, MT_FILL, MT_GPA, SIZE / MT_PAGE);
	fill(k->node, SIZE, CANARY);
}

static void expect_no_access(void *p, const char *what)
{
	int sig = signal_of_access(p, false);

	TEST_ASSERT(sig == SIGBUS, "%s: a read ends with signal %d", what, sig);
	sig = signal_of_access(p + SIZE / 2, true);
	TEST_ASSERT(sig == SIGBUS, "%s: a write ends with signal %d", what, sig);
}

static void expect_no_mmap(int fd, const char *what)
{
	void *p = map_shared(fd, SIZE);

	TEST_ASSERT(!p && errno == ENODEV, "%s: mmap: %s", what, p ? "it works" :
		    strerror(errno));
}

/* And all that it can try with it */
static void keeper_try(struct keeper *k)
{
	struct kvm_pre_fault_memory range = { .gpa = MT_GPA, .size = SIZE };
	u64 words[2] = {};
	struct iovec local = { words, sizeof(words) }, remote = { k->p, sizeof(words) };
	int status, fd;
	void *moved;

	expect_no_access(k->p, "mapping");
	expect_no_access(k->q, "mapping by a duplicate");
	expect_no_access(k->node, "mapping of the node");
	expect_no_mmap(k->buf, "buffer");
	expect_no_mmap(k->buf2, "duplicate");
	fd = receive_fd(k->sockets[1]);
	TEST_ASSERT(fd >= 0, "receive_fd: %s", strerror(-fd));
	expect_no_mmap(fd, "descriptor out of a socket");
	expect_no_mmap(k->heap, "node");
	MT_EXPECT_ERRNO(-heap_alloc(k->heap, SZ_4K), ENODEV);

	TEST_ASSERT(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == -1,
		    "process_vm_readv() reads %#lx", (unsigned long)words[0]);
	fd = open("/proc/self/mem", O_RDWR);
	TEST_ASSERT(fd >= 0, "/proc/self/mem: %s", strerror(errno));
	TEST_ASSERT(pread(fd, words, sizeof(words), (long)k->p) == -1,
		    "/proc/self/mem reads %#lx", (unsigned long)words[0]);
	TEST_ASSERT(pwrite(fd, words, sizeof(words), (long)k->p) == -1, "/proc/self/mem writes");
	close(fd);
	TEST_ASSERT(!mprotect(k->q, SIZE, PROT_READ) &&
		    !mprotect(k->q, SIZE, PROT_READ | PROT_WRITE), "mprotect: %s",
		    strerror(errno));
	expect_no_access(k->q, "mapping, protected again");
	moved = mremap(k->q, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, k->node);
	TEST_ASSERT(moved == k->node, "mremap: %s", strerror(errno));
	expect_no_access(moved, "mapping, moved");

	TEST_ASSERT(write(k->go, "", 1) == 1, "write: %s", strerror(errno));
	TEST_ASSERT(waitpid(k->child, &status, 0) == k->child &&
		    WIFEXITED(status) && WEXITSTATUS(status) == SIGBUS,
		    "The child's read ends with status %#x", status);

	mt_expect_memory_fault(k->vcpu, MT_LDR, MT_GPA, 0);
	mt_expect_memory_fault(k->vcpu, MT_STR, MT_GPA + SZ_2M, 0);
	MT_EXPECT_ERRNO(__vcpu_ioctl(k->vcpu, KVM_PRE_FAULT_MEMORY, &range) ? errno : 0, EFAULT);
	MT_EXPECT_ERRNO(mt_set_slot(k->vm, 0, MT_GPA, 0, k->p), 0);
	MT_EXPECT_ERRNO(mt_set_slot(k->vm, KVM_MEM_NONCACHEABLE, MT_GPA, SIZE, k->p), 0);
	mt_expect_memory_fault(k->vcpu, MT_LDR, MT_GPA, 0);
}

static int keeper_main(const struct pool *pool, int told, int ready)
{
	struct keeper k = {};
	char c;

	keeper_start(&k, pool);
	TEST_ASSERT(write(ready, "", 1) == 1 && read(told, &c, 1) == 1, "pipe: %s",
		    strerror(errno));
	keeper_try(&k);
	/* In an order of its own */
	kvm_vm_free(k.vm);
	close(k.buf);
	munmap(k.p, SIZE);
	return 0;
}

MT_TEST(keeper)
{
	int heap, told[2], ready[2], status, kmsg;
	struct binding binding;
	struct pool pool;
	time_t start;
	pid_t pid;
	void *p;
	char c;

	mt_require_noncacheable();
	pool_require(&pool, &heap);
	close(heap);
	if (!binding_find(&pool, &binding))
		mt_skip("the pool is none of a device's");
	TEST_ASSERT(!pipe(told) && !pipe(ready), "pipe: %s", strerror(errno));
	kmsg = kmsg_start();
	start = time(NULL);
	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		close(told[1]);
		close(ready[0]);
		_exit(keeper_main(&pool, told[0], ready[1]));
	}
	close(told[0]);
	close(ready[1]);
	TEST_ASSERT(read(ready[0], &c, 1) == 1, "It did not start");

	TEST_ASSERT(binding_write(&binding, "unbind"), "unbind: %s", strerror(errno));
	TEST_ASSERT(!binding_write(&binding, "bind"), "Its memory is given to somebody else");
	TEST_ASSERT(write(told[1], "", 1) == 1, "write: %s", strerror(errno));
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	TEST_ASSERT(!status, "It ends with status %#x", status);

	TEST_ASSERT(binding_bind(&binding), "bind: %s", strerror(errno));
	TEST_ASSERT(pool_settle(&pool), "It is scrubbed for too long");
	heap = pool_open(&pool);
	TEST_ASSERT(heap >= 0, "%s: %s", pool.path, strerror(errno));
	p = map_shared(heap, pool.total);
	TEST_ASSERT(p, "mmap: %s", strerror(errno));
	TEST_ASSERT(check(p, pool.total, 0) < 0, "Something is left of it");
	munmap(p, pool.total);
	close(heap);
	kmsg_expect_limited(kmsg, time(NULL) - start);
}

TEST_HARNESS_MAIN
