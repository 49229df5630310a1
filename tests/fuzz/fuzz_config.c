/* codex.conf: any bytes are either taken whole or refused with one line that names the place. */
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct err err = {0};
    config_init(&config);
    int status = config_parse(&config, "fuzz.conf", (const char *)data, size, &err);
    if (status < 0 && strncmp(err.message, "fuzz.conf:", strlen("fuzz.conf:")))
        abort();
    if (status == 0 && config.provider && !config_provider_find(&config, config.provider))
        abort();
    config_release(&config);
    return 0;
}
