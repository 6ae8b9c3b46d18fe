// How much of a stream its threads have done is not said otherwise.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
