#include "gateway/egress/explain.h"

#include <string.h>

#define CHANGE "; to allow it, add '%s = %s%s%s:%u' to [internet] in the server's codex.conf"

static void explain_private(const struct net_host *host, uint16_t port,
                            const struct net_address *address, const char *open, const char *close,
                            struct buf *out)
{
    const char *kind = address ? net_address_special(address) : "loopback";
    if (kind && !strcmp(kind, "loopback") && (host->is_address || !address)) {
        buf_appendf(
            out,
            "%s is the sandbox itself, which the proxy does not reach: ask it directly (set "
            "no_proxy=localhost,127.0.0.1)",
            host->text);
        return;
    }
    buf_appendf(out, "%s is no public address (%s)" CHANGE, host->text, kind ? kind : "private",
                "allow_private", open, host->text, close, port);
}

void egress_explain(enum egress_verdict verdict, const struct net_host *host, uint16_t port,
                    const struct net_address *address, struct buf *out)
{
    bool v6 = strchr(host->text, ':');
    const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
    switch (verdict) {
    case EGRESS_DENIED_ACCESS:
        buf_append_str(out,
                       "this sandbox has no internet: [internet] access is off in the server's "
                       "codex.conf");
        return;
    case EGRESS_DENIED_HOST:
        buf_appendf(out, "%s is not among the hosts that this sandbox may reach" CHANGE, host->text,
                    "allow", open, host->text, close, port);
        return;
    case EGRESS_DENIED_PORT:
        buf_appendf(out, "port %u of %s is closed to this sandbox" CHANGE, port, host->text,
                    "allow", open, host->text, close, port);
        return;
    case EGRESS_DENIED_PRIVATE:
        explain_private(host, port, address, open, close, out);
        return;
    case EGRESS_DENIED_OWN:
        buf_appendf(out, "%s is the machine that runs this sandbox" CHANGE, host->text,
                    "allow_private", open, host->text, close, port);
        return;
    case EGRESS_DENIED_TLS:
        buf_appendf(out,
                    "a tunnel to %s has to begin with TLS that asks for %s, unencrypted (no ECH)",
                    host->text, host->text);
        return;
    case EGRESS_DENIED_REPOSITORY:
        buf_appendf(out,
                    "%s:%u is not among what the repository lets its tasks reach; to allow it, add "
                    "'allow = %s%s%s:%u' to .codex/environment.conf in the commit that the task "
                    "starts from",
                    host->text, port, open, host->text, close, port);
        return;
    case EGRESS_ALLOWED:
    case EGRESS_VERDICT_COUNT:
        return;
    }
}
