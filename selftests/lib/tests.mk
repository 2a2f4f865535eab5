# SPDX-License-Identifier: GPL-2.0
#
# Included by the Makefile of each directory of tests, which names them. They are
# built statically, with the libkvm and the flags of a kernel tree's own KVM
# selftests:
#
#   make KERNEL_TREE=<tree> OUT=<directory> [HEADERS=<tree>/usr/include]
#
# HEADERS is where `make headers` of that tree put the uAPI headers; with a
# separate build directory that is <build directory>/usr/include. EXTRA_CFLAGS=
# and USERLDFLAGS= say where libuuid is, if the compiler does not know. The kernel
# tree is not written to.
#
# TESTS	      from a C file each, linked with all C files of lib/ and with libkvm
# PLAIN_TESTS the same of what needs no KVM, linked with neither
# SHARED      names of C files that all tests of the directory are linked with
# SCRIPTS     of the directory, of lib/ or of the kernel's selftests/kselftest
#
# The kernel's Makefile names its files relative to its directory, hence a second
# make there, which reads our Makefile again, with TESTS_DIR set, and builds its
# goal "tests".

ifndef TESTS_DIR

CROSS_COMPILE ?= aarch64-linux-gnu-
HEADERS ?= $(KERNEL_TREE)/usr/include

all:
	@test -f "$(KERNEL_TREE)/tools/testing/selftests/kvm/Makefile.kvm" || \
		{ echo "KERNEL_TREE=$(KERNEL_TREE): no KVM selftests there" >&2; exit 1; }
	@test -f "$(HEADERS)/linux/kvm.h" || \
		{ echo "HEADERS=$(HEADERS): run make headers first" >&2; exit 1; }
	@test -n "$(OUT)" || { echo "OUT= is not set" >&2; exit 1; }
	@mkdir -p "$(OUT)/obj/tools"
	+$(MAKE) --no-print-directory -C "$(KERNEL_TREE)/tools/testing/selftests/kvm" \
		-f "$(CURDIR)/Makefile" TESTS_DIR="$(CURDIR)" \
		ARCH=arm64 CROSS_COMPILE="$(CROSS_COMPILE)" \
		OUTPUT="$(abspath $(OUT))/obj" abs_objdir="$(abspath $(OUT))/obj" \
		LINUX_HDR_PATH="$(abspath $(HEADERS))" \
		KHDR_INCLUDES="-isystem $(abspath $(HEADERS))" \
		USERLDFLAGS="-static $(USERLDFLAGS)" tests

clean:
	$(RM) -r "$(OUT)"

.PHONY: all clean

else

include Makefile

SELFTESTS := $(abspath $(TESTS_DIR)/..)
TESTS_OUT := $(patsubst %/obj,%,$(OUTPUT))
# libkvm's objects are in $(OUTPUT)/lib
OBJ := $(OUTPUT)/memtype
objects = $(patsubst %,$(OBJ)/$(notdir $(TESTS_DIR))/%.o,$(1))

LIB_OBJS := $(patsubst $(SELFTESTS)/%.c,$(OBJ)/%.o,$(wildcard $(SELFTESTS)/lib/*.c))

tests: $(addprefix $(TESTS_OUT)/,$(TESTS) $(PLAIN_TESTS) $(SCRIPTS))

$(addprefix $(TESTS_OUT)/,$(TESTS)): $(TESTS_OUT)/%: $(call objects,% $(SHARED)) \
		$(LIB_OBJS) $(LIBKVM_OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(addprefix $(TESTS_OUT)/,$(PLAIN_TESTS)): $(TESTS_OUT)/%: $(call objects,% $(SHARED))
	$(CC) $(CFLAGS) $(LDFLAGS) $^ -pthread -o $@

$(OBJ)/%.o: $(SELFTESTS)/%.c $(GEN_HDRS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I$(SELFTESTS)/lib -I$(SELFTESTS)/modules \
		-I$(SELFTESTS)/../include/uapi -c $< -o $@

vpath %.sh $(TESTS_DIR) $(SELFTESTS)/lib ../kselftest

$(addprefix $(TESTS_OUT)/,$(SCRIPTS)): $(TESTS_OUT)/%: %
	install -m 755 $< $@

-include $(wildcard $(OBJ)/*/*.d)

.SECONDARY:
.PHONY: tests

endif
