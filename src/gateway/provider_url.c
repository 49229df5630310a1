#include "gateway/provider_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>

#include "base/str.h"

static bool has_part(CURLU *url, CURLUPart part)
{
    char *value = NULL;
    bool has = curl_url_get(url, part, &value, 0) == CURLUE_OK;
    curl_free(value);
    return has;
}

static bool is_address(const char *host)
{
    struct in_addr v4;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

static bool take_parts(struct provider_url *out, CURLU *url, const char *base_url)
{
    if (!str_starts_with(base_url, "http://") && !str_starts_with(base_url, "https://"))
        return false;
    if (curl_url_set(url, CURLUPART_URL, base_url, 0) != CURLUE_OK)
        return false;
    if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD) ||
        has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT))
        return false;
    return curl_url_get(url, CURLUPART_HOST, &out->host, 0) == CURLUE_OK &&
           curl_url_get(url, CURLUPART_PORT, &out->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
}

int provider_url_parse(struct provider_url *out, const char *base_url, struct err *err)
{
    *out = (struct provider_url){0};
    CURLU *url = curl_url();
    if (!url)
        abort();
    bool ok = take_parts(out, url, base_url);
    curl_url_cleanup(url);
    if (!ok) {
        provider_url_release(out);
        return err_set(
            err, ERR_USAGE,
            "gateway.json: 'base_url' must be http:// or https:// with a host and a path, not '%s'",
            base_url);
    }
    out->is_literal = is_address(out->host);
    out->responses = str_format("%s/responses", base_url);
    return 0;
}

void provider_url_release(struct provider_url *url)
{
    curl_free(url->host);
    curl_free(url->port);
    free(url->responses);
    *url = (struct provider_url){0};
}
