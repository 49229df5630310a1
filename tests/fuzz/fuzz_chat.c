/* Chat Completions: see fuzz_answer.h. */
#include "agent/provider.h"

#define WIRE provider_chat
#include "fuzz_answer.h"
