// liburing needs the GNU names of <fcntl.h> and <sched.h>.
#define _GNU_SOURCE
#include <liburing.h>
