/* The configuration's [internet] as gateways are told it (docs/protocols.md, gateway.json). */
#ifndef CODEX_CONFIG_INTERNET_H
#define CODEX_CONFIG_INTERNET_H

#include "base/buf.h"
#include "config/config.h"

enum { CONFIG_INTERNET_JSON_MAX = 1 << 20 /* bytes; more rules are refused */ };

/* Append the value of `internet`. -ERANGE when OUT is full. */
int config_internet_json(const struct config *config, struct buf *out);

#endif
