#include "forge/forge.h"

#include <stdlib.h>

static void open_request(const struct forge *forge, const struct task *task,
                         const struct pull_request *request, forge_opened_fn *done, void *arg)
{
    /* It is where the caller keeps it. */
    done(arg, &(struct forge_opened){.draft = request->draft}, NULL, 0);
}

/* A question under way. */
struct question {
    forge_state_fn *done;
    void *arg;
};

static void answer(void *arg, int contains, const struct err *err)
{
    struct question question = *(struct question *)arg;
    free(arg);
    const char *state = contains < 0 ? NULL : contains ? "merged" : "open";
    question.done(question.arg, state, err);
}

static void ask_state(const struct forge *forge, const struct task *task, forge_state_fn *done,
                      void *arg)
{
    const struct forge_plain *plain = forge->self;
    struct question *question = malloc(sizeof *question);
    if (!question)
        abort();
    *question = (struct question){done, arg};
    plain->contains(plain->host, task, answer, question);
}

void forge_plain_init(struct forge *out, struct forge_plain *plain, forge_contains_fn *contains,
                      void *host)
{
    *plain = (struct forge_plain){.contains = contains, .host = host};
    *out = (struct forge){.name = "plain", .self = plain, .open = open_request, .state = ask_state};
}
