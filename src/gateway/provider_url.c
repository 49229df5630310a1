#include "gateway/provider_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>

#include "base/cleanup.h"
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

/* ?NAME=VALUE&… */
static char *query_of(const struct gateway_config *config)
{
    char *query = str_dup("");
    for (size_t i = 0; i < config->query_count; i++) {
        char *value = curl_easy_escape(NULL, config->query[i].value, 0);
        if (!value)
            abort();
        char *longer = str_format("%s%c%s=%s", query, i ? '&' : '?', config->query[i].name, value);
        curl_free(value);
        free(query);
        query = longer;
    }
    return query;
}

static char *target_of(const struct gateway_config *config)
{
    const struct wire *wire = config->wire;
    bool lacks_root = wire->root && !str_ends_with(config->base_url, wire->root);
    AUTO_FREE char *query = query_of(config);
    return str_format("%s%s%s%s", config->base_url, lacks_root ? wire->root : "", wire->path,
                      query);
}

int provider_url_parse(struct provider_url *out, const struct gateway_config *config,
                       struct err *err)
{
    *out = (struct provider_url){0};
    CURLU *url = curl_url();
    if (!url)
        abort();
    bool ok = take_parts(out, url, config->base_url);
    curl_url_cleanup(url);
    if (!ok) {
        provider_url_release(out);
        return err_set(
            err, ERR_USAGE,
            "gateway.json: 'base_url' must be http:// or https:// with a host and a path, not '%s'",
            config->base_url);
    }
    out->is_literal = is_address(out->host);
    out->target = target_of(config);
    return 0;
}

void provider_url_release(struct provider_url *url)
{
    curl_free(url->host);
    curl_free(url->port);
    free(url->target);
    *url = (struct provider_url){0};
}
