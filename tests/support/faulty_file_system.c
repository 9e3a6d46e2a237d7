/* What some file systems refuse, for files below $FAULTY_FOLDER: those of $FAULTS, by name.
   Preloaded into a process, so that all of its libraries meet it. The fault "hints" is the kernel's,
   which then knows no advice. */

#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refuses(int file, const char *fault) {
    const char *faults = getenv("FAULTS"), *folder = getenv("FAULTY_FOLDER");
    char link[64], path[PATH_MAX];
    if (!faults || !folder || !strstr(faults, fault))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return !strncmp(path, folder, strlen(folder));
}

int flock(int file, int operation) {
    if (refuses(file, "flock")) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_flock, file, operation);
}

int fsync(int file) {
    struct stat status;
    if (refuses(file, "fsync") && !fstat(file, &status) && S_ISDIR(status.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_fsync, file);
}

void *mmap(void *address, size_t n_bytes, int access, int flags, int file, off_t offset) {
    int is_shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    if (file >= 0 && (refuses(file, "all-maps") || (is_shared && refuses(file, "shared-maps")))) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, n_bytes, access, flags, file, offset);
}

void *mmap64(void *address, size_t n_bytes, int access, int flags, int file, off_t offset) {
    return mmap(address, n_bytes, access, flags, file, offset);
}

static int knows_no_hints(void) {
    const char *faults = getenv("FAULTS");
    return faults && strstr(faults, "hints");
}

int madvise(void *address, size_t n_bytes, int advice) {
    if (knows_no_hints()) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_madvise, address, n_bytes, advice);
}

int posix_fadvise(int file, off_t offset, off_t n_bytes, int advice) {
    return knows_no_hints() ? ENOSYS : 0;
}

int posix_fadvise64(int file, off_t offset, off_t n_bytes, int advice) {
    return posix_fadvise(file, offset, n_bytes, advice);
}
