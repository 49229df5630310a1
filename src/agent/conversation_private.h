/* Between the files of the conversation: what it is, and the steps in memory, which are the same
 * whether they are taken now (conversation.c, conversation_output.c) or read from the journal
 * (conversation_restore.c). */
#ifndef CODEX_AGENT_CONVERSATION_PRIVATE_H
#define CODEX_AGENT_CONVERSATION_PRIVATE_H

#include "agent/conversation.h"
#include "agent/journal.h"

struct call {
    const struct item *item; /* of `last` */
    bool started;
    struct json_span output; /* the item, owned, until it enters the conversation; NULL: open */
    struct json_span image;  /* owned: the parts that stand apart from it; NULL: none */
};

struct conversation {
    const struct provider *provider;
    struct journal *journal;
    struct buf text;
    struct buf record; /* the record being written */
    struct response last;
    struct call *calls;
    size_t calls_count, calls_open;
    unsigned records, sessions, rounds;
    size_t images, image_bytes; /* in `text` */
    size_t image_bytes_ever;
    bool ended;
    struct json_span round_item; /* owned: what began the last round, after the first */
    struct token_usage usage;
};

/* Items divided by commas, as a list has them between its brackets. */
int conversation_take_user(struct conversation *c, struct json_span items, struct err *err);
int conversation_take_response(struct conversation *c, struct response *response, struct err *err);
/* IMAGE: the parts that stand apart, or empty. */
int conversation_take_output(struct conversation *c, size_t i, struct json_span item,
                             struct json_span image, struct err *err);
void conversation_take_round(struct conversation *c, struct json_span item);

/* The elements that COUNT items become, as ITEM(c, i) gives them (empty: none of its own). */
int conversation_append_all(struct conversation *c, struct brackets brackets, size_t count,
                            struct json_span (*item)(const struct conversation *c, size_t i),
                            struct err *err);

/* The last answer and its calls are done with. */
void conversation_forget_calls(struct conversation *c);

/* A record of the journal: {"NAME": stands there, and its value is to be appended; then its end. */
struct buf *conversation_begin_record(struct conversation *c, const char *name);
int conversation_write_record(struct conversation *c, struct err *err);

/* Some spans are owned: made and released by these. */
struct json_span conversation_copy_span(struct json_span span);
void conversation_free_span(struct json_span span);

/* Open the journal and take the steps that are in it. */
int conversation_restore(struct conversation *c, int state_dir_fd, const char *task,
                         struct err *err);

#endif
