// Swift's Glibc module was built without the GNU names; its view of these types has to come first.
#include <sys/types.h>
#include <sys/select.h>
#include <sched.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <liburing.h>
