/*
 * binfmt_misc interpreter for arm64 programs on a foreign build machine.
 *
 * In a chroot of the build, a program that the tools tree also holds in a native build of the same
 * Debian release (sh, perl, tar, dpkg-deb, apt, dracut-install, ...) is run natively: same source,
 * same result, some ten times faster. Everything else goes to QEMU, which is also what happens
 * outside such a chroot. Kernel: Documentation/admin-guide/binfmt-misc.rst, flags P and F.
 *
 * argv, by flag P: [interpreter, path of the program, its argv[0], its arguments...]
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOOLS "/.pi-gateway-tools"

/* Python's compiled modules are the same on every machine, but its extension modules are not: only
 * byte-compilation may run natively, and what py3compile(1) asks for each package
 * (debpython/interpreter.py), which takes longer under QEMU than compiling. */
static int compiles_python(char **args) {
  if (args[0] && args[1] && !strcmp(args[0], "-c") &&
      (!strcmp(args[1], "import sys; print(sys.implementation.cache_tag)") ||
       !strcmp(args[1], "import importlib.util; print(importlib.util.MAGIC_NUMBER)")))
    return 1;
  for (; *args; args++)
    if (strstr(*args, "py_compile") || strstr(*args, "py3compile")) return 1;
  return 0;
}

static int runs_natively(const char *program, char **args) {
  if (strstr(program, "/python3")) return compiles_python(args);
  /* perl-base knows only its own modules; where all of perl is installed, scripts may want them. */
  if (strstr(program, "/perl")) return access("/usr/share/perl/5.40", F_OK) != 0;
  return 1;
}

int main(int argc, char **argv) {
  char program[PATH_MAX], native[PATH_MAX + sizeof TOOLS + 8];
  if (argc < 3) {
    fputs("native-exec: only the kernel's binfmt_misc runs this\n", stderr);
    return 126;
  }
  if (realpath(argv[1], program)) {
    snprintf(native, sizeof native, TOOLS "/native%s", program);
    if (access(native, X_OK) == 0 && runs_natively(program, argv + 3)) execv(native, argv + 2);
  }
  char **args = calloc((size_t)argc + 3, sizeof *args);
  if (!args) return 126;
  int n = 0;
  args[n++] = "qemu-aarch64";
  args[n++] = "-0";
  args[n++] = argv[2];
  args[n++] = argv[1];
  for (int i = 3; i < argc; i++) args[n++] = argv[i];
  execv(TOOLS "/usr/bin/qemu-aarch64", args);
  execv("/usr/bin/qemu-aarch64-static", args);
  execv("/usr/bin/qemu-aarch64", args);
  fprintf(stderr, "native-exec: no qemu-aarch64 to run %s: %s\n", argv[1], strerror(errno));
  return 126;
}
