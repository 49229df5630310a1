#include "base/object_id.h"

#include <string.h>

bool object_id_valid(const char *id)
{
    return strlen(id) == OBJECT_ID_LEN && strspn(id, "0123456789abcdef") == OBJECT_ID_LEN;
}
