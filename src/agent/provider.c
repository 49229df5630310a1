#include "agent/provider.h"

#include <stdlib.h>

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
