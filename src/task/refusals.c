#include "task/refusals.h"

#include <stdlib.h>

void refusals_release(struct refusals *refusals)
{
    for (size_t i = 0; i < refusals->count; i++) {
        free(refusals->of[i].host);
        free(refusals->of[i].reason);
    }
    *refusals = (struct refusals){0};
}
