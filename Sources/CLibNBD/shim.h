#include <libnbd.h>

// Newer releases agree on headers with 64-bit lengths by themselves, which `NBDClientStream` does not read. Returns 0; -1 if
// libnbd refuses.
static inline int libnbd_refuse_extended_headers(struct nbd_handle *handle) {
#ifdef LIBNBD_HAVE_NBD_SET_REQUEST_EXTENDED_HEADERS
    return nbd_set_request_extended_headers(handle, false);
#else
    (void)handle;
    return 0;
#endif
}
