#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

// Swift takes a global variable of C for one that threads may change.
static inline io_manager ext2fs_files(void) { return unix_io_manager; }
