#include "config/internet.h"

#include "base/json_text.h"

static void append_rules(struct buf *out, const char *name, const struct config_rules *rules)
{
    buf_appendf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < rules->count; i++) {
        if (i)
            buf_append_char(out, ',');
        json_text_cstring(out, rules->rules[i]);
    }
    buf_append_char(out, ']');
}

int config_internet_json(const struct config *config, struct buf *out)
{
    buf_append_str(out, "{\"access\":");
    json_text_cstring(out, config->internet);
    append_rules(out, "allow", &config->allow);
    append_rules(out, "allow_private", &config->allow_private);
    buf_append_str(out, ",\"resolver\":");
    json_text_cstring(out, config->resolver);
    return buf_append_char(out, '}');
}
