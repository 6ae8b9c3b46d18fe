// Opens the standard descriptors that were closed when the program was started. Linking this target is enough.
#pragma once

// Returns 1 if the descriptor, 0 to 2, was closed when the program started; it has been /dev/null since.
int start_was_closed(int descriptor);
