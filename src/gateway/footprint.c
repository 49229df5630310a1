#include "gateway/footprint.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MMAP_THRESHOLD_BYTES = 65536, TRIM_THRESHOLD_BYTES = 65536 };

/* libgnutls comes with libcurl's LDAP and RTMP, which are never used here (TLS is OpenSSL's), and
 * would initialise itself when it is loaded. It asks for this function first (its manual,
 * "Initialization"): 0.9 MB and a third of a millisecond. */
int _gnutls_global_init_skip(void);
int _gnutls_global_init_skip(void)
{
    return 1;
}

void footprint_init(void)
{
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
}

/* Segments that cannot be written are the file's own pages: dropping them loses nothing. */
static int drop_pages(struct dl_phdr_info *library, size_t size, void *arg)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < library->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W))
            continue;
        uintptr_t begin = (library->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (library->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
        if (end > begin)
            madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void footprint_trim(void)
{
    dl_iterate_phdr(drop_pages, NULL);
    malloc_trim(0);
}
