#include "agent/provider.h"

#include <stdlib.h>
#include <string.h>

void item_release(struct item *item)
{
    free(item->json);
    free(item->text);
    free(item->call_id);
    free(item->name);
    free(item->arguments);
    *item = (struct item){0};
}

void response_drop_items(struct response *response)
{
    for (size_t i = 0; i < response->count; i++)
        item_release(&response->items[i]);
    free(response->items);
    response->items = NULL;
    response->count = 0;
}

void response_release(struct response *response)
{
    response_drop_items(response);
    *response = (struct response){0};
}

void response_add(struct response *response, struct item *item)
{
    /* Grown at every power of two. */
    if (!(response->count & (response->count - 1))) {
        size_t room = response->count ? response->count * 2 : 1;
        response->items = reallocarray(response->items, room, sizeof *response->items);
        if (!response->items)
            abort();
    }
    response->items[response->count++] = *item;
    *item = (struct item){0};
}

bool response_ids_are_unique(const struct response *response)
{
    for (size_t i = 0; i < response->count; i++)
        for (size_t j = 0; j < i; j++)
            if (response->items[i].kind == ITEM_CALL && response->items[j].kind == ITEM_CALL &&
                !strcmp(response->items[i].call_id, response->items[j].call_id))
                return false;
    return true;
}

const struct provider *provider_find(const char *wire_api)
{
    static const struct provider *const providers[] = {&provider_responses, &provider_chat,
                                                       &provider_messages};
    for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
        if (!strcmp(wire_api, providers[i]->wire_api))
            return providers[i];
    return NULL;
}
