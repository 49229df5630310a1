/* The Messages API: see fuzz_answer.h. */
#include "agent/provider.h"

#define WIRE provider_messages
#include "fuzz_answer.h"
