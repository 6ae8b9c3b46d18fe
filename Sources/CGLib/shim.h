// Only GKeyFile is used: the format, and the reader, of nbd-server's own configuration.
#pragma once

#include <glib.h>

static inline GKeyFileFlags glib_no_flags(void) {
    return G_KEY_FILE_NONE;
}
