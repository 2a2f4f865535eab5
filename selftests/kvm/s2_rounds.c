// SPDX-License-Identifier: GPL-2.0
/*
 * s2_rounds - VMs come and go, by themselves or killed
 *
 * MT_ROUNDS= processes, one after the other, make a VM with a flagged slot over memory
 * of a driver, whose dirty log and audit are on, and one over ordinary memory, and write
 * to both. Every second one is killed while its vCPU runs; in "out_of_memory" the kernel
 * kills them, since they take all memory that there is. Nothing of a VM is left when its
 * process has gone: neither its directory in debugfs nor the driver's memory in use.
 *
 * What the kernel says when it is out of memory, with a stack trace, is not for a console
 * where somebody looks for stack traces: whoever calls may turn that down (kernel.printk).
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"

/* The driver's memory is a block, and as many pages at its end are written to as of RAM */
#define SIZE		MT_BLOCK
#define NR_PAGES	512
#define RAM_SIZE	(NR_PAGES * MT_PAGE)
#define RAM_GPA		(MT_GPA + SIZE)

static const struct memtype_test_config config = {
	.vma_type = MEMTYPE_TEST_NC, .pte_type = MEMTYPE_TEST_NC,
	.flags = MEMTYPE_TEST_PMD,
};

enum end { BY_ITSELF, KILLED, OUT_OF_MEMORY };

/* The kernel takes the process that says so before all others */
static void *take_all_memory(void *unused)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	void *p;

	TEST_ASSERT(write(fd, "1000", 4) == 4, "oom_score_adj: %s", strerror(errno));
	for (;;) {
		p = mt_anon(SZ_64M);
		if (!p)
			continue;
		madvise(p, SZ_64M, MADV_HUGEPAGE);
		memset(p, 1, SZ_64M);
	}
	return NULL;
}

/* Of a process; it exits as soon as all is there, or writes until it is killed */
static void __noreturn vmm(enum end end)
{
	pthread_t thread;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	char path[96];
	char buf[4096];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(60);
	vm = mt_vm_create(&vcpu, SIZE + RAM_SIZE);
	fd = mt_test_open(&config);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE | KVM_MEM_LOG_DIRTY_PAGES, MT_GPA,
				    SIZE, mt_mmap(fd, SIZE, PROT_READ | PROT_WRITE,
						  MAP_SHARED, 0)), 0);
	MT_EXPECT_ERRNO(mt_set_slot_nr(vm, MT_SLOT + 1, 0, RAM_GPA, RAM_SIZE,
				       mt_anon(RAM_SIZE)), 0);
	mt_access_ok(vcpu, MT_FILL, RAM_GPA - RAM_SIZE, 2 * NR_PAGES);

	/* It stays open */
	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/memtype_audit", getpid(),
		 vm->fd);
	fd = open(path, O_RDONLY);
	TEST_ASSERT(fd < 0 ? errno == ENOENT : read(fd, buf, sizeof(buf)) > 0, "%s: %s", path,
		    strerror(errno));

	if (end == BY_ITSELF)
		_exit(0);
	if (end == OUT_OF_MEMORY)
		pthread_create(&thread, NULL, take_all_memory, NULL);
	else
		kill(getppid(), SIGUSR1);
	for (;;)
		mt_access_ok(vcpu, MT_FILL, RAM_GPA - RAM_SIZE, 2 * NR_PAGES);
}

static int users_of_memory(void)
{
	FILE *f = fopen("/sys/module/memtype_test/refcnt", "r");
	int users = -1;

	TEST_ASSERT(f && fscanf(f, "%d", &users) == 1, "/sys/module/memtype_test/refcnt");
	fclose(f);
	return users;
}

static void expect_no_vm(pid_t pid)
{
	char pattern[32];
	struct dirent *entry;
	DIR *dir;

	snprintf(pattern, sizeof(pattern), "%d-", pid);
	dir = opendir("/sys/kernel/debug/kvm");
	TEST_ASSERT(dir, "/sys/kernel/debug/kvm: %s", strerror(errno));
	while ((entry = readdir(dir)))
		TEST_ASSERT(strncmp(entry->d_name, pattern, strlen(pattern)),
			    "%s is still there", entry->d_name);
	closedir(dir);
}

FIXTURE(rounds) {
};

FIXTURE_SETUP(rounds)
{
	MT_SKIP_TO_HARNESS();
	mt_require_noncacheable();
	if (access("/dev/memtype_test", F_OK))
		mt_skip("/dev/memtype_test: %s", strerror(errno));
}

FIXTURE_TEARDOWN(rounds)
{
}

/* Hours, where somebody wants many */
TEST_F_TIMEOUT(rounds, come_and_go, 6 * 3600)
{
	unsigned int rounds = mt_number("MT_ROUNDS", 1000), i;
	int users = users_of_memory(), status, sig;
	sigset_t signals;
	pid_t pid;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	for (i = 0; i < rounds; i++) {
		bool killed = i & 1;

		pid = fork();
		TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
		if (!pid)
			vmm(killed ? KILLED : BY_ITSELF);
		/* That it is there, or that it has gone */
		sigwait(&signals, &sig);
		if (killed) {
			TEST_ASSERT_EQ(sig, SIGUSR1);
			usleep(i * 37 % 3000);
			kill(pid, SIGKILL);
		}
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
		TEST_ASSERT(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL :
				     WIFEXITED(status) && !WEXITSTATUS(status),
			    "Round %u: status %#x", i, status);
		if (killed)
			sigwait(&signals, &sig);
		expect_no_vm(pid);
		TEST_ASSERT_EQ(users_of_memory(), users);
	}
	ksft_print_msg("MT_ROUNDS=%u\n", rounds);
}

static void expect_no_warning(int kmsg)
{
	char record[8192];
	ssize_t len;

	/* What has been overwritten in the meantime is not an error */
	while ((len = read(kmsg, record, sizeof(record) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		record[max(len, 0L)] = '\0';
		TEST_ASSERT(!strstr(record, "WARNING:") && !strstr(record, "BUG:"), "%s", record);
	}
	close(kmsg);
}

/* Seconds each, hence fewer rounds */
TEST_F_TIMEOUT(rounds, out_of_memory, 6 * 3600)
{
	unsigned int rounds = max(mt_number("MT_ROUNDS", 1000) / 50, 2U), i;
	int users = users_of_memory(), status, kmsg;
	pid_t pid;

	mt_rig_only("it takes all memory");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	TEST_ASSERT(kmsg >= 0, "/dev/kmsg: %s", strerror(errno));
	lseek(kmsg, 0, SEEK_END);
	for (i = 0; i < rounds; i++) {
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
		if (!pid)
			vmm(OUT_OF_MEMORY);
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "Round %u: status %#x", i, status);
		expect_no_vm(pid);
		TEST_ASSERT_EQ(users_of_memory(), users);
	}
	expect_no_warning(kmsg);
	ksft_print_msg("%u times out of memory\n", rounds);
}

MT_NEEDS(MT_NONCACHEABLE)

TEST_HARNESS_MAIN
