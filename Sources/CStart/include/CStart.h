// Opens standard descriptors that whoever started the program had closed. Linking this is enough.
#pragma once

// 1 where the descriptor, 0 to 2, was closed when the program began; it is /dev/null since.
int start_was_closed(int descriptor);
