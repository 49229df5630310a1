/*
 * The way to the internet for tools that do not read the variables of base/proxy_env.h, or are
 * started without them: in their own settings. Where a person has settings of the same name they
 * would be a repository's or the task's, which come after these.
 */
#include <stdio.h>

#include "base/sandbox_layout.h"
#include "sandbox/image_tree.h"

#define SETTING(name, value) "systemProp." name "=" value "\n"

/* https://docs.gradle.org/current/userguide/networking.html#sec:accessing_the_web_via_a_proxy */
static const char gradle[] = SETTING("http.proxyHost", SANDBOX_PROXY_HOST)
    SETTING("http.proxyPort", SANDBOX_PROXY_PORT) SETTING("https.proxyHost", SANDBOX_PROXY_HOST)
        SETTING("https.proxyPort", SANDBOX_PROXY_PORT)
            SETTING("http.nonProxyHosts", "localhost|127.*|[::1]");

/* https://maven.apache.org/guides/mini/guide-proxies.html */
static const char maven[] =
    "<settings><proxies>\n"
    "  <proxy><id>codex-http</id><active>true</active><protocol>http</protocol>\n"
    "    <host>" SANDBOX_PROXY_HOST "</host><port>" SANDBOX_PROXY_PORT "</port>\n"
    "    <nonProxyHosts>localhost|127.*|[::1]</nonProxyHosts></proxy>\n"
    "  <proxy><id>codex-https</id><active>true</active><protocol>https</protocol>\n"
    "    <host>" SANDBOX_PROXY_HOST "</host><port>" SANDBOX_PROXY_PORT "</port>\n"
    "    <nonProxyHosts>localhost|127.*|[::1]</nonProxyHosts></proxy>\n"
    "</proxies></settings>\n";

/* apt.conf(5); also for programs that start apt without its caller's environment. */
static const char apt[] = "Acquire::http::Proxy \"" SANDBOX_PROXY "\";\n"
                          "Acquire::https::Proxy \"" SANDBOX_PROXY "\";\n";

static int put_home(struct image_tree *tree, const char *home, uid_t uid, struct err *err)
{
    const struct {
        const char *directory, *name, *text;
    } settings[] = {{".gradle", "gradle.properties", gradle}, {".m2", "settings.xml", maven}};
    int status = 0;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0] && status == 0; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", home, settings[i].directory);
        status = image_tree_make_dir(tree, path, 0755, uid, uid, err);
        snprintf(path, sizeof path, "%s/%s/%s", home, settings[i].directory, settings[i].name);
        if (status == 0)
            status = image_tree_write(tree, path, 0644, uid, uid, settings[i].text, err);
    }
    return status;
}

int image_proxy_build(struct image_tree *tree, struct err *err)
{
    int status = image_tree_write(tree, "/etc/apt/apt.conf.d/80codex-proxy", 0644, 0, 0, apt, err);
    if (status == 0)
        status = put_home(tree, "/root", 0, err);
    return status < 0 ? status : put_home(tree, SANDBOX_HOME, SANDBOX_UID, err);
}
