/* The Responses API: see fuzz_answer.h. */
#include "agent/provider.h"

#define WIRE provider_responses
#include "fuzz_answer.h"
