/* All that codexd can find out for `codex doctor`: the machine and, when asked, provider and forges. */
#include <stdlib.h>

#include "orchestrator/internal.h"
#include "orchestrator/machine.h"
#include "orchestrator/probe.h"
#include "orchestrator/probe_forge.h"

struct examination {
    struct orchestrator *o;
    examined_fn *done;
    void *arg;
    bool looked;
    struct probe *probe;
    json_t *provider; /* NULL: not asked, or not yet */
    struct forge_probe *forge_probe;
    json_t *forges; /* likewise: an array */
    struct examination *next;
};

static void examination_free(struct examination *examination)
{
    struct examination **at = &examination->o->examinations;
    while (*at != examination)
        at = &(*at)->next;
    *at = examination->next;
    machine_forget(examination->o->machine, examination);
    probe_drop(examination->probe);
    json_decref(examination->provider);
    forge_probe_drop(examination->forge_probe);
    json_decref(examination->forges);
    free(examination);
}

void orchestrator_examine_drop(struct examination *examination)
{
    if (examination)
        examination_free(examination);
}

void examinations_free_all(struct orchestrator *o)
{
    while (o->examinations)
        examination_free(o->examinations);
}

static void finish_if_done(struct examination *examination)
{
    if (!examination->looked || examination->probe || examination->forge_probe)
        return;
    json_t *findings = json_copy((json_t *)machine_findings(examination->o->machine));
    if (examination->provider)
        json_array_append(findings, examination->provider);
    json_array_extend(findings, examination->forges);
    examined_fn *done = examination->done;
    void *arg = examination->arg;
    examination_free(examination);
    done(arg, findings);
}

static void on_looked(void *arg)
{
    struct examination *examination = arg;
    examination->looked = true;
    finish_if_done(examination);
}

static void on_probed(void *arg, json_t *finding)
{
    struct examination *examination = arg;
    examination->probe = NULL;
    examination->provider = finding;
    finish_if_done(examination);
}

static void on_forges_probed(void *arg, json_t *findings)
{
    struct examination *examination = arg;
    examination->forge_probe = NULL;
    examination->forges = findings;
    finish_if_done(examination);
}

static void ask_provider(struct examination *examination)
{
    struct orchestrator *o = examination->o;
    size_t asking = 0;
    for (const struct examination *other = o->examinations; other; other = other->next)
        asking += other->probe != NULL;
    const struct probe_options options = {
        .loop = o->loop, .spawner = o->spawner, .config = o->config, .secrets = o->secrets};
    if (asking < PROBES_MAX)
        examination->probe = probe_start(&options, on_probed, examination);
    else
        examination->provider = finding_new("provider", "warn", "try again in a moment",
                                            "others are asking it just now");
}

static void ask_forges(struct examination *examination, const struct examine_request *request)
{
    struct orchestrator *o = examination->o;
    size_t asking = 0;
    for (const struct forge_probe *probe = o->forge_probes; probe; probe = forge_probe_next(probe))
        asking++;
    if (asking < PROBES_MAX)
        examination->forge_probe =
            forge_probe_start(o, request->repo, request->uid, on_forges_probed, examination);
    else if (o->config->forges_count || request->repo)
        examination->forges =
            json_pack("[o]", finding_new("forges", "warn", "try again in a moment",
                                         "others are asking them just now"));
}

struct examination *orchestrator_examine(struct orchestrator *o,
                                         const struct examine_request *request, examined_fn *done,
                                         void *arg)
{
    struct examination *examination = calloc(1, sizeof *examination);
    if (!examination)
        abort();
    *examination = (struct examination){.o = o, .done = done, .arg = arg, .next = o->examinations};
    o->examinations = examination;
    if (request->provider)
        ask_provider(examination);
    if (request->forges)
        ask_forges(examination, request);
    machine_look(o->machine, on_looked, examination);
    return examination;
}

void orchestrator_look(struct orchestrator *o)
{
    machine_look(o->machine, NULL, NULL);
}

bool orchestrator_await_look(struct orchestrator *o, int64_t wait_ms, void (*looked)(void *arg),
                             void *arg)
{
    return machine_await(o->machine, wait_ms, looked, arg);
}

void orchestrator_forget_look(struct orchestrator *o, const void *arg)
{
    machine_forget(o->machine, arg);
}
