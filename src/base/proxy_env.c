#include "base/proxy_env.h"

#include <stddef.h>

#include "base/sandbox_layout.h"

/* Some programs read one spelling and some the other; curl reads http_proxy in lower case only. */
const char *const proxy_env[] = {
    "http_proxy=" SANDBOX_PROXY,
    "https_proxy=" SANDBOX_PROXY,
    "no_proxy=" SANDBOX_NO_PROXY,
    "HTTP_PROXY=" SANDBOX_PROXY,
    "HTTPS_PROXY=" SANDBOX_PROXY,
    "NO_PROXY=" SANDBOX_NO_PROXY,
    /* Yarn 2 and later read their own only. There is no YARN_NO_PROXY: they refuse to start. */
    "YARN_HTTP_PROXY=" SANDBOX_PROXY,
    "YARN_HTTPS_PROXY=" SANDBOX_PROXY,
    /* fetch() and http of Node.js 24 and later read the variables above when this is set. */
    "NODE_USE_ENV_PROXY=1",
    NULL,
};
